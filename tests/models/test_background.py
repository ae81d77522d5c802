"""Levels of a background that was put there."""

import numpy as np
import pytest

from xmm_jax.models.background import fit_levels, subtract_background
from xmm_jax.models.interpolation import interpolate

Y, X = np.mgrid[:240, :272]
DIM = 1.0 / (1.0 + ((X - 150.0) ** 2 + (Y - 110.0) ** 2) / 120.0**2)
VALID = np.hypot(X - 136, Y - 120) < 125


def _field(source):
    exposure = np.where(X < 120, 20e3, 15e3) * np.ones(Y.shape)
    rate = 4e-6 + 6e-6 * DIM + source
    counts = np.random.default_rng(7).poisson(rate * exposure)
    return counts, exposure, VALID


@pytest.mark.parametrize("upscale", [1, 2])
def test_leaves_a_source_and_no_background(upscale):
    source = 4e-4 * np.exp(-0.5 * ((X - 90.0) ** 2 + (Y - 140.0) ** 2) / 12.0**2)
    observation = _field(source)
    rate = interpolate(*observation, upscale=upscale)
    left = subtract_background(rate, *observation[1:], shapes=(np.ones(Y.shape), DIM))
    assert left.dtype == np.float32
    assert left.shape == rate.shape
    blank = (np.hypot(X - 90, Y - 140) > 60) & VALID
    fine = blank.repeat(upscale, 0).repeat(upscale, 1)
    # 5 % of the background of 7e-6, and of the light of the source.
    assert abs(left[fine].mean()) * upscale**2 < 4e-7
    assert left.sum() == pytest.approx(source[VALID].sum(), rel=0.05)
    assert not left[~VALID.repeat(upscale, 0).repeat(upscale, 1)].any()


def test_one_flat_shape_by_default():
    exposure, valid = np.full((64, 80), 1e4), np.ones((64, 80), bool)
    counts = np.random.default_rng(8).poisson(0.5, valid.shape)
    left = subtract_background(counts / exposure, exposure, valid)
    assert abs(left.mean()) < 0.06 * 5e-5


def test_levels_of_blocks_without_noise():
    expected = np.stack([np.full(300, 50.0), np.linspace(20.0, 80.0, 300)])
    counts = np.array([2.0, 3.0]) @ expected
    counts[::7] += 5000.0
    np.testing.assert_allclose(fit_levels(counts, expected), [2.0, 3.0], rtol=1e-6)


def test_nothing_seen():
    left = subtract_background(np.zeros((32, 32)), np.zeros((32, 32)), np.ones((32, 32), bool))
    assert not left.any()
