"""Binary tables read as streams, against what astropy reads."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.fitstable import column_chunks, read_columns, read_tables, whole
from xmm_jax.errors import InputError

ROWS = 1234


def columns():
    rng = np.random.default_rng(8)
    integer = {"B": np.uint8, "I": np.int16, "J": np.int32, "K": np.int64}
    made = [
        fits.Column(f"{form}_", form, array=rng.integers(0, 200, ROWS).astype(kind))
        for form, kind in integer.items()
    ]
    made[1].array[:2] = -32768, 32767
    made += [fits.Column("e_", "E", array=rng.normal(size=ROWS).astype(np.float32))]
    made += [fits.Column("D_", "D", array=rng.normal(size=ROWS))]
    made += [fits.Column("TEXT", "7A", array=np.full(ROWS, "any"))]
    made += [fits.Column("VECTOR", "3E", array=rng.normal(size=(ROWS, 3)))]
    made += [fits.Column("BITS", "11X", array=rng.integers(0, 2, (ROWS, 11)).astype(bool))]
    made += [fits.Column("YES", "L", array=rng.integers(0, 2, ROWS).astype(bool))]
    made += [fits.Column("U", "J", bzero=2**31, array=rng.integers(0, 2**32, ROWS, np.uint32))]
    return made


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "t.fits"
    first = fits.BinTableHDU.from_columns(columns(), name="EVENTS")
    first.header["LONG"] = "word " * 40
    image = fits.ImageHDU(np.arange(5000, dtype=np.float32).reshape(50, 100), name="PICTURE")
    start = fits.Column("START", "D", array=[1.0, 3.0])
    last = fits.BinTableHDU.from_columns([start], name="stdgti01")
    fits.HDUList([fits.PrimaryHDU(), first, image, last]).writeto(path)
    return path


@pytest.fixture(scope="module", params=["plain", "gzip"])
def path(request, plain):
    if request.param == "plain":
        return plain
    packed = plain.with_suffix(".FTZ")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    return packed


def test_tables_and_long_cards(path):
    primary, tables = read_tables(path)
    assert primary["SIMPLE"] is True
    assert [table.name for table in tables] == ["EVENTS", "STDGTI01"]
    assert tables[0].rows == ROWS
    assert tables[0].header["LONG"] == ("word " * 40).rstrip()


@pytest.mark.parametrize("rows", [1, 100, 617, 5000])
def test_columns_are_those_that_astropy_reads(path, rows):
    table = read_tables(path)[1][0]
    names = ["B_", "I_", "J_", "K_", "E_", "D_", "VECTOR", "U"]
    if rows == 1:
        names = ["I_", "D_"]
    parts = list(column_chunks(table, names, rows=rows))
    assert all(len(part[names[0]]) <= rows for part in parts)
    with fits.open(path) as hdus:
        truth = hdus["EVENTS"].data
        for name in names:
            read = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(read, truth[name.replace("E_", "e_")], err_msg=name)
            assert read.dtype.isnative
            assert read.dtype in (np.int32, np.int64, np.float64)


def test_differences_of_int16_do_not_overflow(path):
    values = read_columns(read_tables(path)[1][0], ["I_"])["I_"]
    assert values[1] - values[0] == 65535


def test_small_tables_and_those_without_rows(path, tmp_path):
    assert read_columns(read_tables(path)[1][1], ["START"])["START"].tolist() == [1.0, 3.0]
    with pytest.raises(InputError, match=r"STDGTI01 has no column STOP; "):
        read_columns(read_tables(path)[1][1], ["START", "STOP"])
    empty = tmp_path / "empty.fits"
    fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[])]).writeto(empty)
    assert read_columns(read_tables(empty)[1][0], ["A"])["A"].shape == (0,)


def test_large_tables_are_not_kept(tmp_path):
    path = tmp_path / "large.fits.gz"
    column = fits.Column("A", "D", array=np.arange(200_000.0))
    fits.BinTableHDU.from_columns([column]).writeto(path)
    table = read_tables(path)[1][0]
    assert table.content is None
    read = np.concatenate([part["A"] for part in column_chunks(table, ["A"], rows=70_000)])
    np.testing.assert_array_equal(read, np.arange(200_000.0))


def test_a_file_cut_anywhere_is_refused(path, tmp_path):
    content = path.read_bytes()
    part = tmp_path / path.name
    for share in (0.001, 0.02, 0.3, 0.5, 0.9, 0.99):
        part.write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"is truncated; |not a readable FITS file") as caught:
            read_tables(part)
        assert str(part) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_damage_inside_the_compression_is_noticed(plain, tmp_path):
    content = bytearray(gzip.compress(plain.read_bytes()))
    content[len(content) // 2] ^= 0xFF
    part = tmp_path / "damaged.FTZ"
    part.write_bytes(content)
    with pytest.raises(InputError, match="not a readable FITS file"):
        read_tables(part)


@pytest.mark.parametrize(
    "content", [b"", b"SIMPLE", b"not FITS at all" * 1000, b"\x1f\x8b", b"<html>" * 1000]
)
def test_what_is_no_fits_file(tmp_path, content):
    path = tmp_path / "x.FTZ"
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)):
        read_tables(path)
    with pytest.raises(InputError, match="no such file"):
        read_tables(tmp_path / "missing")
    with pytest.raises(InputError, match="folder"):
        read_tables(tmp_path)


def test_scaled_columns_are_refused(tmp_path):
    path = tmp_path / "scaled.fits"
    hdu = fits.BinTableHDU.from_columns([fits.Column("PI", "I", array=[1, 2, 3])])
    hdu.header["TSCAL1"] = 0.5
    hdu.writeto(path)
    with pytest.raises(InputError, match="scaled"):
        read_columns(read_tables(path)[1][0], ["PI"])


def test_whole_numbers():
    header = fits.Header({"N": 3, "F": 3.5, "T": "three", "B": True})
    assert whole(header, "N") == 3
    assert whole(header, "M", 4) == 4
    for key in ("F", "T", "B", "M"):
        with pytest.raises(ValueError, match=key):
            whole(header, key)
