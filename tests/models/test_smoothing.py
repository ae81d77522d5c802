"""Smoothing against astropy.convolution and the noise that theory leaves."""

import numpy as np
import pytest
from astropy.convolution import Gaussian2DKernel, convolve

from xmm_jax.models.smoothing import adaptive, gaussian, median

EXPOSURE = np.full((40, 47), 200.0)


def _holes():
    valid = np.random.default_rng(3).random(EXPOSURE.shape) < 0.9
    valid[10:16, 20:23] = False
    return valid


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_gaussian_is_that_of_astropy_with_dead_pixels(sigma):
    valid = _holes()
    counts = np.random.default_rng(4).poisson(5.0, EXPOSURE.shape)
    size = 2 * int(4 * sigma + 0.5) + 1
    expected = convolve(
        np.where(valid, counts / EXPOSURE, np.nan),
        Gaussian2DKernel(sigma, x_size=size, y_size=size),
        boundary="fill",
        fill_value=np.nan,
    )
    ours = gaussian(counts, EXPOSURE, valid, upscale=1, sigma=sigma)
    ratio = ours[valid] / expected[valid]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert ratio[0] == pytest.approx(1.0, abs=0.01)  # the light that came in is kept exactly


@pytest.mark.parametrize("upscale", [1, 2])
def test_a_flat_sky_stays_flat_over_ccds_of_other_exposure(upscale):
    exposure = EXPOSURE * np.where(np.arange(47) < 20, 1.0, 0.3)
    valid = _holes()
    for method, options in ((gaussian, {"sigma": 1.3}), (adaptive, {"snr": 4.0})):
        rate = method(0.2 * exposure, exposure, valid, upscale=upscale, **options)
        live = valid.repeat(upscale, 0).repeat(upscale, 1)
        np.testing.assert_allclose(rate[live], 0.2 / upscale**2, rtol=2e-5)


def test_median_removes_a_hot_pixel():
    counts = np.full(EXPOSURE.shape, 6)
    counts[12, 31] = 900
    valid = np.ones(EXPOSURE.shape, bool)
    rate = median(counts, EXPOSURE, valid, upscale=1, size=3)
    assert np.ptp(rate) < 1e-7


@pytest.mark.parametrize("snr", [4.0, 8.0])
def test_adaptive_smoothing_reaches_its_signal_to_noise(snr):
    exposure = np.full((220, 240), 100.0)
    valid = np.ones(exposure.shape, bool)
    counts = np.random.default_rng(5).poisson(0.5, exposure.shape)
    counts[100:103, 60:63] = 4000
    rate = adaptive(counts, exposure, valid, upscale=1, snr=snr)
    blank = rate[:, 120:]
    # Widths come in steps of 1.2, and the narrowest that happens to suffice is taken.
    assert blank.mean() / blank.std() == pytest.approx(snr, rel=0.3)
    assert rate[101, 61] / rate[101, 66] > 300  # a bright source is not smeared
