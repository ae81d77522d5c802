"""A batch in parts gives the same update, and a step needs no memory for a second state."""

import functools

import jax
import numpy as np
import optax
import pytest
from test_parallel import pairs

from xmm_jax.config import NetworkConfig, OptimConfig
from xmm_jax.errors import InputError
from xmm_jax.losses.pixel import psnr
from xmm_jax.model import make_network
from xmm_jax.models import init
from xmm_jax.optim import make_optimiser
from xmm_jax.parallel import make_mesh, place_batch, place_state, spread
from xmm_jax.step import init_state, predict, respond, train_step

RATE = 0.1


@pytest.fixture(scope="module")
def fixed():
    network, scale = make_network("sr", NetworkConfig(size="tiny"))
    # Not linear in the examples, so that the mean must be one of losses, not of pixels.
    return {"network": network, "scale": scale, "loss": lambda p, t: -psnr(p, t)}


@pytest.fixture(scope="module")
def params(fixed):
    return init(jax.random.key(1), fixed["network"], 2)


def gradient(fixed, params, batch, parts):
    """Gradient that a step of plain SGD takes, what it reports, and memory for it [byte]."""
    optimiser = optax.sgd(RATE)
    step = functools.partial(train_step, axis_name=None, optimiser=optimiser, **fixed)
    before = init_state(params, optimiser)
    step = jax.jit(functools.partial(step, accumulate=parts)).lower(before, batch).compile()
    after, out = step(before, batch)
    slope = jax.tree.map(lambda a, b: (a - b) / RATE, params, after.params)
    return slope, out, step.memory_analysis().temp_size_in_bytes


def test_a_batch_in_parts_gives_the_same_update_with_less_memory(fixed, params):
    batch = pairs(6)
    batch["weight"] = np.array([1, 0, 0.5, 3, 0, 0], np.float32)  # one part of weight zero
    whole, out, memory = gradient(fixed, params, batch, 1)
    in_parts, out_parts, memory_parts = gradient(fixed, params, batch, 3)
    largest = max(float(abs(leaf).max()) for leaf in jax.tree.leaves(whole))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-6 * largest), in_parts, whole
    )
    for name in ("loss", "grad_norm"):
        assert float(out_parts[name]) == pytest.approx(float(out[name]), rel=1e-6)
    assert memory_parts < 0.6 * memory


def test_parts_of_unequal_size_are_refused(fixed, params):
    with pytest.raises(InputError, match="--accumulate=4 does not divide the 6 examples"):
        gradient(fixed, params, pairs(6), 4)


@pytest.mark.multidevice
@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_weights_averages_and_moments_are_written_where_they_were(fixed, params, kind):
    """All of the state is donated: a step with averaged weights holds each of them once."""
    mesh = make_mesh()
    optimiser = make_optimiser(OptimConfig(average=0.999, clip_norm=1.0), steps=10)
    state = place_state(init_state(params, optimiser), mesh)
    step = functools.partial(train_step, optimiser=optimiser, **fixed)
    step = spread(step, mesh, kind=kind, donate=True)
    batch = place_batch(pairs(jax.device_count()), mesh, kind=kind)
    memory = step.lower(state, batch).compile().memory_analysis()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert size > 4 * sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert memory.alias_size_in_bytes == size


@pytest.mark.parametrize("task", [pytest.param("sr", marks=pytest.mark.slow), "dn"])
def test_the_symmetric_answer_turns_with_the_image(task):
    """Mirror the input: the answer of the plain network changes, that of the mean is mirrored."""
    kind = NetworkConfig(size="tiny", stretch="counts", unshuffle=2, spread=True)
    network, scale = make_network(task, kind)
    params = init(jax.random.key(1), network, 2)
    counts = np.random.default_rng(0).poisson(1.0, (1, 16, 20, 1))
    exposure = np.full(counts.shape, 2e4, np.float32)
    batch = {"counts": counts, "exposure": exposure, "valid": exposure > 0}
    plain, mean_of = (
        jax.jit(functools.partial(respond, network, scale, params, symmetric=symmetric))
        for symmetric in (False, True)
    )
    mean = mean_of(batch)
    for axes in ((1,), (2,), (1, 2)):
        mirrored = batch | {"counts": np.flip(counts, axes)}
        np.testing.assert_allclose(np.flip(mean_of(mirrored), axes), mean, rtol=1e-4, atol=1e-5)
        assert np.abs(np.flip(plain(mirrored), axes) - plain(batch)).max() > 1e-3
    rate = predict(network, scale, params, batch, symmetric=True)
    s = scale.upscale
    np.testing.assert_allclose(rate, mean[..., :1] ** 2 / (s**2 * 2e4), rtol=1e-4)
