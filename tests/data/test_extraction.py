"""Stars that were planted are found, with their places, fluxes and errors in closed form."""

import sys

import numpy as np
import pytest

from xmm_jax.data.extraction import APERTURE, Sources, extract, segmentation
from xmm_jax.errors import InputError

SIGMA = 1.6  # of the stars [pixel]
SKY, NOISE = 40.0, 5.0  # [electron/pixel]


def field(stars, shape=(200, 260), *, noise=NOISE, seed=0):
    """Gaussian stars (x, y, flux) on a noisy sky, as pixel values at their centres."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = SKY + noise * np.random.default_rng(seed).standard_normal(shape)
    for star_x, star_y, flux in stars:
        shape_of_star = np.exp(-((x - star_x) ** 2 + (y - star_y) ** 2) / (2 * SIGMA**2))
        image += flux * shape_of_star / (2 * np.pi * SIGMA**2)
    return image.astype(np.float32)


def some_stars():
    places = [(x, y) for x in range(25, 250, 40) for y in range(25, 190, 40)]
    rng = np.random.default_rng(5)
    fluxes = np.geomspace(6000, 60000, len(places))
    return [
        (x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5), flux)
        for (x, y), flux in zip(places, fluxes, strict=True)
    ]


def test_without_sep_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sep", None)
    with pytest.raises(InputError, match=r"pip install 'xmm-jax\[hst\]'"):
        extract(np.zeros((8, 8), np.float32))


def test_stars_are_found_where_they_are_and_as_bright():
    pytest.importorskip("sep")
    stars = some_stars()
    found = extract(field(stars), gain=1.0)
    assert len(found.x) == len(stars)
    share = 1 - np.exp(-((APERTURE / 2) ** 2) / (2 * SIGMA**2))  # of a Gaussian in the aperture
    area = np.pi * (APERTURE / 2) ** 2
    for x, y, flux in stars:
        i = np.argmin(np.hypot(found.x - x, found.y - y))
        assert np.hypot(found.x[i] - x, found.y[i] - y) < 0.15
        expected = np.sqrt(area * NOISE**2 + share * flux)
        np.testing.assert_allclose(found.flux_err[i], expected, rtol=0.03)
        # No noise of photons was planted.
        assert abs(found.flux[i] - share * flux) < 5 * np.sqrt(area) * NOISE + 0.01 * flux
        assert abs(found.background[i] - SKY) < 1.5


def test_errors_are_those_of_the_manual_and_sums_those_of_photutils():
    pytest.importorskip("sep")
    aperture = pytest.importorskip("photutils.aperture")
    image = field(some_stars())
    one, other = extract(image, gain=1.5), extract(image, gain=1e12)
    np.testing.assert_allclose(one.flux_err**2 - other.flux_err**2, one.flux / 1.5, rtol=1e-4)
    spots = np.column_stack([one.x, one.y])
    circles = aperture.CircularAperture(spots, APERTURE / 2)
    sums, _ = circles.do_photometry(image.astype(float), method="subpixel", subpixels=5)
    # The background varies over an aperture by less than that.
    np.testing.assert_allclose(one.flux, sums - circles.area * one.background, rtol=0.01)


def test_thresholds():
    """Ten pixels above 7 times the RMS: a star whose tenth pixel is just below is not seen."""
    pytest.importorskip("sep")
    radius_of_ten = np.sqrt(10 / np.pi)
    limit = 7 * NOISE * np.exp(radius_of_ten**2 / (2 * SIGMA**2)) * 2 * np.pi * SIGMA**2
    stars = [(50.0, 100.0, 0.6 * limit), (150.0, 100.0, 1.6 * limit)]
    image = field(stars)
    found = extract(image)
    assert len(found.x) == 1
    assert abs(found.x[0] - 150) < 0.5
    assert len(extract(image, threshold=3.0).x) == 2
    assert not len(extract(image, min_area=200).x)


def test_close_stars_are_told_apart():
    pytest.importorskip("sep")
    found = extract(field([(100.0, 100.0, 30000.0), (108.0, 100.0, 20000.0)]))
    assert len(found.x) == 2


def test_invalid_pixels_hold_no_stars():
    pytest.importorskip("sep")
    image = field([(50.0, 100.0, 30000.0), (180.0, 100.0, 30000.0)])
    valid = np.ones(image.shape, bool)
    valid[:, :90] = False
    broken = image.copy()
    broken[~valid] = np.nan
    for found in (extract(image, valid), extract(broken), extract(broken, valid)):
        assert found.x.tolist() == pytest.approx([180], abs=0.1)
    assert not segmentation(image, valid)[:, :90].any()


def test_nothing_to_find():
    pytest.importorskip("sep")
    image = field([])
    blank = np.zeros_like(image)
    for found in (extract(image), extract(blank), extract(image, np.zeros(image.shape, bool))):
        assert isinstance(found, Sources)
        assert [len(column) for column in found] == [0] * 5
    assert not segmentation(blank).any()
    assert not segmentation(image, np.zeros(image.shape, bool)).any()


def test_segmentation_holds_the_pixels_above_the_threshold():
    pytest.importorskip("sep")
    stars = [(60.0, 60.0, 50000.0), (190.0, 120.0, 50000.0)]
    objects = segmentation(field(stars))
    assert objects.dtype == bool
    y, x = np.mgrid[:200, :260]
    # 7 times the RMS is reached at this distance.
    peak = 50000 / (2 * np.pi * SIGMA**2)
    reach = SIGMA * np.sqrt(2 * np.log(peak / (7 * NOISE)))
    apart = np.minimum(*(np.hypot(x - star[0], y - star[1]) for star in stars))
    assert objects[apart < reach - 1].all()
    assert not objects[apart > reach + 1.5].any()


def test_crowded_fields_fit_and_settings_of_sep_are_left_alone():
    sep = pytest.importorskip("sep")
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    sep.set_extract_pixstack(50)
    try:
        assert len(extract(field(some_stars())).x) == len(some_stars())
        assert sep.get_extract_pixstack() == 50
        assert sep.get_sub_object_limit() == before[1]
    finally:
        sep.set_extract_pixstack(before[0])


def test_shapes_must_agree():
    pytest.importorskip("sep")
    with pytest.raises(InputError, match="of its shape"):
        extract(np.zeros((8, 8)), np.ones((8, 9), bool))
    with pytest.raises(InputError, match="of its shape"):
        extract(np.zeros((1, 8, 8)))
