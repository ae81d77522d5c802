"""Network units against the published formulas written out in numpy float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.models.stretch import (
    STRETCHES,
    Scale,
    normalise,
    rate,
    to_inputs,
    to_rate,
    to_target,
)

SR = Scale("sqrt", clip_rate=0.0022336, target_clip_rate=0.0005584, in_channels=2, upscale=2)
U = np.linspace(0, 1, 1001)
FORMULAS = {
    "linear": U,
    "sqrt": U**0.5,
    "asinh": np.arcsinh(U / 0.02) / np.arcsinh(50),
    "log": np.minimum(np.log(1000 * U + 1) / np.log(1000), 1),
}


def _observation():
    rng = np.random.default_rng(0)
    counts = rng.poisson(30, (2, 4, 5, 1)).astype(np.uint16)
    exposure = rng.uniform(10_000, 30_000, counts.shape).astype(np.float32)
    valid = rng.random(counts.shape) > 0.3
    exposure[0, 0] = 0.0
    return counts, exposure, valid


@pytest.mark.parametrize("name", STRETCHES)
def test_stretch_is_the_published_formula(name):
    values = normalise(jnp.asarray(U * 0.0022336, jnp.float32), 0.0022336, name)
    np.testing.assert_allclose(values, FORMULAS[name], rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("name", STRETCHES)
def test_round_trip(name):
    forward, inverse = STRETCHES[name]
    u = jnp.asarray(np.concatenate([U, np.geomspace(1e-8, 1e-3, 50)]), jnp.float32)
    np.testing.assert_allclose(inverse(forward(u)), u, atol=1e-6)


@pytest.mark.parametrize("name", STRETCHES)
def test_stretch_covers_and_stays_within_the_unit_interval(name):
    values = normalise(jnp.asarray([-1.0, 0.0, 1e-3, 5.0, np.inf]), 1e-3, name)
    np.testing.assert_allclose(values, [0, 0, 1, 1, 1], atol=1e-6)
    assert values.max() <= 1


def test_clip_is_200_times_the_background():
    """44.67 counts in 20 ks per input pixel, 55.84 in 100 ks per target pixel (200 and 50 mu_B)."""
    shape = (1, 1, 3, 1)
    counts = jnp.asarray([44.0, 44.672, 46.0]).reshape(shape)
    inputs = to_inputs(SR, counts, jnp.full(shape, 20_000.0), jnp.ones(shape, bool))[0, 0, :, 0]
    np.testing.assert_allclose(inputs, [np.sqrt(44 / 44.672), 1, 1], rtol=1e-6)
    target = to_target(
        SR, counts * 1.25, jnp.full(shape, 1e5), jnp.ones(shape, bool), jnp.full(shape, 2e4)
    )
    np.testing.assert_allclose(target[0, 0, :, 0], inputs, rtol=1e-6)


def test_inputs_against_numpy():
    counts, exposure, valid = _observation()
    inputs = to_inputs(SR, counts, exposure, valid)
    live = valid & (exposure > 0)
    per_second = np.divide(counts, exposure, out=np.zeros(counts.shape), where=live)
    np.testing.assert_allclose(
        inputs[..., :1], np.sqrt(np.clip(per_second / 0.0022336, 0, 1)), rtol=1e-6
    )
    np.testing.assert_allclose(inputs[..., 1:], np.where(valid, exposure / 1e5, 0), rtol=1e-6)
    assert inputs.dtype == jnp.float32


def test_one_channel_is_the_first_of_two():
    one = Scale("sqrt", 0.0022336, 0.0005584, in_channels=1, upscale=2)
    np.testing.assert_array_equal(
        to_inputs(one, *_observation()), to_inputs(SR, *_observation())[..., :1]
    )


def test_exposure_channel_of_20_ks_is_that_of_the_published_networks():
    shape = (1, 2, 3, 1)
    inputs = to_inputs(SR, jnp.zeros(shape), jnp.full(shape, 20_000.0), jnp.ones(shape, bool))
    np.testing.assert_allclose(inputs[..., 1], 0.2, rtol=1e-6)


def test_dead_pixels_are_zero_whatever_they_hold():
    counts = jnp.full((1, 1, 3, 1), 7)
    exposure = jnp.asarray([0.0, np.nan, 1e4]).reshape(counts.shape)
    valid = jnp.asarray([True, False, False]).reshape(counts.shape)
    assert not np.any(rate(counts, exposure, valid))
    assert not np.any(to_inputs(SR, counts, exposure, valid))


@pytest.mark.parametrize("name", STRETCHES)
def test_target_and_rate_undo_each_other(name):
    scale = Scale(name, 0.0022336, 0.0005584, in_channels=2, upscale=2)
    counts = np.random.default_rng(1).poisson(5, (1, 6, 4, 1))
    exposure = np.full(counts.shape, 1e5, np.float32)
    target = to_target(scale, counts, exposure, np.ones(counts.shape, bool), exposure)
    np.testing.assert_allclose(
        to_rate(scale, target, exposure), counts / 1e5, atol=1e-6 * 0.0005584
    )


def test_rate_ends_at_the_clip_rate():
    outputs = to_rate(SR, jnp.asarray([0.0, 1.0, 1.5]), jnp.ones(1))
    np.testing.assert_allclose(outputs, [0, 0.0005584, 0.0005584], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stretch": "cube"}, "choose one of linear, sqrt, asinh, log"),
        ({"clip_rate": 0.0}, "positive"),
        ({"target_clip_rate": float("nan")}, "positive"),
        ({"in_channels": 3}, "in_channels"),
        ({"upscale": 0}, "upscale"),
    ],
)
def test_impossible_units_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Scale(**(vars(SR) | change))


ROOTS = Scale("counts", 0.0022336, 0.0005584, in_channels=2, upscale=2)


def test_roots_of_counts_have_the_same_noise_at_any_brightness_and_exposure():
    """Standard deviation near 1/2 beyond a few counts (Anscombe 1948)."""
    rng = np.random.default_rng(3)
    expected = np.array([4.0, 20.0, 300.0]).reshape(1, 1, 3, 1)
    counts = rng.poisson(expected, (20_000, 1, 3, 1))
    seconds = np.full(counts.shape, 5e3, np.float32)
    image = to_inputs(ROOTS, counts, seconds, np.ones(counts.shape, bool))[..., 0]
    np.testing.assert_allclose(image.std(axis=(0, 1)), 0.5, rtol=0.03)


def test_roots_of_counts_say_the_exposure_and_leave_dead_pixels_empty():
    exposure = jnp.asarray([0.0, np.nan, 5e3, 1e5]).reshape(1, 1, 4, 1)
    valid = jnp.asarray([True, False, True, True]).reshape(exposure.shape)
    inputs = to_inputs(ROOTS, jnp.full(exposure.shape, 2), exposure, valid)
    root = np.sqrt(2.375) - np.sqrt(0.375)
    np.testing.assert_allclose(inputs[0, 0, :, 0], [0, 0, root, root], rtol=1e-6)
    np.testing.assert_allclose(inputs[0, 0, :, 1], [0, 0, 0.25, np.log2(21) / 4], rtol=1e-6)


def test_roots_of_counts_are_those_the_input_should_have():
    """A rate of 1e-3 count/s per fine pixel is 4e-3 per input pixel: 20 counts in 5 ks."""
    exposure = jnp.asarray([5e3, 2e4]).reshape(1, 1, 2, 1)
    target = jnp.full((1, 2, 4, 1), 100.0)  # in 100 ks
    live = jnp.ones(target.shape, bool)
    roots = to_target(ROOTS, target, 1e3 * target, live, exposure)
    np.testing.assert_allclose(roots[0, 0, :, 0] ** 2, [20, 20, 80, 80], rtol=1e-5)
    np.testing.assert_allclose(to_rate(ROOTS, roots, exposure), 1e-3, rtol=1e-5)


def test_nothing_bright_is_clipped_and_nothing_dead_has_a_rate():
    exposure = jnp.asarray([1e4, 0.0]).reshape(1, 1, 2, 1)
    rate_of = to_rate(ROOTS, jnp.full((1, 2, 4, 1), 1e3), exposure)
    np.testing.assert_allclose(rate_of[0, 0, :, 0], [25, 25, 0, 0], rtol=1e-6)
    assert not ROOTS.clips
    assert SR.clips
