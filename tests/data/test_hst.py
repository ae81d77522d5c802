import builtins
import gzip
import importlib

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data import hst
from xmm_jax.errors import InputError
from xmm_jax.simulator import hstpsf, wfc3

SKY = np.random.default_rng(0).normal(0, 0.01, (20, 24)).astype(np.float32)


def write(path, data=SKY, *, weight=None, unit="ELECTRONS/S", seconds=1200.0, name="SCI"):
    """A drizzle as the archive has it: primary header, SCI, WHT; exposure in the primary."""
    primary = fits.PrimaryHDU()
    primary.header["FILTER"] = "F606W"
    if seconds is not None:
        primary.header["EXPTIME"] = seconds
    science = fits.ImageHDU(data, name=name)
    if unit is not None:
        science.header["BUNIT"] = unit
    hdus = [primary, science]
    if weight is not None:
        hdus.append(fits.ImageHDU(weight, name="WHT"))
    fits.HDUList(hdus).writeto(path)
    return path


def test_science_and_weights_make_rates_and_valid_pixels(tmp_path):
    data, weight = SKY.copy(), np.full(SKY.shape, 1100.0, np.float32)
    data[0, 0], data[1, 1], weight[2, 2:5] = np.nan, 0.0, 0.0
    image = hst.read_drizzled(write(tmp_path / "a_drz.fits", data, weight=weight))
    dead = np.zeros(SKY.shape, bool)
    dead[0, 0], dead[2, 2:5] = True, True  # a rate of exactly 0 with a weight is a measurement
    assert np.array_equal(image.valid, ~dead)
    assert image.rate.dtype == np.float32
    assert not image.rate[dead].any()
    assert np.array_equal(image.rate[~dead], data[~dead])
    assert (image.exposure_s, image.filter, image.band) == (1200.0, "F606W", 1)
    assert image.path.name == "a_drz.fits"


def test_reader_and_simulator_agree_on_bands_and_noise():
    assert hst.FILTERS == hstpsf.FILTERS
    assert hst.READ_NOISE_E == wfc3.READ_NOISE_E


def test_electrons_are_divided_by_the_exposure(tmp_path):
    image = hst.read_drizzled(write(tmp_path / "e.fits", SKY * 1200, unit=" electrons "))
    np.testing.assert_allclose(image.rate, SKY, rtol=1e-5)


def test_a_file_of_one_compressed_image_is_enough(tmp_path):
    data = SKY.copy()
    data[:, :3], data[5, 5] = 0.0, np.inf
    hdu = fits.PrimaryHDU(data)
    for card in (("EXPTIME", 500.0), ("BUNIT", "ELECTRONS/S"), ("FILTER", "F814W")):
        hdu.header[card[0]] = card[1]
    hdu.writeto(tmp_path / "one.fits")
    packed = tmp_path / "one.fits.gz"
    packed.write_bytes(gzip.compress((tmp_path / "one.fits").read_bytes()))
    image = hst.read_drizzled(packed)
    assert image.band is None
    assert image.filter == "F814W"
    assert not image.valid[:, :3].any()
    assert not image.valid[5, 5]
    assert image.valid.sum() == 20 * 21 - 1
    assert np.isfinite(image.rate).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "COUNTS/S"}, "BUNIT is 'COUNTS/S'; convert the image"),
        ({"unit": None}, "there is no BUNIT; convert the image"),
        ({"seconds": None}, "EXPTIME is None, expected a number of seconds; write"),
        ({"seconds": 0.0}, "EXPTIME is 0 s; write"),
        ({"weight": np.ones((3, 3), np.float32)}, "WHT is not as large as SCI"),
        ({"name": "WHT"}, "its first image is WHT; expected SCI"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, changes, words):
    path = write(tmp_path / "bad.fits", **changes)
    with pytest.raises(InputError) as caught:
        hst.read_drizzled(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_fits_is_refused(tmp_path):
    path = tmp_path / "text.fits"
    path.write_text("not an image")
    with pytest.raises(InputError, match="not a readable FITS file"):
        hst.read_drizzled(path)


def with_stars_and_cosmics():
    """Stars of the width of WFC3, and hits of single pixels and short tracks."""
    rng = np.random.default_rng(4)
    y, x = np.indices((120, 120))
    clean = np.zeros((120, 120))
    for row, column, flux in ((30, 30.4, 20), (80.3, 40, 5), (60.5, 90.5, 60)):
        clean += flux * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2) / (2 * np.pi)
    rate = clean + rng.normal(0, 0.01, clean.shape)
    hits = np.zeros(clean.shape, bool)
    hits[15, 70] = hits[100, 20] = hits[50, 51:54] = True
    return clean, (rate + 3.0 * hits).astype(np.float32), hits


def test_cosmic_rays_go_and_stars_stay(tmp_path):
    pytest.importorskip("astroscrappy")
    clean, rate, hits = with_stars_and_cosmics()
    rate[:, :5] = 0.0
    image = hst.read_drizzled(write(tmp_path / "c.fits", rate))
    cleaned = hst.remove_cosmic_rays(image)
    assert np.abs(cleaned.rate[hits]).max() < 0.1
    stars = clean > 0.05
    np.testing.assert_array_equal(cleaned.rate[stars], image.rate[stars])
    assert not cleaned.rate[:, :5].any()
    assert np.array_equal(cleaned.valid, image.valid)
    assert image.rate[15, 70] > 2  # the image that came in is as it was


def test_without_astroscrappy_one_is_told_what_to_install(tmp_path, monkeypatch):
    def missing(name, *rest, **more):
        if name == "astroscrappy":
            raise ModuleNotFoundError(name)
        return builtins.__import__(name, *rest, **more)

    image = hst.read_drizzled(write(tmp_path / "d.fits"))
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'xmm-jax\[hst\]'$"):
        hst.remove_cosmic_rays(image)


def test_crops_avoid_what_is_empty():
    rate = np.ones((100, 300))
    rate[:, :150] = 0.0
    for seed in range(50):
        y, x = hst.choose_crop(np.random.default_rng(seed), rate, 50)
        assert 0 <= y <= 50
        assert np.mean(rate[y : y + 50, x : x + 50] == 0) < 0.3
        assert hst.choose_crop(np.random.default_rng(seed), rate, 50) == (y, x)
    assert len({hst.choose_crop(np.random.default_rng(seed), rate, 50) for seed in range(9)}) > 5


def test_places_of_crops_are_even_and_reach_the_last():
    rng, rate = np.random.default_rng(1), np.ones((12, 10))
    places = np.array([hst.choose_crop(rng, rate, 8) for _ in range(3000)])
    table = np.histogram2d(*places.T, bins=[np.arange(6) - 0.5, np.arange(4) - 0.5])[0]
    assert table.sum() == 3000
    assert np.abs(table - 200).max() < 5 * np.sqrt(200)


class Counting:
    """A generator that counts its draws and always says 0."""

    def __init__(self):
        self.draws = 0

    def integers(self, high):
        self.draws += 1
        return 0


@pytest.mark.parametrize(("empty", "tries"), [(9, 1), (10, 12), (29, 12), (30, 17), (100, 17)])
def test_the_limit_relaxes_after_ten_and_fifteen_repeated_tries(empty, tries):
    rate = np.ones((10, 10))
    rate.flat[:empty] = 0.0
    rng = Counting()
    assert hst.choose_crop(rng, rate, 10) == (0, 0)
    assert rng.draws == 2 * tries


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match=r"24 x 20 pixels has no crop of 21; take smaller crops"):
        hst.choose_crop(np.random.default_rng(0), SKY, 21)
