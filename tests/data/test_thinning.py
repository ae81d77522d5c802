import numpy as np
import pytest

from xmm_jax.data.thinning import generator, thin


def test_keyed_by_seed_and_words():
    first = generator(1, "field", 2).integers(0, 2**40, 8)
    np.testing.assert_array_equal(first, generator(1, "field", 2).integers(0, 2**40, 8))
    for other in (
        (2, "field", 2),
        (1, "field", 3),
        (1, "fields", 2),
        (1, "field"),
        (1, 2, "field"),
    ):
        assert (generator(*other).integers(0, 2**40, 8) != first).any()


@pytest.mark.parametrize(("mean", "fraction"), [(0.5, 0.4), (30.0, 0.2)])
def test_two_parts_are_independent_poisson_images(mean, fraction):
    counts = np.random.default_rng(4).poisson(mean, 200_000)
    kept = thin(generator(0, "x"), counts, fraction)
    rest = counts - kept
    assert kept.dtype == np.int32
    assert kept.min() >= 0
    assert rest.min() >= 0
    n = counts.size
    for part, expected in ((kept, mean * fraction), (rest, mean * (1 - fraction))):
        assert abs(part.mean() - expected) < 4 * (expected / n) ** 0.5
        assert part.var() == pytest.approx(expected, rel=4 * (2 / n + 1 / (n * expected)) ** 0.5)
    spread = (mean**2 * fraction * (1 - fraction) / n) ** 0.5
    assert abs(np.cov(kept, rest)[0, 1]) < 4 * spread


def test_bounds():
    counts = np.arange(6)
    np.testing.assert_array_equal(thin(generator(0), counts, 1.0), counts)
    np.testing.assert_array_equal(thin(generator(0), counts, 0.0), 0)
