"""pmap and shard_map: the same bits, the gradient of one device, unequal weights averaged right."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xmm_jax.config import NetworkConfig
from xmm_jax.errors import InputError
from xmm_jax.losses import combine
from xmm_jax.model import make_network
from xmm_jax.models import init
from xmm_jax.parallel import make_mesh, place_batch, place_state, spread
from xmm_jax.step import init_state, train_step

pytestmark = pytest.mark.multidevice


def pairs(count, side=24, upscale=2):
    """Fields with a gradient and a source, asymmetric, with dead pixels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    rate = 1e-4 * (1 + x / side + 3 * np.exp(-((x - 5) ** 2 + (y - 15) ** 2) / 20.0))
    fine = rate.repeat(upscale, 0).repeat(upscale, 1) / upscale**2
    valid = np.ones((count, side, side, 1), bool)
    valid[:, 3, :, :] = False
    fine_valid = valid.repeat(upscale, 1).repeat(upscale, 2)
    shape = (count, 1, 1, 1)
    brightness = rng.uniform(1, 10, shape)
    return {
        "counts": rng.poisson(brightness * rate[None, ..., None] * 2e4).astype(np.int32),
        "exposure": np.where(valid, np.float32(2e4), np.float32(0)),
        "valid": valid,
        "target": (brightness * fine[None, ..., None] * 1e5).astype(np.float32),
        "target_exposure": np.where(fine_valid, np.float32(1e5), np.float32(0)),
        "target_valid": fine_valid,
        "weight": np.ones(count, np.float32),
    }


@pytest.fixture(scope="module")
def setting():
    network, scale = make_network("sr", NetworkConfig(size="tiny"))
    params = init(jax.random.key(1), network, 2)
    optimiser = optax.sgd(0.1)  # not Adam: it would hide a factor in the gradient
    fixed = {
        "network": network,
        "scale": scale,
        "loss": combine({"psnr": 1.0, "ssim": 1.0}, stretch="sqrt"),
        "optimiser": optimiser,
    }
    return fixed, init_state(params, optimiser)


def run(setting, kind, batch, steps):
    fixed, state = setting
    mesh = make_mesh()
    step = spread(functools.partial(train_step, **fixed), mesh, kind=kind)
    state = place_state(state, mesh)
    for _ in range(steps):
        state, out = step(state, place_batch(batch, mesh, kind=kind))
    return jax.device_get(state.params), {k: float(v) for k, v in out.items()}


def test_both_ways_give_the_same_bits_and_the_gradient_of_one_device(setting):
    batch = pairs(jax.device_count() * 2)
    batch["weight"][-1] = 0.0  # one device holds less weight than the others
    by_pmap, out = run(setting, "pmap", batch, 5)
    by_shard_map, _ = run(setting, "shard_map", batch, 5)
    jax.tree.map(np.testing.assert_array_equal, by_pmap, by_shard_map)

    fixed, state = setting
    alone = jax.jit(functools.partial(train_step, axis_name=None, **fixed))
    once, first = alone(state, batch)
    gradient = jax.tree.map(lambda a, b: (a - b) / 0.1, state.params, once.params)
    spread_once, first_spread = run(setting, "shard_map", batch, 1)
    spread_gradient = jax.tree.map(lambda a, b: (a - b) / 0.1, state.params, spread_once)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-6), spread_gradient, gradient
    )
    assert first_spread["grad_norm"] == pytest.approx(float(first["grad_norm"]), rel=1e-5)
    assert first_spread["loss"] == pytest.approx(float(first["loss"]), rel=1e-5)
    assert out["loss"] < first_spread["loss"]


def test_an_example_of_weight_zero_and_dead_pixels_change_nothing(setting):
    fixed, state = setting
    step = jax.jit(functools.partial(train_step, axis_name=None, **fixed))
    batch = pairs(3)
    batch["weight"][1] = 0.0
    _, before = step(state, batch)
    batch["counts"][1] += 7
    batch["target"][1] += 1e4
    dead = np.broadcast_to(~batch["target_valid"], batch["target"].shape)
    batch["target"] = np.where(dead, np.float32(1e9), batch["target"])
    batch["counts"] = np.where(batch["valid"], batch["counts"], 10**6).astype(np.int32)
    _, after = step(state, batch)
    assert float(after["loss"]) == float(before["loss"])
    assert float(after["grad_norm"]) == float(before["grad_norm"])


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_a_batch_that_cannot_be_split_is_refused(kind):
    with pytest.raises(InputError, match=f"multiple of {jax.device_count()}"):
        place_batch({"weight": np.ones(6, np.float32)}, make_mesh(), kind=kind)


def on_eight_devices(file, test):
    """Run a test, slow or not, once more in a session that has eight virtual devices."""
    name = f"{Path(file).name}::{test.__name__}"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", name],
        cwd=Path(file).parent,
        env=os.environ | {"XMM_JAX_TEST_DEVICES": "8"},
        check=True,
    )


@pytest.mark.slow
def test_the_same_on_eight_devices():
    test = test_both_ways_give_the_same_bits_and_the_gradient_of_one_device
    on_eight_devices(__file__, test)


def test_means_do_not_depend_on_how_examples_fall_on_devices(setting):
    batch = pairs(8)
    order = np.array([5, 2, 7, 0, 3, 6, 1, 4])
    shuffled = {name: value[order] for name, value in batch.items()}
    _, straight = run(setting, "pmap", batch, 1)
    _, mixed = run(setting, "pmap", shuffled, 1)
    assert mixed["loss"] == pytest.approx(straight["loss"], rel=1e-6)
    assert jnp.isfinite(mixed["grad_norm"])
