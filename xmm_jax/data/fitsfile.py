"""FITS files in and out: any compression in, one-line errors, nothing half-written out."""

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from xmm_jax.data.quiet import quiet
from xmm_jax.errors import InputError

# What astropy raises for files that are not FITS, cut short, or damaged inside the compression.
BROKEN = (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error, fits.VerifyError)


@dataclass(frozen=True, eq=False)
class FitsImage:
    """The first image of a FITS file and the image extensions that follow it.

    Parameters
    ----------
    data : ndarray, shape (y, x)
        Pixel values as stored, in the unit of the file, native byte order.
    header : Header
        Header of the image; cards that only the primary header has are added.
    extensions : dict of str to ndarray
        Later two-dimensional images by extension name, upper case, in units of the file.
    """

    data: np.ndarray
    header: fits.Header
    extensions: dict[str, np.ndarray]


def read_image(path: str | Path) -> FitsImage:
    """Read the first two-dimensional image of a FITS file: plain, ``.gz`` or ``.FTZ``.

    The compression is recognised by content, so an ``.FTZ`` file may be gzip or plain.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    FitsImage
        Image, header and later image extensions.

    Raises
    ------
    InputError
        The file is missing, unreadable, truncated, not FITS, or holds no image.
    """
    path = Path(path)
    check_file(path)
    try:
        with quiet(), fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
            image = _first_image(hdus)
            last: Any = hdus.fileinfo(-1)
            size = last["file"].size  # 0 of a compressed file, whose own format knows its end
            if size and last["datLoc"] + last["datSpan"] > size:
                raise EOFError("the file is truncated")
    except BROKEN as error:
        raise unreadable(path, error) from None
    if isinstance(image, str):
        raise InputError(f"{path}: {image}")
    return image


def check_file(path: Path) -> None:
    """Refuse a name that is no file.

    Parameters
    ----------
    path : Path
        The name.

    Raises
    ------
    InputError
        There is nothing, or a folder.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; check the name")
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; name the FITS file in it")


def unreadable(path: Path, error: BaseException) -> InputError:
    """What to raise for a file that cannot be read, with the reason in one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    # Of pixels that are missing astropy says the latter.
    if "the file is truncated" in reason or "cannot reshape array" in reason:
        return InputError(f"{path}: the file is truncated; fetch or make it again")
    return InputError(f"{path}: not a readable FITS file ({reason}); fetch or make it again")


def understood(header: fits.Header) -> fits.Header:
    """Header with the cards that can be understood; any other is as good as missing."""
    cards = []
    with quiet():
        for card in header.cards:
            with contextlib.suppress(ValueError, fits.VerifyError):
                cards.append((card.keyword, card.value, card.comment))
        return header if len(cards) == len(header) else fits.Header(cards)


def _first_image(hdus: Iterable[Any]) -> FitsImage | str:
    """Return the first image and its extensions, or one line saying why there is none."""
    hdus = list(hdus)
    images = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 2]
    if not images:
        if any(hdu.name == "EVENTS" for hdu in hdus):
            return "an event list, not an image; bin it first with `xmm-jax image`"
        return "no two-dimensional image in it; expected a count image in the primary HDU"
    header = images[0].header.copy()
    if images[0] is not hdus[0]:
        header.extend(hdus[0].header, unique=True, strip=True)
    return FitsImage(
        data=_native(images[0].data),
        header=header,
        extensions={hdu.name.upper(): _native(hdu.data) for hdu in images[1:] if hdu.name},
    )


def _native(data: np.ndarray) -> np.ndarray:
    """Copy to native byte order: FITS is big-endian, devices are not."""
    return data.astype(data.dtype.newbyteorder("="))


def number(header: fits.Header, key: str, default: float | None = None) -> float:
    """Read a numeric card.

    Parameters
    ----------
    header : Header
        The header.
    key : str
        Keyword.
    default : float, optional
        Value where the card is missing.

    Returns
    -------
    float
        Value of the card.

    Raises
    ------
    ValueError
        The card is missing without default, or not a number.
    """
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {value!r}, expected a number")
    return float(value)


def in_header(text: str) -> str:
    """Text as the header of a FITS file can hold it.

    Parameters
    ----------
    text : str
        Anything, such as a line with the name of a file.

    Returns
    -------
    str
        Printable ASCII: other characters as Python escapes them.
    """
    return text.encode("unicode_escape").decode("ascii")


def in_tiles(hdus: Sequence[Any]) -> list[Any]:
    """Compress images in tiles without loss, as ``fpack`` does; ds9 and cfitsio read them.

    Whole numbers by RICE_1, floats by GZIP_2; nothing is quantised, because the noise that
    quantisation is usually measured by is not in these images.

    Parameters
    ----------
    hdus : sequence of astropy HDUs
        The primary image becomes the first extension, its cards are also in the empty primary.

    Returns
    -------
    list of astropy HDUs
    """
    packed: list[Any] = [fits.PrimaryHDU(header=_without_image(hdus[0].header))]
    for hdu in hdus:
        if not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU):
            packed.append(hdu)
            continue
        kind = "GZIP_2" if np.asarray(hdu.data).dtype.kind == "f" else "RICE_1"
        packed.append(
            fits.CompImageHDU(
                hdu.data, hdu.header, name=hdu.name, compression_type=kind, quantize_level=0
            )
        )
    return packed


def _without_image(header: fits.Header) -> fits.Header:
    """Cards of a header that do not describe its array."""
    bare = header.copy(strip=True)
    for key in ("EXTNAME", "BUNIT"):
        bare.remove(key, ignore_missing=True)
    return bare


def _with_checksums(hdus: Sequence[Any]) -> Any:
    """HDUs with checksums of what they hold, tiles as they are; no time in their comments."""
    whole: Any = fits.HDUList(list(hdus))
    if any(isinstance(hdu, fits.CompImageHDU) for hdu in hdus):
        # Only once it is written does a compressed image show the table that it is in the file.
        file = io.BytesIO()
        whole.writeto(file)
        file.seek(0)
        whole = fits.open(file, disable_image_compression=True)
    whole.update_extend()
    for hdu in whole:
        if hdu.header.get("ZBITPIX", 0) < 0 and "ZQUANTIZ" not in hdu.header:
            # astropy leaves it away, and ds9 8.4 then takes the bits of floats for integers.
            hdu.header["ZQUANTIZ"] = ("NONE", "floats as they are")
        hdu.add_checksum(when="of this HDU")
    return whole


def write_fits(path: str | Path, hdus: Sequence) -> Path:
    """Write a FITS file at once: either the whole file appears or nothing changes.

    Checksums are added; a name that ends in ``.gz`` is compressed, without time stamp, so that
    equal contents give equal bytes. The folder is made when it does not exist.

    Parameters
    ----------
    path : str or Path
        The file to write; an older one is replaced.
    hdus : sequence of astropy HDUs
        Primary HDU first.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        The file cannot be written there.
    """
    path = Path(path)
    whole = _with_checksums(hdus)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                    whole.writeto(packed)
            else:
                whole.writeto(file)
        scratch.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()
    return path
