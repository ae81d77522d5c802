"""The transform and its inverse against sums over the Poisson law."""

import numpy as np
import pytest
from scipy import stats

from xmm_jax.models.anscombe import denoise, expected_counts, stabilise

MEANS = np.array([0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 40.0, 150.0])


def _moments(mean):
    counts = np.arange(0, 600)
    odds, value = stats.poisson.pmf(counts, mean), stabilise(counts)
    first = np.sum(odds * value)
    return first, np.sum(odds * (value - first) ** 2)


def test_the_inverse_is_that_of_the_mean():
    first = np.array([_moments(mean)[0] for mean in MEANS])
    np.testing.assert_allclose(expected_counts(first), MEANS, atol=0.015, rtol=2e-3)
    assert expected_counts(np.array(0.5)) == 0  # below the transform of no counts


def test_noise_is_one():
    for mean in (4.0, 10.0, 40.0, 150.0):
        assert _moments(mean)[1] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("mean", [0.15, 5.0])
def test_smoothing_is_unbiased_also_where_ccds_stopped_early(mean):
    exposure = np.full((300, 256), 20_000.0)
    exposure[:, 128:] = 12_000.0
    counts = np.random.default_rng(2).poisson(mean * exposure / 20_000.0)
    valid = np.ones(counts.shape, bool)

    def halves(image):
        return np.repeat([[image[:, :128].mean(), image[:, 128:].mean()]], 128, 1) + 0 * image

    rate = denoise(counts, exposure, valid, upscale=1, denoiser=halves)
    for half in (slice(128), slice(128, None)):
        # Error of the mean of 300 x 128 pixels, and 0.015 counts of the closed form.
        expected = counts[:, half].mean() / exposure[0, half][0]
        assert rate[:, half].mean() == pytest.approx(expected, abs=0.03 * mean / 20_000.0)
