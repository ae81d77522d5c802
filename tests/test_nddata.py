"""Images as astropy has them, in and out."""

import numpy as np
import pytest
from astropy import units
from astropy.nddata import CCDData, NDData
from astropy.wcs import WCS

import xmm_jax
from xmm_jax.errors import InputError
from xmm_jax.nddata import as_given, finer, to_ccddata
from xmm_jax.planes import Enhanced

SHAPE = 48, 40
COUNTS = np.random.default_rng(0).poisson(0.5, SHAPE)


def sky():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [20.5, 24.5]
    angle = np.deg2rad(37.0)
    turn = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn * 4.0 / 3600
    wcs.wcs.set()
    return wcs


def test_arrays_numbers_and_quantities():
    seconds = np.full(SHAPE, 2e4)
    seconds[:, 3] = 0
    plain = as_given(COUNTS, seconds)
    assert plain.wcs is None
    assert not plain.valid[:, 3].any()
    assert not plain.counts[:, 3].any()
    for same in (
        as_given(COUNTS * units.ct, seconds / 1000 * units.ks),
        as_given(COUNTS.tolist(), seconds.tolist()),
        as_given(COUNTS, 2e4, seconds > 0),
        as_given(COUNTS, 20 * units.ks, seconds > 0),
    ):
        for one, other in zip(plain[:3], same[:3], strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_image_with_mask_header_and_sky():
    mask = np.zeros(SHAPE, bool)
    mask[5] = True
    image = CCDData(COUNTS, unit="ct", mask=mask, wcs=sky(), meta={"EXPOSURE": 2e4})
    found = as_given(image)
    assert not found.valid[5].any()
    assert found.valid[:5].all()
    assert set(np.unique(found.exposure)) == {0.0, 2e4}
    assert found.wcs is not None
    without = as_given(NDData(COUNTS, meta={"exposure": 2e4}))
    assert without.valid.all()
    assert without.wcs is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((COUNTS,), "no exposure"),
        ((CCDData(COUNTS, unit="ct / s"), 2e4), "give counts per pixel"),
        ((COUNTS, np.ones((3, 3))), "two images of one shape"),
        ((COUNTS[0], 2e4), "two images of one shape"),
        ((COUNTS, 2e4, np.ones((3, 3), bool)), "expected the shape of the image"),
        ((COUNTS - 3, 2e4), "give raw counts"),
        ((COUNTS, 2e4, None, np.ones((3, 3))), "background .*expected the shape"),
        ((COUNTS, 2e4, None, COUNTS - 3), "background: negative"),
        ((np.where(COUNTS > 2, np.nan, COUNTS), 2e4), "give raw counts"),
    ],
)
def test_what_cannot_be_used(given, message):
    with pytest.raises(InputError, match=message):
        as_given(*given)


@pytest.mark.parametrize("upscale", [1, 2])
def test_sky_coordinates_of_smaller_pixels(upscale):
    x, y = np.random.default_rng(1).uniform(-0.5, 39.5, (2, 50))
    there = sky().pixel_to_world(x, y)
    fine = finer(sky(), upscale)
    again = fine.pixel_to_world(upscale * (x + 0.5) - 0.5, upscale * (y + 0.5) - 0.5)
    assert there.separation(again).arcsec.max() < 1e-6
    assert finer(None, 2) is None


def test_a_result_with_error_mask_and_sky():
    rate = np.random.default_rng(2).uniform(0, 1, SHAPE).astype(np.float32)
    dq = np.zeros(SHAPE, np.uint8)
    dq[0], dq[1] = 1, 8
    found = to_ccddata(Enhanced(rate, dq, 0.1 * rate, 0.3 * rate, wcs=sky()))
    assert found.unit == units.ct / units.s
    np.testing.assert_allclose(found.uncertainty.array, 0.2 * rate)
    assert found.mask[0].all()
    assert not found.mask[1:].any()
    assert found.wcs.wcs.crval[0] == 150.0
    assert Enhanced(rate, dq).to_ccddata().uncertainty is None


def test_from_ccddata_to_ccddata_through_a_model():
    image = CCDData(COUNTS, unit="ct", wcs=sky(), meta={"EXPOSURE": 2e4})
    result = xmm_jax.enhance(image, task="sr")
    found = result.to_ccddata()
    assert found.shape == (96, 80)
    there = sky().pixel_to_world(10.0, 30.0)
    x, y = found.wcs.world_to_pixel(there)
    np.testing.assert_allclose([x, y], [20.5, 60.5], atol=1e-5)
    plain = xmm_jax.enhance(COUNTS, np.full(SHAPE, 2e4), task="sr")
    np.testing.assert_array_equal(plain.rate, found.data)


def test_net_of_a_known_background():
    known = np.full(SHAPE, 0.3)
    known[0] = np.nan  # where nothing is used
    valid = np.ones(SHAPE, bool)
    valid[0] = False
    found = xmm_jax.enhance(COUNTS, 2e4, task="dn", valid=valid, background=known)
    np.testing.assert_allclose(found.net[1:], found.rate[1:] - 0.3 / 2e4, rtol=1e-5, atol=1e-9)
    assert not found.net[0].any()
    # A super-resolved image has no background that could be taken off.
    assert xmm_jax.enhance(COUNTS, 2e4, task="sr", valid=valid, background=known).net is None


def test_images_that_are_too_small():
    with pytest.raises(InputError, match="at least 32 x 32"):
        xmm_jax.enhance(COUNTS[:20], 2e4, task="dn")
    with pytest.raises(InputError, match=r"max_memory=0\.001 GB is too little"):
        xmm_jax.enhance(COUNTS, 2e4, task="dn", max_memory=0.001)
