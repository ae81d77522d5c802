"""Completeness and depth at equal purity."""

import numpy as np
import pytest

from xmm_jax.metrics.depth import at_purity, depth, threshold_at


def test_completeness_at_equal_purity():
    found = {"significance": np.array([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])}
    found["real"] = np.array([True, True, False, True, True, False])
    truth = {"significance": np.array([9.0, 8.0, 6.0, 5.0, 0.0]), "counts": np.full(5, 50.0)}
    # Pure shares from the top: 1, 1, 2/3, 3/4, 4/5, 4/6.
    for purity, threshold, completeness in ((0.95, 8, 2 / 5), (0.80, 5, 4 / 5), (0.66, 4, 4 / 5)):
        assert threshold_at(found, purity) == threshold
        assert at_purity(truth, found, purity) == pytest.approx(completeness)
    assert np.isnan(depth(truth, found, 0.95))  # all of one brightness


def test_nothing_found():
    nothing = {"significance": np.zeros(0), "real": np.zeros(0, bool)}
    truth = {"significance": np.zeros(5), "counts": np.array([5.0, 20, 50, 100, 200])}
    assert threshold_at(nothing, 0.95) == np.inf
    assert at_purity(truth, nothing, 0.95) == 0.0
    assert np.isnan(depth(truth, nothing, 0.95))


@pytest.mark.parametrize("half", [15.0, 40.0])
def test_depth_is_where_half_are_found(half):
    """Sources found by the very law that is fitted: the depth comes back within its error."""
    rng = np.random.default_rng(0)
    counts = np.exp(rng.uniform(np.log(5), np.log(500), 20_000))
    hit = rng.random(len(counts)) < 1 / (1 + (half / counts) ** 3)
    truth = {"counts": counts, "significance": np.where(hit, 9.0, 0.0)}
    found = {"significance": np.full(hit.sum(), 9.0), "real": np.ones(hit.sum(), bool)}
    # d ln c = sigma(p) / slope of p, of some 20,000 * 0.3 sources near the middle.
    assert depth(truth, found, 0.95) == pytest.approx(half, rel=0.02)


def test_depth_of_a_sharp_limit():
    counts = np.geomspace(5, 500, 1001)
    truth = {"counts": counts, "significance": np.where(counts > 30, 9.0, 0.0)}
    found = {"significance": np.full(3, 9.0), "real": np.ones(3, bool)}
    assert depth(truth, found, 0.95) == pytest.approx(30, rel=0.02)


def test_impurities_raise_the_limit():
    """The same sources with false ones of low significance among them: fewer are left at 95 %."""
    rng = np.random.default_rng(1)
    counts = np.exp(rng.uniform(np.log(5), np.log(500), 5000))
    significance = np.sqrt(counts) * rng.lognormal(0, 0.2, 5000)
    truth = {"counts": counts, "significance": significance}
    real = {"significance": significance[significance > 3.5]}
    real["real"] = np.ones(len(real["significance"]), bool)
    false = rng.uniform(3.5, 5.5, 400)
    both = {
        "significance": np.append(real["significance"], false),
        "real": np.append(real["real"], np.zeros(400, bool)),
    }
    assert depth(truth, real, 0.95) == pytest.approx(3.5**2, rel=0.05)
    assert depth(truth, both, 0.95) > 1.3 * depth(truth, real, 0.95)


def test_a_method_that_finds_the_faint_only():
    counts = np.geomspace(5, 500, 101)
    truth = {"counts": counts, "significance": np.where(counts < 30, 9.0, 0.0)}
    found = {"significance": np.full(3, 9.0), "real": np.ones(3, bool)}
    assert np.isnan(depth(truth, found, 0.95))
