"""Noise of known power."""

import numpy as np
import pytest
from scipy import ndimage

from xmm_jax.errors import InputError
from xmm_jax.metrics.noise import background_rms, effective_exposure_ratio, noise_power_spectrum


@pytest.fixture
def white():
    return 5 + 0.3 * np.random.default_rng(0).standard_normal((240, 301))


@pytest.fixture
def region():
    y, x = np.mgrid[:240, :301]
    return (x - 140) ** 2 + (y - 130) ** 2 < 100**2


def test_scatter_of_cells_averages_down(white, region):
    for cell in (1, 3, 6):
        expected = pytest.approx(0.3 / cell, rel=4 / np.sqrt(2 * region.sum() / cell**2))
        assert background_rms(white, region, cell=cell) == expected
        assert background_rms(white, region, cell=cell, expected=5.0) == expected
    # Offset from what is expected counts, not only scatter.
    assert background_rms(white, region, expected=4.6) == pytest.approx(0.5, rel=0.02)
    with pytest.raises(InputError, match="no two cells"):
        background_rms(white, region, cell=150)


def test_what_lies_outside_the_region_does_not_count(white, region):
    spoilt = np.where(region, white, 1e6)
    assert background_rms(spoilt, region, cell=4) == background_rms(white, region, cell=4)
    before, after = noise_power_spectrum(white, region), noise_power_spectrum(spoilt, region)
    np.testing.assert_array_equal(before.power, after.power)


def test_longer_exposures_and_smoothing(region):
    rng = np.random.default_rng(1)
    short, long = (rng.poisson(0.4 * time, region.shape) / time for time in (1, 2.5))
    for cell in (1, 5):
        ratio = effective_exposure_ratio(long, short, region, cell=cell)
        assert ratio == pytest.approx(2.5, rel=0.25)
    smooth = ndimage.gaussian_filter(short, 2.0)
    # 4 pi sigma^2 fewer independent pixels, and no photon more.
    ratio = effective_exposure_ratio(smooth, short, region)
    assert ratio == pytest.approx(16 * np.pi, rel=0.2)
    assert effective_exposure_ratio(smooth, short, region, cell=24) < 1.5
    assert effective_exposure_ratio(np.ones(region.shape), short, region) == np.inf


def test_power_of_white_and_of_smooth_noise(white, region):
    frequency, power = noise_power_spectrum(white, region, bins=16)
    assert np.all(np.diff(frequency) > 0)
    assert frequency[-1] < 0.5
    np.testing.assert_allclose(power[2:], 0.3**2, rtol=0.15)
    smooth = ndimage.gaussian_filter(white, 1.5, mode="wrap")
    everywhere = np.ones(region.shape, bool)
    frequency, power = noise_power_spectrum(smooth, everywhere, bins=16)
    low = slice(2, 7)
    expected = 0.3**2 * np.exp(-((2 * np.pi * 1.5 * frequency) ** 2))
    np.testing.assert_allclose(power[low], expected[low], rtol=0.15)
