import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.astro_unet.config import UNetConfig
from xmm_jax.astro_unet.images import training_batches
from xmm_jax.astro_unet.line import expose, figures, learn, make_loss
from xmm_jax.errors import InputError


@pytest.fixture(scope="module")
def batch(config):
    return next(training_batches(config, "drawn", start_step=0))


def alone(function):
    """A function of one device, in a row of one."""
    return jax.vmap(function, (None, 0), axis_name="data")


def one_row(batch):
    return jax.tree.map(lambda value: jnp.asarray(value)[None], dict(batch))


def test_short_exposures_are_those_of_their_numbers(batch):
    given = {"seed": 0, "noise": "live"}
    pair = expose(batch, **given)
    again = expose(jax.tree.map(lambda value: value[::-1], batch), **given)
    assert np.array_equal(pair["short"], again["short"][::-1])
    other = expose(batch, seed=1, noise="live")
    assert not np.array_equal(pair["short"], other["short"])
    live = batch["valid"]
    assert np.array_equal(pair["target"], np.where(live, batch["target"], 0))
    truth = expose(batch, **given, target_kind="expected")["target"]
    assert np.array_equal(truth, np.where(live, batch["truth"], 0))


def test_published_noise_shares_its_zeros(batch):
    pair = expose(batch, seed=0, noise="published")
    assert float(pair["target"].min()) == 0.0
    assert np.all(np.asarray(pair["short"])[np.asarray(pair["target"]) == 0] == 0)


@pytest.mark.parametrize(
    ("loss", "network"),
    [
        ("l1", UNetConfig(filters=2)),
        pytest.param(
            "l2+kl+perceptual:0.1",
            UNetConfig(filters=2, ratio="none", bands=2, segmentation=True, form="residual"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_batch_is_learned(config, batch, loss, network):
    settings = dataclasses.replace(config, loss=loss, network=network)
    learner = learn(settings)
    state, update = learner.start(), jax.jit(alone(learner.update))
    losses = []
    for _ in range(12):
        state, out = update(state, one_row(batch))
        state = jax.tree.map(lambda leaf: leaf[0], state)
        losses.append(float(out["loss"][0]))
    assert losses[-1] < losses[0]
    assert int(state.step) == 12


def test_a_perfect_answer_has_perfect_figures(config, batch):
    pair = expose(batch, seed=0, noise="live")
    loss = make_loss(dataclasses.replace(config, loss="l1"))
    found = figures(pair["target"], pair, batch, loss=loss)
    assert np.allclose(found["loss"], 0)
    assert np.allclose(found["prediction/SSIM"], 1, atol=1e-5)
    assert np.all(found["prediction/PSNR"] > 79)
    assert np.all(found["prediction/PSNR"] > found["input/PSNR"])
    by_hand = np.abs(np.asarray(pair["short"]) - pair["target"]).mean((1, 2, 3))
    assert np.allclose(found["input/L1"], by_hand, rtol=1e-5)


def test_unknown_losses_are_refused(config):
    with pytest.raises(InputError, match="unknown"):
        make_loss(dataclasses.replace(config, loss="huber"))
    with pytest.raises(InputError, match=r"vgg\.npz"):
        make_loss(dataclasses.replace(config, loss="perceptual", vgg="vgg.npz"))
