"""Divergence of images against scipy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr

from xmm_jax.losses.divergence import EPSILON, kl

RNG = np.random.default_rng(0)
T = RNG.lognormal(-3, 2, (3, 9, 7, 1)).astype(np.float32)
P = (T * RNG.lognormal(0, 0.3, T.shape)).astype(np.float32)


def expected(prediction, target, epsilon=EPSILON):
    p, q = (np.maximum(x.astype(np.float64), epsilon) for x in (target, prediction))
    p, q = (x / x.sum((1, 2, 3), keepdims=True) for x in (p, q))
    return rel_entr(p, q).sum((1, 2, 3))


@pytest.mark.parametrize("epsilon", [EPSILON, 1e-2])
def test_is_the_relative_entropy_of_scipy(epsilon):
    found = kl(P, T, epsilon=epsilon)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, expected(P, T, epsilon), rtol=1e-5)


@pytest.mark.parametrize("apart", [1e-1, 1e-2, 1e-3])
def test_small_differences_do_not_drown_in_rounding(apart):
    near = (T * (1 + apart * RNG.standard_normal(T.shape))).astype(np.float32)
    np.testing.assert_allclose(kl(near, T), expected(near, T), rtol=1e-3, atol=3e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 1000))
def test_knows_shapes_and_not_brightness(seed, factor):
    a, b = np.random.default_rng(seed).uniform(0.5, 2, (2, 1, 4, 6, 1)).astype(np.float32)
    value = kl(a, b)
    assert value > 0
    np.testing.assert_allclose(kl(a * np.float32(factor), b), value, rtol=1e-3, atol=1e-7)
    # The order of pixels does not matter either.
    np.testing.assert_allclose(kl(a[:, ::-1], b[:, ::-1]), value, rtol=1e-3)
    np.testing.assert_allclose(kl(np.float32(factor) * b, b), 0, atol=1e-6)


def test_the_order_of_images_matters():
    """p is the target: light that the prediction lacks costs most."""
    spike = np.ones((1, 4, 4, 1), np.float32)
    spike[0, 1, 1] = 100
    flat = np.ones_like(spike)
    np.testing.assert_allclose(kl(flat, spike), expected(flat, spike), rtol=1e-5)
    assert kl(flat, spike) > 1.2 * kl(spike, flat)


def test_gradients_are_finite_for_blank_negative_and_bright_images():
    slope = jax.jit(jax.grad(lambda p, t: kl(p, t).sum()))
    zeros = jnp.zeros((1, 5, 5, 1))
    for a in (zeros, zeros - 1, zeros + 1e4, T[:1, :5, :5]):
        for b in (zeros, zeros - 1, zeros + 1e4, P[:1, :5, :5]):
            assert np.isfinite(slope(jnp.asarray(a), jnp.asarray(b))).all()
            assert np.isfinite(kl(a, b)).all()


def test_slope_is_that_of_finite_differences():
    direction = RNG.standard_normal(P.shape)
    step = 1e-6 * P
    ends = [expected(P + sign * step * direction, T) for sign in (1.0, -1.0)]
    slope = np.asarray(jax.grad(lambda p: kl(p, T).sum())(P), np.float64)
    held = np.sum(slope * P * direction * (P > EPSILON), axis=(1, 2, 3))
    np.testing.assert_allclose(held, (ends[0] - ends[1]) / 2e-6, rtol=1e-3, atol=1e-5)
