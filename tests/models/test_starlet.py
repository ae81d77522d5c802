"""Starlet transform against convolution and published noise; denoising of a known source."""

import numpy as np
import pytest
from scipy import signal

from xmm_jax.models.starlet import SPLINE, significance, smooth, starlet, transform


def test_scales_add_up_and_the_first_is_the_spline():
    image = np.random.default_rng(0).random((40, 53))
    scales = transform(image, 4)
    np.testing.assert_allclose(scales.sum(axis=0), image, atol=1e-12)
    direct = signal.convolve2d(image, np.outer(SPLINE, SPLINE), "same")
    np.testing.assert_allclose((image - scales[0])[3:-3, 3:-3], direct[3:-3, 3:-3], atol=1e-12)
    # Holes: at scale 1 the taps are two pixels apart.
    point = np.zeros((21, 21))
    point[10, 10] = 1.0
    np.testing.assert_allclose(smooth(point, 1)[6:15:2, 6:15:2], np.outer(SPLINE, SPLINE))


def test_noise_of_the_scales():
    """Table of Starck & Murtagh (Astronomical Image and Data Analysis): unit Gaussian noise."""
    noise = transform(np.random.default_rng(1).standard_normal((600, 640)), 4)[:4]
    expected = (0.889, 0.200, 0.086, 0.041)
    np.testing.assert_allclose(noise.std(axis=(1, 2)), expected, rtol=0.04)


@pytest.mark.parametrize(("mean", "first"), [(0.15, 2), (1.0, 1), (10.0, 0)])
def test_significance_has_noise_one_on_a_flat_field(mean, first):
    counts = np.random.default_rng(2).poisson(mean, (600, 640))
    spread = significance(counts.astype(float), 4).std(axis=(1, 2))
    np.testing.assert_allclose(spread[first:], 1.0, atol=0.12)


def test_finds_a_source_and_flattens_the_rest():
    y, x = np.mgrid[:96, :110]
    exposure = np.full(y.shape, 1e4)
    exposure[:, 70:] = 6e3
    valid = np.ones(y.shape, bool)
    valid[:, 40:42] = False
    source = 400 * np.exp(-0.5 * ((x - 61) ** 2 + (y - 30) ** 2) / 2.5**2) / (2 * np.pi * 2.5**2)
    truth = (0.5 + source) / 1e4
    counts = np.random.default_rng(3).poisson(truth * exposure)
    rate = starlet(counts, exposure, valid, upscale=1, threshold=4.0)
    around = np.hypot(x - 61, y - 30) < 10
    expected = (counts / exposure)[around].sum()
    assert rate[around].sum() == pytest.approx(expected, rel=0.05)
    assert np.sqrt(np.mean((rate - truth)[valid] ** 2)) < 0.25 * np.sqrt(
        np.mean((counts / exposure - truth)[valid] ** 2)
    )
    blank = rate[60:, 45:]
    assert blank.std() < 0.1 * blank.mean()
    assert (rate >= 0).all()
