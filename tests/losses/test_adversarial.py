"""Adversarial losses against their definitions with sigmoid and log in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xmm_jax.losses.adversarial import (
    accuracy,
    batch_mean,
    plain_discriminator,
    plain_generator,
    relativistic_discriminator,
    relativistic_generator,
)
from xmm_jax.parallel import AXIS, make_mesh, place_batch, place_state, spread
from xmm_jax.step import descend

RNG = np.random.default_rng(0)
REAL = RNG.normal(0.5, 2.0, 8).astype(np.float32)
FAKE = RNG.normal(-0.5, 3.0, 8).astype(np.float32)
# Unequal over four devices of two: the mean of their means would be another.
WEIGHT = np.array([1, 1, 1, 0, 0.5, 1, 0, 0], np.float32)
BOTH = (relativistic_discriminator, relativistic_generator)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def by_definition(real, fake, weight):
    """Equations 1 and 2 of ESRGAN, with sums over examples written out."""
    real, fake, weight = (np.asarray(x, np.float64) for x in (real, fake, weight))
    share = weight / weight.sum()
    mean_real, mean_fake = sum(share * real), sum(share * fake)
    discriminator = generator = 0.0
    for r, f, w in zip(real, fake, share, strict=True):
        real_is_more_real, fake_is_more_real = sigmoid(r - mean_fake), sigmoid(f - mean_real)
        discriminator -= w * (np.log(real_is_more_real) + np.log(1 - fake_is_more_real))
        generator -= w * (np.log(1 - real_is_more_real) + np.log(fake_is_more_real))
    return discriminator, generator


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_relativistic_losses_are_their_definition(weight):
    expected = by_definition(REAL, FAKE, np.ones(8) if weight is None else weight)
    for loss, value in zip(BOTH, expected, strict=True):
        found = loss(jnp.asarray(REAL), jnp.asarray(FAKE), weight)
        assert found.shape == (8,)
        np.testing.assert_allclose(batch_mean(found, weight), value, rtol=1e-6)


def test_plain_losses_are_their_definition():
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    expected = -np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE))
    np.testing.assert_allclose(plain_discriminator(real, fake), expected, rtol=1e-5)
    np.testing.assert_allclose(plain_generator(fake), -np.log(sigmoid(FAKE)), rtol=1e-5)
    found = np.asarray(plain_discriminator(real, fake, WEIGHT))
    np.testing.assert_allclose(found, np.where(WEIGHT > 0, expected, 0), rtol=1e-5)


def test_where_nothing_tells_them_apart():
    same = jnp.full(4, 3.7)
    for loss in BOTH:
        np.testing.assert_allclose(loss(same, same), 2 * np.log(2), rtol=1e-6)


def test_only_differences_of_logits_count():
    for loss in BOTH:
        one, other = (loss(jnp.asarray(REAL + a), jnp.asarray(FAKE + a)) for a in (0, 5))
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_gradients_are_those_of_differences(loss, weight):
    given = np.ones(8) if weight is None else weight
    place, step = BOTH.index(loss), 1e-5
    found = jax.jit(jax.grad(lambda r, f: batch_mean(loss(r, f, weight), weight), argnums=(0, 1)))(
        jnp.asarray(REAL), jnp.asarray(FAKE)
    )
    for i in range(8):
        at = step * (np.arange(8) == i)
        for gradient, real, fake in ((found[0], at, 0), (found[1], 0, at)):
            up = by_definition(REAL + real, FAKE + fake, given)[place]
            down = by_definition(REAL - real, FAKE - fake, given)[place]
            np.testing.assert_allclose(gradient[i], (up - down) / (2 * step), atol=1e-6)


@pytest.mark.parametrize(
    "loss", [*BOTH, plain_discriminator, lambda _, fake: plain_generator(fake)]
)
def test_extreme_logits_stay_finite(loss):
    ask = jax.jit(jax.value_and_grad(lambda real: batch_mean(loss(real, -real))))
    for size in (100.0, -100.0, 1e30, -1e30):
        value, slope = ask(size * jnp.asarray([1.0, 1.0, 0.5]))
        assert np.isfinite(value)
        assert np.isfinite(slope).all()


def test_extreme_logits_have_their_asymptotes():
    # -log s(x) = -x far below 0: means 1e30 and -1e30, so differences of 2e30, twice.
    real = jnp.full(2, 1e30)
    np.testing.assert_allclose(relativistic_generator(real, -real), 4e30, rtol=1e-6)
    np.testing.assert_allclose(relativistic_discriminator(-real, real), 4e30, rtol=1e-6)
    np.testing.assert_array_equal(relativistic_discriminator(real, -real), 0)
    np.testing.assert_array_equal(relativistic_generator(-real, real), 0)


@pytest.mark.parametrize("figure", [*BOTH, accuracy, plain_discriminator])
def test_padding_counts_for_nothing(figure):
    filled = [np.where(WEIGHT > 0, x, np.nan).astype(np.float32) for x in (REAL, FAKE)]
    kept = WEIGHT == 1
    weight = kept.astype(np.float32)

    def mean(real, fake):
        return batch_mean(figure(real, fake, weight), weight)

    expected = figure(jnp.asarray(REAL[kept]), jnp.asarray(FAKE[kept]))
    found = np.asarray(figure(*map(jnp.asarray, filled), weight))
    np.testing.assert_allclose(found[kept], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[~kept], 0)
    value, slope = jax.jit(jax.value_and_grad(mean))(*map(jnp.asarray, filled))
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-6)
    np.testing.assert_array_equal(slope[~kept], 0)
    nothing = jnp.zeros(8)
    assert batch_mean(figure(jnp.asarray(REAL), jnp.asarray(FAKE), nothing), nothing) == 0


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        ([2, 3, 4], [-1, 0, 1], [1, 1, 1]),
        ([-1, 0, 1], [2, 3, 4], [0, 0, 0]),
        ([5, 5, 5], [5, 5, 5], [0.5, 0.5, 0.5]),
        # Means 1 and 0: real 0 is as the mean of the fakes, fake 3 above that of the real.
        ([0, 4, -1], [3, -1, -2], [0.25, 1, 0.5]),
        ([0, 0, 6], [1, 0, 2], [0.5, 0.5, 0.75]),
    ],
)
def test_accuracy(real, fake, expected):
    real, fake = (jnp.asarray(x, jnp.float32) for x in (real, fake))
    np.testing.assert_array_equal(accuracy(real, fake), np.float32(expected))


def learn(scale, batch, *, loss, axis_name):
    """Means of a batch, and factors of the logits after a step of 1 down the gradient."""
    real, fake, weight = batch["real"], batch["fake"], batch["weight"]

    def total(scale):
        values = loss(scale[0] * real, scale[1] * fake, weight, axis_name=axis_name)
        return jnp.sum(values * weight)

    sums = (*jax.value_and_grad(total)(scale), jnp.sum(weight))
    optimiser = optax.sgd(1.0)
    moved, _, metrics = descend(
        scale, optimiser.init(scale), sums, optimiser=optimiser, axis_name=axis_name
    )
    right = accuracy(real, fake, weight, axis_name=axis_name)
    return metrics | {"moved": moved, "right": batch_mean(right, weight, axis_name=axis_name)}


@pytest.mark.multidevice
@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_updates_are_the_same_over_devices(kind):
    if jax.device_count() < 4:
        pytest.skip("needs four devices")
    batch, scale = {"real": REAL, "fake": FAKE, "weight": WEIGHT}, jnp.asarray([1.0, 0.7])
    mesh = make_mesh(4)
    for place, loss in enumerate(BOTH):
        one = jax.jit(functools.partial(learn, loss=loss, axis_name=None))(scale, batch)
        step = spread(functools.partial(learn, loss=loss, axis_name=AXIS), mesh, kind=kind)
        four = step(place_state(scale, mesh), place_batch(batch, mesh, kind=kind))
        expected = by_definition(REAL, scale[1] * FAKE, WEIGHT)[place]
        np.testing.assert_allclose(four["loss"], expected, rtol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), four, one)


def test_values_are_the_same_over_an_axis_of_vmap():
    for figure in (*BOTH, accuracy):
        cut = [jnp.asarray(x.reshape(4, 2)) for x in (REAL, FAKE, WEIGHT)]
        found = jax.vmap(functools.partial(figure, axis_name="data"), axis_name="data")(*cut)
        whole = figure(jnp.asarray(REAL), jnp.asarray(FAKE), jnp.asarray(WEIGHT))
        np.testing.assert_allclose(found.ravel(), whole, rtol=1e-6)


@pytest.mark.parametrize(
    ("real", "fake", "weight", "message"),
    [
        ((4, 1), (4, 1), None, r"logits must be \[b\]"),
        ((4,), (3,), None, r"got \(4,\) and \(3,\)"),
        ((4,), (4,), (4, 1), r"weights must be \(4,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(real, fake, weight, message):
    given = None if weight is None else jnp.ones(weight)
    for loss in (*BOTH, plain_discriminator, accuracy):
        with pytest.raises(ValueError, match=message):
            loss(jnp.zeros(real), jnp.zeros(fake), given)
