"""C statistic against sums over the Poisson law by scipy, and against drawn counts."""

import numpy as np
import pytest
from scipy import stats

from xmm_jax.errors import InputError
from xmm_jax.metrics.consistency import (
    c_moments,
    c_statistic,
    consistency,
    expected_counts,
)


@pytest.mark.parametrize("mean", [3e-6, 1e-3, 0.0473, 0.7, 3.1, 41.7, 900.0])
def test_moments_are_those_of_the_poisson_law(mean):
    n = np.arange(int(mean + 15 * mean**0.5 + 20))
    chance = stats.poisson.pmf(n, mean)
    saturated = stats.poisson.logpmf(n, np.maximum(n, 1e-300))
    value = 2 * (saturated - stats.poisson.logpmf(n, mean))
    np.testing.assert_allclose(c_statistic(mean, n), value, rtol=1e-6, atol=1e-9)
    expectation = (chance * value).sum()
    variance = (chance * (value - expectation) ** 2).sum()
    found = c_moments(np.array([mean]))
    assert found == (pytest.approx([expectation], rel=1e-4), pytest.approx([variance], rel=1e-4))


def test_many_counts_make_it_chi_squared():
    np.testing.assert_allclose(c_moments(np.array([5e4])), [[1], [2]], rtol=1e-3)


def _field():
    y, x = np.mgrid[:60, :71]
    valid = (x - 30) ** 2 + (y - 28) ** 2 < 27**2
    return 0.05 + 4 * np.exp(-0.5 * ((x - 20) ** 2 + (y - 35) ** 2) / 12), valid


def test_true_expectations_are_consistent():
    rng, (mean, valid) = np.random.default_rng(1), _field()
    found = [consistency(mean, rng.poisson(mean), valid) for _ in range(100)]
    z = np.array([one.z for one in found])
    assert abs(z.mean()) < 0.4
    assert 0.75 < z.std() < 1.3
    assert np.median([abs(one.blob_sigma) for one in found]) < 4
    assert np.all(found[0].residual[~valid] == 0)
    spread = np.mean([one.residual[valid] ** 2 for one in found])
    assert spread == pytest.approx(1, rel=0.02)


def test_wrong_expectations_are_not():
    rng, (mean, valid) = np.random.default_rng(2), _field()
    counts = rng.poisson(mean)
    assert consistency(np.roll(mean, 6, axis=1), counts, valid).z > 10
    # An image that repeats its input explains it better than the truth does.
    assert consistency(0.5 * (counts + mean), counts, valid).z < -5


@pytest.mark.parametrize("extra", [9, -9])
def test_largest_blob(extra):
    mean, valid = np.full((40, 50), 2.0), np.ones((40, 50), bool)
    counts = mean.copy()
    counts[11:14, 30:33] += extra / 9
    found = consistency(mean, counts, valid)
    tail = stats.poisson.sf(26, 18) if extra > 0 else stats.poisson.cdf(9, 18)
    assert found.blob == (31, 12)
    assert found.blob_sigma == pytest.approx(np.sign(extra) * stats.norm.isf(tail), rel=1e-6)


def test_blob_beyond_all_probabilities():
    mean, valid = np.full((9, 9), 1.0), np.ones((9, 9), bool)
    counts = mean.copy()
    counts[4, 5] = 5000
    found = consistency(mean, counts, valid)
    assert found.blob_sigma == pytest.approx(np.sqrt(c_statistic(9, 5008)))
    assert np.isfinite(consistency(np.zeros((9, 9)), counts, valid).z)


def test_expected_counts_are_binned_exposed_and_masked():
    rng = np.random.default_rng(3)
    rate, exposure = rng.random((8, 6)), 100 * rng.random((4, 3))
    valid = exposure > 20
    assert not valid.all()
    found = expected_counts(
        rate, exposure, valid, response=lambda image: 2 * image, background=np.full((4, 3), 0.5)
    )
    for y in range(4):
        for x in range(3):
            expected = 2 * rate[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].sum() * exposure[y, x] + 0.5
            assert found[y, x] == pytest.approx(expected * valid[y, x])
    with pytest.raises(InputError, match="does not fit"):
        expected_counts(rate[:7], exposure, valid)
