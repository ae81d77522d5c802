"""Sums of losses for images in electrons/s."""

import jax
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.losses.divergence import kl
from xmm_jax.losses.electrons import ELECTRON_LOSSES, combine_electrons
from xmm_jax.losses.perceptual import perceptual, random_extractor

RNG = np.random.default_rng(0)
T = RNG.lognormal(-3, 2, (2, 16, 24, 1)).astype(np.float32)
P = (T + 0.05 * RNG.standard_normal(T.shape)).astype(np.float32)


def test_sum_of_all():
    extractor = random_extractor(jax.random.key(0))
    weights = {"l1": 2.0, "l2": 0.5, "kl": 1.0, "perceptual": 3.0}
    assert set(weights) == set(ELECTRON_LOSSES)
    found = combine_electrons(weights, extractor=extractor)(P, T)
    apart = P.astype(np.float64) - T
    expected = 2 * np.abs(apart).mean((1, 2, 3)) + 0.5 * np.square(apart).mean((1, 2, 3))
    expected += np.asarray(kl(P, T)) + 3 * np.asarray(perceptual(extractor)(P, T))
    assert found.shape == (2,)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(ELECTRON_LOSSES))
def test_each_alone_is_least_at_the_target_and_has_finite_slopes(name):
    loss = combine_electrons({name: 1.0}, extractor=random_extractor(jax.random.key(0)))
    np.testing.assert_allclose(loss(T, T), 0, atol=1e-6)
    assert np.all(loss(P, T) > 0)
    slope = jax.jit(jax.grad(lambda p: loss(p, T).sum()))(P)
    assert np.isfinite(slope).all()
    assert np.any(slope)
    # Images of a batch have nothing to do with one another.
    np.testing.assert_allclose(loss(P[1:], T[1:]), loss(P, T)[1:], rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "no loss is named; choose from l1, l2, kl, perceptual"),
        ({"l3": 1.0}, "'l3' is unknown; choose from l1, l2, kl, perceptual"),
        ({"l1": 0.0}, "must be positive"),
        ({"l1": float("nan")}, "must be positive"),
        ({"perceptual": 1.0}, "needs an extractor"),
    ],
)
def test_what_cannot_be_is_refused(weights, message):
    with pytest.raises(InputError, match=message):
        combine_electrons(weights)
