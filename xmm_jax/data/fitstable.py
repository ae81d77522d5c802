"""Binary tables of FITS files read in pieces, plain or gzip: only the rows asked for in memory.

A mapped file would count towards resident memory page by page, and a gzip file cannot be mapped, so
both are read as streams: one walk over the headers, then the rows of one table.
"""

import gzip
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from xmm_jax.data.fitsfile import BROKEN, check_file, number, understood, unreadable
from xmm_jax.data.quiet import quiet
from xmm_jax.errors import InputError

_BLOCK = 2880  # FITS standard 4.0, 3.1
_SMALL, _PIECE = 1 << 20, 1 << 22  # bytes: of a table kept at once, of a piece passed over
_TYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_BYTES = {"A": 1, "C": 8, "M": 16, "P": 8, "Q": 16}
_BROKEN = (*BROKEN, LookupError, OverflowError, MemoryError)


@dataclass(frozen=True, eq=False)
class Table:
    """Where a binary table lies in its file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        EXTNAME, upper case.
    header : Header
        Header of the extension.
    offset : int
        First byte of the rows in the (uncompressed) file.
    rows : int
        Number of rows.
    row : dtype
        One row, big-endian; fields are named like the columns, upper case.
    content : bytes, optional
        The rows, where they are few: reaching them again in a gzip file takes as long as all of it.
    """

    path: Path
    name: str
    header: fits.Header
    offset: int
    rows: int
    row: np.dtype
    content: bytes | None = None


def read_tables(path: str | Path) -> tuple[fits.Header, list[Table]]:
    """List the binary tables of a FITS file: plain, ``.gz`` or ``.FTZ`` (told by content).

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    header : Header
        Primary header.
    tables : list of Table
        In the order of the file; images are passed over.

    Raises
    ------
    InputError
        The file is missing, not FITS, damaged or cut short.
    """
    path = Path(path)
    tables: list[Table] = []
    with _opened(path) as stream:
        primary, offset = _header(stream)
        if primary is None or primary.get("SIMPLE") is not True:
            raise ValueError("no FITS header")
        header: fits.Header | None = primary
        while header is not None:
            end = offset + _data_bytes(header)
            if header.get("XTENSION") == "BINTABLE":
                tables.append(_table(path, header, offset, stream))
            _skip(stream, end)
            header, offset = _header(stream)
    return primary, tables


def read_columns(table: Table, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read whole columns of a small table.

    Parameters
    ----------
    table : Table
        The table.
    names : sequence of str
        Columns, upper case.

    Returns
    -------
    dict of str to ndarray
        int32, int64 or float64, native byte order.

    Raises
    ------
    InputError
        A column is missing or the rows cannot be read.
    """
    parts = list(column_chunks(table, names, rows=max(table.rows, 1)))
    if not parts:
        return {name: np.zeros(0) for name in names}
    return parts[0]


def column_chunks(
    table: Table, names: Sequence[str], *, rows: int
) -> Iterator[dict[str, np.ndarray]]:
    """Read columns of a table a number of rows at a time.

    Parameters
    ----------
    table : Table
        The table.
    names : sequence of str
        Columns, upper case.
    rows : int
        Rows at a time.

    Yields
    ------
    dict of str to ndarray
        int32 (int64 for columns of eight bytes or with TZERO) or float64, native byte order: sums
        and differences of the int16 columns of XMM event lists do not overflow.

    Raises
    ------
    InputError
        A column is missing, or the rows cannot be read.
    """
    missing = [name for name in names if name not in (table.row.names or ())]
    if missing:
        raise InputError(
            f"{table.path}: extension {table.name} has no column {', '.join(missing)}; "
            "give the file as the pipeline or SAS wrote it"
        )
    odd = [name for name in names if table.row[name].base.kind == "V"]
    if odd:
        raise InputError(
            f"{table.path}: column {', '.join(odd)} of {table.name} holds no numbers; "
            "give the file as the pipeline or SAS wrote it"
        )
    zeros = {name: _zero(table, name) for name in names}
    with _rows_of(table) as stream:
        for first in range(0, table.rows, rows):
            size = min(rows, table.rows - first) * table.row.itemsize
            content = stream.read(size)
            if len(content) < size:
                raise EOFError("the file is truncated")
            piece = np.frombuffer(content, table.row)
            yield {name: _native(piece[name], zeros[name]) for name in names}


@contextmanager
def _rows_of(table: Table) -> Iterator[BinaryIO]:
    """Stream that begins with the first row of a table."""
    if table.content is not None:
        yield io.BytesIO(table.content)
        return
    with _opened(table.path) as stream:
        _skip(stream, table.offset)
        yield stream


def _native(values: np.ndarray, zero: int) -> np.ndarray:
    """Cast to int32 or wider, or float64: the int16 columns of event lists overflow silently."""
    if values.dtype.kind == "f":
        # Missing rates are stored as signalling NaN, which numpy reports when it casts them.
        with np.errstate(invalid="ignore"):
            return values.astype(np.float64)
    if zero:
        return values.astype(np.int64) + zero
    return values.astype(np.int64 if values.dtype.itemsize == 8 else np.int32)


def _zero(table: Table, name: str) -> int:
    """TZERO of a column, by which FITS stores unsigned integers."""
    n = (table.row.names or ()).index(name) + 1
    zero = table.header.get(f"TZERO{n}", 0)
    if table.header.get(f"TSCAL{n}", 1) != 1 or not isinstance(zero, int | float) or zero % 1:
        raise InputError(
            f"{table.path}: column {name} of {table.name} is scaled (TSCAL{n}, TZERO{n}); "
            "give the file as the pipeline or SAS wrote it"
        )
    return int(zero)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the uncompressed content as a stream, turning every failure into one line."""
    check_file(path)
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.open(plain) if packed else plain as stream:
                yield stream  # type: ignore[misc]
    except InputError:
        raise
    except _BROKEN as error:
        raise unreadable(path, error) from None


def _header(stream: BinaryIO) -> tuple[fits.Header | None, int]:
    """Header that begins here (None at the end of the file), and where it ends."""
    content = b""
    while True:
        block = stream.read(_BLOCK)
        if not content and not block.strip(b"\0 "):
            return None, 0
        content += block
        if len(block) < _BLOCK:
            raise EOFError("the file is truncated")
        if any(block[k : k + 8] == b"END     " for k in range(0, _BLOCK, 80)):
            with quiet():
                return understood(fits.Header.fromstring(content)), stream.tell()
        if len(content) > 4000 * _BLOCK:
            raise ValueError("a header without end")


def whole(header: fits.Header, key: str, default: int | None = None) -> int:
    """Read a card that holds a whole number.

    Parameters
    ----------
    header : Header
        The header.
    key : str
        Keyword.
    default : int, optional
        Value where the card is missing.

    Returns
    -------
    int
        Value of the card.

    Raises
    ------
    ValueError
        The card is missing without default, or not a whole number.
    """
    value = number(header, key, default)
    if value % 1 != 0:
        raise ValueError(f"{key} is {value:g}, expected a whole number")
    return int(value)


def _data_bytes(header: fits.Header) -> int:
    """Size of the data that follow a header, padding included (FITS standard 4.0, 4.4.1)."""
    axes = [whole(header, f"NAXIS{n + 1}") for n in range(whole(header, "NAXIS"))]
    if any(size < 0 for size in axes):
        raise ValueError("an axis of negative length")
    values = int(np.prod(axes, dtype=object)) if axes else 0
    group = whole(header, "GCOUNT", 1) * (whole(header, "PCOUNT", 0) + values)
    if group < 0:
        raise ValueError("data of negative length")
    return -(-abs(whole(header, "BITPIX")) // 8 * group // _BLOCK) * _BLOCK


def _skip(stream: BinaryIO, offset: int) -> None:
    """Go to a later byte, noticing a file that ends before it."""
    if isinstance(stream, gzip.GzipFile):
        # Its own seek reads a few kilobytes at a time.
        while left := offset - stream.tell():
            if not stream.read(min(left, _PIECE)):
                raise EOFError("the file is truncated")
    elif stream.seek(offset) > os.fstat(stream.fileno()).st_size:
        raise EOFError("the file is truncated")


def _table(path: Path, header: fits.Header, offset: int, stream: BinaryIO) -> Table:
    """Layout of the rows of a binary table, and the rows when they are few."""
    names, formats = [], []
    for n in range(1, whole(header, "TFIELDS") + 1):
        form = str(header[f"TFORM{n}"]).strip().upper()
        digits = len(form) - len(form.lstrip("0123456789"))
        repeat, kind = int(form[:digits] or 1), form[digits]
        names.append(str(header.get(f"TTYPE{n}", f"COLUMN{n}")).strip().upper())
        if kind in _TYPES:
            formats.append(_TYPES[kind] if repeat == 1 else (_TYPES[kind], (repeat,)))
        else:
            formats.append(f"V{-(-repeat // 8) if kind == 'X' else repeat * _BYTES[kind]}")
    row = np.dtype(list(zip(names, formats, strict=True)))
    if row.itemsize != whole(header, "NAXIS1"):
        raise ValueError(f"rows of {header['NAXIS1']} bytes, columns of {row.itemsize}")
    name = str(header.get("EXTNAME", "")).strip().upper()
    rows = whole(header, "NAXIS2")
    small = rows * row.itemsize <= _SMALL
    content = stream.read(rows * row.itemsize) if small else None
    return Table(path, name, header, offset, rows, row, content)
