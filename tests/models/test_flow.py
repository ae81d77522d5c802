"""Conditional flow: inverses, Jacobians by autodiff, densities of scipy, and what it can learn."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import stats

from xmm_jax import models
from xmm_jax.models import flow, flow_inputs
from xmm_jax.models import flow_layers as layers
from xmm_jax.models.rrdb import RRDB, clamp

KEY = jax.random.key(3)
RNG = np.random.default_rng(0)
STEPS = 150  # of the toy
SETTINGS = {"condition": 3, "levels": 2, "steps": 2, "width": 8}
TARGET = RNG.normal(1.0, 2.0, (2, 8, 8, 1)).astype(np.float32)
FEATURES = RNG.normal(size=(2, 4, 4, 3)).astype(np.float32)

# What runs once is compiled fast rather than well.
ONCE = {"xla_backend_optimization_level": 0}

draw = jax.jit(
    flow.init,
    static_argnames=("condition", "channels", "levels", "steps", "width"),
    compiler_options=ONCE,
)


def disturbed(params, width=0.1):
    """Parameters far from the first ones: no layer is without effect."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: p + width * rng.standard_normal(p.shape, np.float32), params)


@pytest.fixture(scope="module")
def params():
    held = disturbed(draw(KEY, **SETTINGS))
    return start(held, TARGET, FEATURES)


start = jax.jit(flow.start, compiler_options=ONCE)
encode = jax.jit(flow.encode, compiler_options=ONCE)
decode = jax.jit(flow.decode, compiler_options=ONCE)
log_likelihood = jax.jit(flow.log_likelihood, compiler_options=ONCE)
sample = jax.jit(flow.sample, static_argnames="shape", compiler_options=ONCE)


def log_abs_det(function, x):
    """Of the Jacobian by autodiff, [b] of one image."""
    jacobian = jax.jit(jax.jacfwd(lambda flat: function(flat.reshape(x.shape)).ravel()))(x.ravel())
    return np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]


LAYERS = {
    "actnorm": (lambda key: layers.init_actnorm(6), False),
    "mixing": (lambda key: layers.init_mixing(key, 6), False),
    "injector": (lambda key: layers.init_injector(key, 6, 3, 8), True),
    "coupling": (lambda key: layers.init_coupling(key, 6, 3, 8), True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_inverses_and_determinants(name):
    init, conditional = LAYERS[name]
    own = disturbed(init(KEY), 0.3)
    h = RNG.normal(size=(1, 4, 4, 6)).astype(np.float32)
    extra = (FEATURES[:1],) if conditional else ()
    forward = jax.jit(lambda h: getattr(layers, name)(own, h, *extra))
    y, log_det = forward(h)
    assert log_det.shape == (1,)
    assert np.abs(y - h).max() > 0.1
    back = getattr(layers, f"{name}_inverse")(own, y, *extra)
    np.testing.assert_allclose(back, h, atol=1e-5)
    np.testing.assert_allclose(log_det[0], log_abs_det(lambda h: forward(h)[0], h), atol=1e-4)


def test_squeeze_and_split_have_inverses():
    squeezed = layers.squeeze(TARGET)
    # The four pixels of a square stand in one place.
    np.testing.assert_array_equal(squeezed[1, 2, 3], TARGET[1, 4:6, 6:8, 0].ravel())
    np.testing.assert_array_equal(layers.squeeze_inverse(squeezed), TARGET)
    own = disturbed(layers.init_split(KEY, 4, 3, 8), 0.3)
    kept, latent, log_det = layers.split(own, squeezed, FEATURES)
    assert kept.shape == latent.shape == (2, 4, 4, 2)
    assert np.all(log_det != 0)
    back = layers.split_inverse(own, kept, latent, FEATURES)
    np.testing.assert_allclose(back, squeezed, atol=1e-5)


def test_prior_of_a_split_is_the_gaussian_of_its_biases():
    own = layers.init_split(KEY, 4, 3, 8)
    log_scale, shift = np.array([0.3, -0.2], np.float32), np.array([1.0, -0.5], np.float32)
    bias = np.concatenate([log_scale, shift])
    own = own | {"conv3": own["conv3"] | {"bias": bias}}
    h = layers.squeeze(TARGET)
    _, latent, log_det = layers.split(own, h, FEATURES)
    found = log_det + stats.norm.logpdf(latent).sum((1, 2, 3))
    log_scale = layers.BOUND * np.tanh(log_scale / layers.BOUND)
    prior = stats.norm(-shift * np.exp(-log_scale), np.exp(-log_scale))
    np.testing.assert_allclose(found, prior.logpdf(h[..., 2:]).sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 4, 7])
def test_first_mixing_is_a_rotation(channels):
    own = layers.init_mixing(KEY, channels)
    rows = np.eye(channels, dtype=np.float32)[None, None]
    matrix, log_det = layers.mixing(own, rows)
    np.testing.assert_allclose(matrix[0, 0] @ matrix[0, 0].T, np.eye(channels), atol=1e-5)
    np.testing.assert_allclose(log_det, 0, atol=1e-4)


def test_scales_are_bounded():
    own = layers.init_injector(KEY, 6, 3, 8)
    raw = np.repeat(np.float32([1e6, 0]), 6)
    own = own | {"conv3": own["conv3"] | {"bias": raw}}
    h, log_det = layers.injector(own, jnp.ones((2, 4, 4, 6)), FEATURES)
    np.testing.assert_allclose(h, math.exp(layers.BOUND), rtol=1e-6)
    np.testing.assert_allclose(log_det, 4 * 4 * 6 * layers.BOUND, rtol=1e-6)


def test_images_come_back(params):
    latents, log_det = encode(params, TARGET, FEATURES)
    assert [z.shape for z in latents] == [(2, 4, 4, 2), (2, 2, 2, 8)]
    assert log_det.shape == (2,)
    assert sum(z.size for z in latents) == TARGET.size
    np.testing.assert_allclose(decode(params, latents, FEATURES), TARGET, atol=1e-4)
    # The condition counts on all levels.
    others, _ = encode(params, TARGET, FEATURES + 1)
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(latents, others, strict=True))


def test_shapes_of_a_deeper_flow():
    target = jax.ShapeDtypeStruct((2, 16, 24, 2), jnp.float32)
    features = jax.ShapeDtypeStruct((2, 16, 24, 3), jnp.float32)
    own = functools.partial(flow.init, condition=3, channels=2, levels=3, steps=5, width=8)
    held = jax.eval_shape(own, KEY)
    latents, _ = jax.eval_shape(flow.encode, held, target, features)
    assert [z.shape[1:] for z in latents] == [(8, 12, 4), (4, 6, 8), (2, 3, 32)]
    assert jax.eval_shape(flow.decode, held, latents, features) == target


def test_log_determinant_is_that_of_the_jacobian(params):
    def flat(image):
        latents, _ = flow.encode(params, image, FEATURES[:1])
        return jnp.concatenate([z.ravel() for z in latents])

    _, log_det = encode(params, TARGET[:1], FEATURES[:1])
    assert abs(log_det[0]) > 1
    np.testing.assert_allclose(log_det[0], log_abs_det(flat, TARGET[:1]), atol=1e-3)


def matrix_and_shift(own):
    """Of actnorm and 1x1 convolution at one pixel: h -> matrix h + shift, in numpy."""
    norm, mixing = own["actnorm"], jax.tree.map(np.float64, own["mixing"])
    lower = np.tril(mixing["lower"], -1) + np.eye(4)
    upper = np.triu(mixing["upper"], 1) + np.diag(np.exp(mixing["log_diagonal"]))
    matrix = np.eye(4)[::-1] @ lower @ upper @ np.diag(np.exp(np.float64(norm["log_scale"])))
    return matrix, matrix @ norm["shift"]


def test_linear_flow_is_the_normal_density_of_scipy():
    held = draw(KEY, condition=3, levels=1, steps=1, width=8)
    level = held["level1"]
    linear = {"actnorm", "mixing"}
    level = {
        "transition": disturbed(level["transition"], 0.3),
        "steps": {k: disturbed(v, 0.3) if k in linear else v for k, v in level["steps"].items()},
    }
    first, shift1 = matrix_and_shift(level["transition"])
    second, shift2 = matrix_and_shift(jax.tree.map(lambda a: a[0], level["steps"]))
    # z = A x + b with z of N(0, 1): x has mean -A^-1 b and covariance (A^T A)^-1.
    matrix, shift = second @ first, second @ shift1 + shift2
    truth = stats.multivariate_normal(
        -np.linalg.solve(matrix, shift), np.linalg.inv(matrix.T @ matrix)
    )
    squares = TARGET.reshape(2, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(2, 16, 4)
    expected = truth.logpdf(squares).sum(1)
    found = log_likelihood({"level1": level}, TARGET, FEATURES)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    bits = flow.bits_per_dimension(found, TARGET.shape)
    np.testing.assert_allclose(bits, -expected / 64 / math.log(2), rtol=1e-5)


def test_start_normalises_every_actnorm():
    before = disturbed(draw(KEY, **SETTINGS))
    held = start(before, TARGET, FEATURES)

    @functools.partial(jax.jit, compiler_options=ONCE)
    def normalised(held):
        seen, outputs = FEATURES, []

        def mixed(own, h):
            outputs.append(layers.actnorm(own["actnorm"], h)[0])
            return layers.mixing(own["mixing"], outputs[-1])[0]

        h = layers.squeeze(TARGET)
        for own in (held["level1"], held["level2"]):
            h = mixed(own["transition"], h)
            for i in range(2):
                step = jax.tree.map(lambda a, i=i: a[i], own["steps"])
                h = layers.injector(step["injector"], mixed(step, h), seen)[0]
                h = layers.coupling(step["coupling"], h, seen)[0]
            if "split" in own:
                h = layers.squeeze(layers.split(own["split"], h, seen)[0])
                seen = flow_inputs.resized(FEATURES, 2, 2)
        return outputs

    outputs = normalised(held)
    assert len(outputs) == 6
    for h in outputs:
        np.testing.assert_allclose(np.mean(h, (0, 1, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(np.std(h, (0, 1, 2)), 1, atol=1e-4)
    # Nothing else has changed.
    changed = jax.tree.map_with_path(
        lambda path, a, b: "actnorm" in str(path) or np.array_equal(a, b), before, held
    )
    assert all(jax.tree.leaves(changed))


def test_start_survives_images_of_one_value():
    held = start(draw(KEY, **SETTINGS), jnp.ones((2, 8, 8, 1)), FEATURES)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(held))


def test_samples(params):
    shape = (2, 8, 8, 1)
    cold = [sample(jax.random.key(i), params, FEATURES, shape, 0.0) for i in (0, 1)]
    np.testing.assert_array_equal(*cold)
    zeros = [jnp.zeros_like(z) for z in encode(params, TARGET, FEATURES)[0]]
    np.testing.assert_allclose(cold[0], decode(params, zeros, FEATURES), atol=1e-5)
    warm = [sample(jax.random.key(i), params, FEATURES, shape, 0.8) for i in (0, 0, 1)]
    np.testing.assert_array_equal(warm[0], warm[1])
    assert np.abs(warm[0] - warm[2]).max() > 0.1
    latents = flow.draw_latents(KEY, params, (50, 64, 64, 1), 0.8)
    for z in latents:
        np.testing.assert_allclose([np.mean(z), np.std(z)], [0, 0.8], atol=0.01)


def test_fitting_a_toy_reaches_its_entropy():
    # Noise of deviation 0.5 on an image that is the condition: nothing can do better than
    # log N(target; condition, 0.5), on average -log(2 pi e 0.25) / 2 a pixel.
    best = math.log(2 * math.pi * math.e * 0.25) / 2
    alone = math.log(2 * math.pi * math.e * 1.25) / 2

    @jax.jit
    def pair(key):
        first, second = jax.random.split(key)
        image = jax.random.normal(first, (128, 2, 2, 1))
        target = image + 0.5 * jax.random.normal(second, image.shape)
        # On the pixels of the level the condition is the four pixels of the square.
        return target, layers.squeeze(image), image

    optimiser = optax.adam(optax.cosine_decay_schedule(0.01, STEPS))

    @functools.partial(jax.jit, compiler_options=ONCE)
    def step(key, held, state):
        target, features, _ = pair(key)

        def loss(held):
            return -jnp.mean(flow.log_likelihood(held, target, features)) / 4

        value, slope = jax.value_and_grad(loss)(held)
        updates, state = optimiser.update(slope, state)
        return optax.apply_updates(held, updates), state, value

    target, features, image = pair(jax.random.key(8))
    held = start(draw(KEY, condition=4, levels=1, steps=1, width=16), target, features)
    state, values = optimiser.init(held), []
    for key in jax.random.split(KEY, STEPS):
        held, state, value = step(key, held, state)
        values.append(float(value))
    # It starts as the density of pixels alone and ends near what the condition allows.
    np.testing.assert_allclose(values[0], alone, atol=0.1)
    assert best - 0.03 < np.mean(values[-20:]) < best + 0.1 * (alone - best)
    noise = sample(KEY, held, features, target.shape, 1.0) - image
    np.testing.assert_allclose(np.std(noise), 0.5, atol=0.1)


def test_gradients_are_finite_and_reach_every_parameter(params):
    def total(params):
        return jnp.sum(flow.log_likelihood(params, TARGET, FEATURES))

    slopes = jax.jit(jax.grad(total), compiler_options=ONCE)(params)
    for path, slope in jax.tree.leaves_with_path(slopes):
        assert np.all(np.isfinite(slope)), path
        assert np.any(slope != 0), path


def test_one_image_at_a_time_is_the_same(params):
    latents, log_det = encode(params, TARGET, FEATURES)
    together = log_det + sum(stats.norm.logpdf(z).sum((1, 2, 3)) for z in latents)
    one = jax.vmap(lambda x, f: flow.log_likelihood(params, x[None], f[None])[0])
    np.testing.assert_allclose(jax.jit(one)(TARGET, FEATURES), together, rtol=1e-5)


def test_many_samples_of_one_condition(params):
    keys = jax.random.split(KEY, 3)
    many = jax.jit(jax.vmap(lambda key: flow.sample(key, params, FEATURES, TARGET.shape, 1.0)))
    single = [sample(key, params, FEATURES, TARGET.shape, 1.0) for key in keys]
    np.testing.assert_allclose(many(keys), np.stack(single), rtol=1e-4, atol=1e-4)


def test_shapes_that_do_not_fit(params):
    odd = jnp.zeros((2, 8, 10, 1))
    with pytest.raises(ValueError, match="multiples of 4 pixels for 2 levels, got 8 x 10"):
        flow.encode(params, odd, FEATURES)
    with pytest.raises(ValueError, match="multiples of 4"):
        flow.sample(KEY, params, FEATURES, odd.shape)
    with pytest.raises(ValueError, match="multiples of 4"):
        flow.start(params, odd, FEATURES)
    with pytest.raises(ValueError, match=r"must be \[b, y, x, 1\], got \(2, 8, 8, 2\)"):
        flow.encode(params, jnp.zeros((2, 8, 8, 2)), FEATURES)
    with pytest.raises(ValueError, match=r"must be \[2, y, x, 3\]"):
        flow.encode(params, TARGET, FEATURES[..., :2])
    with pytest.raises(ValueError, match="must divide each other"):
        flow.encode(params, TARGET, FEATURES[:, :3])
    latents, _ = encode(params, TARGET, FEATURES)
    with pytest.raises(ValueError, match="latents of this flow have the shapes"):
        flow.decode(params, latents[:1], FEATURES)
    with pytest.raises(ValueError, match="at least 1"):
        flow.init(KEY, condition=0)


def test_features_on_other_pixels():
    pixels = np.arange(24.0).reshape(1, 4, 6, 1)
    twice = flow_inputs.resized(pixels, 8, 12)
    np.testing.assert_array_equal(twice[0, ..., 0], np.kron(pixels[0, ..., 0], np.ones((2, 2))))
    np.testing.assert_array_equal(flow_inputs.resized(jnp.asarray(twice), 4, 6), pixels)
    half = flow_inputs.resized(jnp.asarray(pixels), 2, 3)
    np.testing.assert_allclose(half[0, 0, 0, 0], np.mean([0, 1, 6, 7]))


def test_counts_come_back():
    few = np.float32(RNG.gamma(1.0, 3.0, (2, 7, 8, 1)))
    target, log_det = flow_inputs.stabilised(few)
    np.testing.assert_allclose(flow_inputs.unstabilised(target), few, rtol=1e-5, atol=1e-5)
    for i in (0, 1):
        slopes = log_abs_det(lambda v: flow_inputs.stabilised(v)[0], few[i : i + 1])
        np.testing.assert_allclose(log_det[i], slopes, rtol=1e-5)
    assert flow_inputs.unstabilised(jnp.zeros(1))[0] == 0


def test_noise_of_poisson_counts_is_made_equal():
    # Poisson and rounding noise: about 1 + 1 / (12 mean) in variance.
    for mean in (10.0, 100.0):
        counts = RNG.poisson(mean, (1, 300, 300, 1)) + RNG.uniform(0, 1, (1, 300, 300, 1))
        target, _ = flow_inputs.stabilised(jnp.float32(counts))
        np.testing.assert_allclose(np.std(target), 1.0, atol=0.03)


def test_features_of_an_rrdb_are_what_its_head_is_given():
    network = RRDB(4, 1, 1, in_channels=2)
    inputs = RNG.uniform(0, 1, (2, 8, 8, 2)).astype(np.float32)
    weights = models.init(KEY, network, 2)
    own = functools.partial(flow_inputs.rrdb_answer, network)
    said, features = jax.jit(own, compiler_options=ONCE)(weights, inputs)
    assert features.shape == (2, 8, 8, 4)
    head = nn.Conv(1, (3, 3)).apply({"params": weights["conv_last"]}, features)
    expected = jax.jit(network.apply, compiler_options=ONCE)({"params": weights}, inputs)
    np.testing.assert_allclose(clamp(head + inputs[..., :1]), expected, atol=1e-6)
    np.testing.assert_allclose(said, expected, atol=1e-6)
