"""What a run learns does not depend on how many devices share its batches.

That it does not depend on the threads that read the records or on where it was interrupted, and
that a stream gives what records hold, is shown in data/test_pipeline.py and test_fields.py; that
fresh processes give the same bits, in e2e/test_crashes.py.
"""

import functools

import jax
import numpy as np
import optax
import pytest
from test_parallel import on_eight_devices, pairs

from xmm_jax.config import NetworkConfig
from xmm_jax.losses import combine
from xmm_jax.model import make_network
from xmm_jax.models import init
from xmm_jax.parallel import make_mesh, place_batch, place_state, spread
from xmm_jax.step import init_state, train_step

pytestmark = pytest.mark.multidevice


def learn(devices, steps=20):
    """Weights after some steps of plain gradient descent: Adam would hide a factor."""
    network, scale = make_network("sr", NetworkConfig(size="tiny"))
    # At ten times the rate weights move by 0.3 in 20 steps, and rounding grows a thousandfold. No
    # l1: rounding decides the sign of its slope where prediction and target meet.
    optimiser = optax.sgd(0.001)
    loss = combine({"psnr": 1.0, "ssim": 1.0}, stretch="sqrt")
    fixed = {"loss": loss, "optimiser": optimiser}
    step = functools.partial(train_step, network=network, scale=scale, **fixed)
    mesh = make_mesh(devices)
    step = spread(step, mesh, kind="pmap")
    first = init_state(init(jax.random.key(1), network, 2), optimiser)
    state, examples = place_state(first, mesh), pairs(24)
    for number in range(steps):
        rows = np.arange(8 * number, 8 * number + 8) % 24
        batch = {name: value[rows] for name, value in examples.items()}
        state, _ = step(state, place_batch(batch, mesh, kind="pmap"))
    return jax.device_get(state.params), jax.device_get(first.params)


@pytest.mark.slow
def test_any_number_of_devices_learns_the_same():
    alone, before = learn(1)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), alone, before)
    assert max(jax.tree.leaves(moved)) > 1e-3  # so that 1e-6 says something
    for devices in (2, 4, 8):
        if devices <= jax.device_count():
            found, _ = learn(devices)
            same = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6)
            jax.tree.map(same, found, alone)


@pytest.mark.slow
def test_eight_devices_too():
    on_eight_devices(__file__, test_any_number_of_devices_learns_the_same)
