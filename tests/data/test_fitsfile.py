import gzip
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from xmm_jax.data.fitsfile import in_tiles, number, read_image, write_fits
from xmm_jax.errors import InputError

IMAGE = np.arange(35, dtype=np.int32).reshape(5, 7)


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(IMAGE, fits.Header({"EXPOSURE": 5.0})).writeto(path)
    return path


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.FTZ", "plain.FTZ", "a.ds.gz", "a"])
def test_compression_is_recognised_by_content(plain, tmp_path, name):
    path = tmp_path / name
    content = plain.read_bytes()
    path.write_bytes(content if name in ("a.fits", "plain.FTZ") else gzip.compress(content))
    image = read_image(path)
    np.testing.assert_array_equal(image.data, IMAGE)
    assert image.data.dtype == np.int32
    assert image.data.dtype.isnative
    assert image.header["EXPOSURE"] == 5.0


def _one_line(path, match):
    with pytest.raises(InputError, match=match) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    _one_line(tmp_path / "none.fits", "no such file")
    _one_line(tmp_path, "a folder")


@pytest.mark.parametrize(
    "content", [b"", b"not FITS at all\n" * 300, gzip.compress(b"x" * 5000), b"\x1f\x8b\x08rubbish"]
)
def test_what_is_not_fits(tmp_path, content):
    path = tmp_path / "a.fits.gz"
    path.write_bytes(content)
    _one_line(path, "not a readable FITS file")


@pytest.mark.parametrize("keep", [100, 2000, 2880, 3000, 5759])
def test_truncated_plain(plain, keep):
    content = plain.read_bytes()
    assert len(content) == 5760
    plain.write_bytes(content[:keep])
    _one_line(plain, "truncated|not a readable|no two-dimensional")


def test_truncated_after_the_images(tmp_path):
    path = tmp_path / "a.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("PI", "J", array=np.arange(2000))])
    fits.HDUList([fits.PrimaryHDU(IMAGE), table]).writeto(path)
    np.testing.assert_array_equal(read_image(path).data, IMAGE)
    path.write_bytes(path.read_bytes()[:-2880])
    _one_line(path, "the file is truncated; fetch or make it again")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_truncated_gzip(tmp_path, share):
    path = tmp_path / "a.fits.gz"
    noise = np.random.default_rng(0).integers(0, 2**20, (90, 80), np.int32)
    fits.PrimaryHDU(noise).writeto(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    _one_line(path, "truncated|not a readable")


def test_flipped_bit_in_gzip(tmp_path):
    path = tmp_path / "a.fits.gz"
    noise = np.random.default_rng(0).integers(0, 2**20, (90, 80), np.int32)
    fits.PrimaryHDU(noise).writeto(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    _one_line(path, "not a readable")


def test_event_list_and_table_are_named(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("PI", "I", array=[500])], name="EVENTS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    _one_line(tmp_path / "a.fits", "event list.*xmm-jax image")
    table.name = "RATE"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "b.fits")
    _one_line(tmp_path / "b.fits", "no two-dimensional image")


def test_image_in_an_extension_inherits_primary_cards(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"EXPOSURE": 7.0, "FILTER": "Thin1"}))
    image = fits.ImageHDU(IMAGE, fits.Header({"FILTER": "Medium"}), name="COUNTS")
    mask = fits.ImageHDU((IMAGE > 3).astype(np.uint8), name="mask")
    fits.HDUList([primary, image, mask]).writeto(tmp_path / "a.fits")
    read = read_image(tmp_path / "a.fits")
    assert (read.header["EXPOSURE"], read.header["FILTER"]) == (7.0, "Medium")
    assert list(read.extensions) == ["MASK"]
    np.testing.assert_array_equal(read.extensions["MASK"], IMAGE > 3)


def test_number():
    header = fits.Header({"A": 2, "B": "two", "C": True})
    assert number(header, "A") == 2.0
    assert number(header, "D", 3) == 3.0
    for key in "BCD":
        with pytest.raises(ValueError, match=f"{key} is"):
            number(header, key)


@pytest.mark.parametrize("ending", ["fits.gz", "fits.fz"])
def test_written_file_has_checksums_and_no_time_stamp(tmp_path, ending):
    path = tmp_path / "new" / f"a.{ending}"
    hdus = [fits.PrimaryHDU(IMAGE), fits.ImageHDU(IMAGE + 1, name="SECOND")]
    if ending == "fits.fz":
        hdus = in_tiles(hdus)
    assert write_fits(path, hdus) == path
    first = path.read_bytes()
    with fits.open(path) as back:
        np.testing.assert_array_equal(back["SECOND"].data, IMAGE + 1)
    # A wrong checksum warns, and warnings are errors.
    with fits.open(path, checksum=True, disable_image_compression=True) as back:
        assert [hdu.verify_checksum() for hdu in back] == [1] * len(hdus)
        assert [hdu.verify_datasum() for hdu in back] == [1] * len(hdus)
    time.sleep(1.1)  # astropy writes the second into the comment of a checksum
    write_fits(path, hdus)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.fits"
    write_fits(path, [fits.PrimaryHDU(IMAGE)])
    before = path.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(InputError, match=r"cannot be written .No space left"):
        write_fits(path, [fits.PrimaryHDU(IMAGE + 1)])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.fits"]


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_fits(tmp_path / "file" / "a.fits", [fits.PrimaryHDU(IMAGE)])


def test_tiles_lose_nothing_and_say_what_the_plain_file_says(tmp_path):
    draw = np.random.default_rng(3)
    rate = draw.gamma(0.1, 1e-5, (120, 130)).astype(np.float32)
    counts = draw.poisson(0.4, (60, 65)).astype(np.int32)
    primary = fits.PrimaryHDU(rate)
    primary.header["EXTNAME"], primary.header["BUNIT"], primary.header["MARK"] = "RATE", "ct", "x"
    primary.header.add_history("made")
    table = fits.table_to_hdu(Table({"a": [1, 2]}))
    hdus = [primary, fits.ImageHDU(counts, name="INPUT"), table]
    plain, packed = tmp_path / "plain.fits", tmp_path / "packed.fits.fz"
    write_fits(plain, hdus)
    write_fits(packed, in_tiles(hdus))
    with fits.open(packed, checksum=True) as found:
        found.verify("exception")
        assert found[0].data is None
        assert found[0].header["MARK"] == found["RATE"].header["MARK"] == "x"
        assert found["RATE"].header["BUNIT"] == "ct"
        np.testing.assert_array_equal(found["RATE"].data, rate)
        np.testing.assert_array_equal(found["INPUT"].data, counts)
        assert list(found[3].data["a"]) == [1, 2]
    with fits.open(packed, disable_image_compression=True) as raw:
        assert [raw[k].header["ZCMPTYPE"] for k in (1, 2)] == ["GZIP_2", "RICE_1"]
        assert raw[1].header["ZQUANTIZ"] == "NONE"
    # Our own reader takes it as it takes the plain file.
    np.testing.assert_array_equal(read_image(packed).data, rate)
    assert packed.stat().st_size < plain.stat().st_size
