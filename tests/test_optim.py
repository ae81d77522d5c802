"""Optimiser: Adam by hand, the schedule, averaged weights."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xmm_jax.config import OptimConfig
from xmm_jax.optim import averaged_params, learning_rate_schedule, make_optimiser


def run(config, gradients, start):
    optimiser = make_optimiser(config, steps=len(gradients))
    params = {"w": jnp.asarray(start, jnp.float32)}
    state = optimiser.init(params)
    path = []
    for gradient in gradients:
        updates, state = optimiser.update({"w": jnp.float32(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
        path.append(float(params["w"]))
    return path, params, state


def test_default_is_adam_of_kingma_and_ba():
    gradients = [0.3, -1.0, 2.0, 0.1]
    path, _, _ = run(OptimConfig(learning_rate=0.01), gradients, 1.0)
    w, m, v, expected = 1.0, 0.0, 0.0, []
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        expected.append(w)
    np.testing.assert_allclose(path, expected, rtol=1e-6)


def test_averaged_weights_follow_the_warmed_up_decay():
    path, params, state = run(OptimConfig(learning_rate=0.1, average=0.9), [1.0, -2.0, 0.5], 1.0)
    mean = 1.0
    for t, w in enumerate(path):
        keep = min(0.9, (1 + t) / (10 + t))
        mean = keep * mean + (1 - keep) * w
    assert float(averaged_params(params, state)["w"]) == pytest.approx(mean, rel=1e-6)


def test_without_averaging_the_weights_themselves_are_used():
    _, params, state = run(OptimConfig(), [1.0], 1.0)
    assert averaged_params(params, state) is params


def test_schedule_warms_up_and_falls_to_zero():
    config = OptimConfig(learning_rate=1.0, schedule="cosine", warmup_steps=4)
    rate = learning_rate_schedule(config, steps=14)
    assert float(rate(0)) == pytest.approx(0.25)
    assert float(rate(4)) == pytest.approx(1.0)
    assert float(rate(9)) == pytest.approx(0.5)
    assert float(rate(14)) == pytest.approx(0.0, abs=1e-7)
    assert float(learning_rate_schedule(OptimConfig(), steps=5)(3)) == pytest.approx(1e-4)


def test_gradients_are_clipped_by_their_norm():
    clipped, _, _ = run(OptimConfig(learning_rate=0.1, clip_norm=1.0), [100.0, 0.5, -3.0], 0.0)
    by_hand, _, _ = run(OptimConfig(learning_rate=0.1), [1.0, 0.5, -1.0], 0.0)
    np.testing.assert_allclose(clipped, by_hand, rtol=1e-6)
