"""Pixel losses against the formulas in numpy float64."""

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from xmm_jax.losses.pixel import deviance, l1, l2, poisson, psnr, spread

RNG = np.random.default_rng(0)
P, T = RNG.random((2, 3, 7, 5, 1)).astype(np.float32)
P64, T64 = P.astype(np.float64), T.astype(np.float64)
AXES = (1, 2, 3)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (l1, np.abs(P64 - T64).mean(AXES)),
        (l2, ((P64 - T64) ** 2).mean(AXES)),
        (poisson, (P64 - T64 * np.log(P64 + 1e-8)).mean(AXES)),
        (psnr, -10 * np.log10(((P64 - T64) ** 2).mean(AXES) + 1e-8)),
    ],
)
def test_formula_per_image(loss, expected):
    value = loss(P, T)
    assert value.shape == (3,)
    np.testing.assert_allclose(value, expected, rtol=2e-6)


def test_psnr_is_that_of_dm_pix_but_ends_at_80():
    alone = [dm_pix.psnr(P[i], T[i]) for i in range(3)]
    np.testing.assert_allclose(psnr(P, T), alone, rtol=1e-5)
    np.testing.assert_allclose(psnr(T, T), 80.0, rtol=1e-6)


def test_psnr_knows_the_range():
    np.testing.assert_allclose(psnr(40 * P, 40 * T, data_range=40.0), psnr(P, T), rtol=1e-5)


@pytest.mark.parametrize("loss", [l1, l2, poisson, psnr])
def test_gradients_are_finite_at_the_limits(loss):
    images = jnp.asarray([0.0, 1.0, 0.0, 1.0]).reshape(1, 2, 2, 1)
    others = jnp.asarray([0.0, 1.0, 1.0, 0.0]).reshape(1, 2, 2, 1)
    for a, b in ((images, images), (images, others), (0 * images, others), (images, 0 * others)):
        assert np.isfinite(jax.grad(lambda x, y: loss(x, y)[0])(a, b)).all()


def test_deviance_is_twice_the_distance_of_poisson_log_likelihoods():
    """D = 2 [log p(k; k) - log p(k; m)] (McCullagh & Nelder 1989, 2.3)."""
    counts = np.arange(1, 22).reshape(1, 7, 3, 1)
    means = counts * RNG.uniform(0.3, 2.0, counts.shape)
    law = scipy.stats.poisson.logpmf
    expected = 2 * (law(counts, counts) - law(counts, means)).mean()
    found = deviance(np.sqrt(means).astype(np.float32), np.sqrt(counts).astype(np.float32))
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


def test_deviance_is_least_at_the_mean_of_noisy_counts():
    """The root of the mean, not the mean of the roots, which least squares would give."""
    roots = np.sqrt(RNG.poisson(0.7, (1, 100, 100, 1))).astype(np.float32)
    slope = jax.grad(lambda u: deviance(jnp.full(roots.shape, u), roots)[0])
    best = float(np.sqrt(np.square(roots).mean()))
    assert abs(slope(best)) < 1e-3
    assert slope(best - 0.05) < -0.05 < 0.05 < slope(best + 0.05)


def test_deviance_of_small_differences_is_that_of_least_squares_of_roots():
    u = np.full((1, 4, 4, 1), 3.0, np.float32)
    np.testing.assert_allclose(deviance(u + 0.01, u), 4 * 0.01**2, rtol=0.02)
    assert deviance(0 * u, 0 * u) == 0


def test_spread_is_the_likelihood_of_a_normal_law_and_moves_the_width_alone():
    prediction = np.concatenate([P, np.log(T + 0.1)], axis=-1)
    law = scipy.stats.norm.logpdf(T64, P64, np.exp(prediction[..., 1:], dtype=np.float64))
    expected = (-law - np.log(2 * np.pi) / 2).mean(AXES)
    np.testing.assert_allclose(spread(prediction, T), expected, rtol=1e-5)
    slope = jax.grad(lambda p: spread(p, T).sum())(prediction)
    assert not slope[..., 0].any()
    assert slope[..., 1].all()
