"""The flow about an RRDB: as other networks are used, its density, its inverse, its samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from xmm_jax import models
from xmm_jax.models import flow
from xmm_jax.models.flow_layers import squeeze_inverse
from xmm_jax.models.srflow import FARTHEST, SRFlow, latents_of

KEY = jax.random.key(3)
OWN = {"unshuffle": 2, "levels": 2, "steps": 1, "width": 8, "noise": 0.05, "grain": 0.1}
RNG = np.random.default_rng(0)


def network_for(upscale):
    return models.build("flow", size="tiny", filters=4, blocks=1, upscale=upscale, **OWN)


def inputs_of(*shape):
    counts = RNG.poisson(1.0, (*shape, 1))
    return np.concatenate([np.sqrt(counts), np.full((*shape, 1), 0.58)], -1).astype(np.float32)


@pytest.fixture(scope="module")
def drawn():
    """A network for each task, no layer of which is without effect."""
    found = {}
    for upscale in (1, 2):
        network = network_for(upscale)
        params = models.init(KEY, network, 2)
        rng = np.random.default_rng(1)
        own = jax.tree.map(
            lambda p, rng=rng: p + np.float32(0.1) * rng.standard_normal(p.shape, np.float32),
            params["flow"],
        )
        found[upscale] = network, params | {"flow": own}
    return found


def test_a_description_makes_the_same_network():
    network = network_for(2)
    about = models.describe(network)
    assert about == {"name": "flow", "filters": 4, "blocks": 1} | OWN
    assert SRFlow(**{k: v for k, v in about.items() if k != "name"}, upscale=2) == network
    assert hash(network) == hash(network_for(2))


@pytest.mark.parametrize("upscale", [1, 2])
def test_the_density_is_that_of_the_latents_by_autodiff(drawn, upscale):
    network, params = drawn[upscale]
    side = 8 // upscale
    inputs = inputs_of(1, side, side)
    counts = RNG.gamma(1.0, 1.0, (1, 8, 8, 1)).astype(np.float32)

    def latents(flat):
        standard, _, condition = network._standard(params, flat.reshape(counts.shape), inputs)
        found = flow.encode(params["flow"], standard, condition)[0]
        return jnp.concatenate([z.ravel() for z in found])

    flat = counts.ravel()
    jacobian = np.asarray(jax.jit(jax.jacfwd(latents))(flat), np.float64)
    expected = stats.norm.logpdf(np.asarray(jax.jit(latents)(flat))).sum()
    expected += np.linalg.slogdet(jacobian)[1]
    found = jax.jit(network.log_likelihood)(params, counts, inputs)
    assert float(found[0]) == pytest.approx(expected, rel=1e-4)


def test_drawing_undoes_encoding(drawn):
    network, params = drawn[2]
    inputs = inputs_of(2, 8, 12)
    counts = RNG.gamma(2.0, 1.0, (2, 16, 24, 1)).astype(np.float32)

    @jax.jit
    def latents(counts):
        standard, _, condition = network._standard(params, counts, inputs)
        return flow.encode(params["flow"], standard, condition)[0]

    first, last = latents(counts)
    # As an image: the last level back to the pixels of the first, and both to those of the image.
    whole = squeeze_inverse(jnp.concatenate([squeeze_inverse(last), first], axis=-1))
    np.testing.assert_array_equal(latents_of(whole, 2)[0], first)
    image = jax.jit(network.draw)(params, inputs, whole)
    standard = network._standard(params, counts, inputs)[0]
    near = np.abs(standard) < FARTHEST
    assert near.mean() > 0.1
    np.testing.assert_allclose(np.square(image)[near], counts[near], rtol=1e-2, atol=1e-2)
    # What is farther away than that is not drawn.
    assert np.all(np.square(image)[~near] < counts[~near])


def test_latents_hold_every_number_of_the_noise_once():
    noise = jnp.arange(64.0).reshape(1, 8, 8, 1)
    latents = latents_of(noise, 3)
    assert [z.shape for z in latents] == [(1, 4, 4, 2), (1, 2, 2, 4), (1, 1, 1, 16)]
    held = np.sort(np.concatenate([np.ravel(z) for z in latents]))
    np.testing.assert_array_equal(held, np.arange(64.0))


def test_temperature_0_is_the_answer_and_others_are_not(drawn):
    network, params = drawn[2]
    inputs = inputs_of(1, 9, 11)  # no multiple of anything
    answer = models.apply(network, params, inputs)
    assert answer.shape == (1, 18, 22, 1)
    sample = jax.jit(network.sample)
    np.testing.assert_allclose(sample(KEY, params, inputs, 0.0), answer, atol=1e-4)
    hot, other = (sample(jax.random.key(k), params, inputs, 0.9) for k in (0, 1))
    assert np.abs(hot - other).max() > 0.05


def test_a_new_flow_gives_the_image_of_its_rrdb():
    """The scale is that of the RRDB: rates of both are equal."""
    network = network_for(2)
    params = models.init(KEY, network, 2)
    inputs = inputs_of(1, 8, 8)
    image = network.trunk.apply({"params": params["features"]}, inputs)[..., :1]
    np.testing.assert_allclose(models.apply(network, params, inputs), image, atol=1e-3)


def test_an_answer_reaches_no_farther_than_it_says(drawn):
    network, params = drawn[2]
    reach = network.reach
    inputs = inputs_of(1, 4, 2 * reach + 32)
    other = inputs.copy()
    other[0, :, 0] = 3.0
    one, two = (jax.jit(lambda x: models.apply(network, params, x))(x) for x in (inputs, other))
    changed = np.flatnonzero(np.abs(np.asarray(one - two)).max((0, 1, 3)) > 0)
    assert 4 < changed.max() < 2 * (reach + 1)


def test_what_the_rrdb_says_of_dead_pixels_is_not_listened_to(drawn):
    network, params = drawn[2]
    inputs = inputs_of(1, 8, 8)
    inputs[:, 3] = 0.0
    counts = np.full((1, 16, 16, 1), 1.0, np.float32)
    counts[:, 6:8] = 0.0
    standard = np.asarray(network._standard(params, counts, inputs)[0])
    np.testing.assert_allclose(standard[:, 6:8], 0.0, atol=1e-4)
    assert np.abs(standard[:, 8:]).min() > 0
