"""Pixel losses against the formulas in numpy float64."""

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.losses.pixel import l1, l2, poisson, psnr

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
