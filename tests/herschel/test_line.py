import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from xmm_jax.config import OptimConfig
from xmm_jax.errors import InputError
from xmm_jax.herschel.config import GalaxyGANConfig, check, parse
from xmm_jax.herschel.images import training_batches
from xmm_jax.herschel.line import figures, learn
from xmm_jax.herschel.model import (
    HIGH_MJY,
    LOW_MJY,
    HerschelModel,
    to_inputs,
    to_map,
    to_mjy,
)


@pytest.fixture(scope="module")
def batch(config):
    return next(training_batches(config, "drawn", start_step=0))


def rows(batch, number):
    """A batch cut into as many parts as there are devices."""
    return jax.tree.map(lambda v: jnp.asarray(v).reshape(number, -1, *v.shape[1:]), dict(batch))


def updated(learner, state, batch, number=1):
    update = jax.jit(jax.vmap(learner.update, (None, 0), axis_name="data"))
    return update(state, rows(batch, number))


def evaluated(learner, state, batch):
    evaluate = jax.vmap(learner.evaluate, (None, 0), axis_name="data")
    return jax.tree.map(lambda leaf: leaf[0], evaluate(learner.weights(state), rows(batch, 1)))


def test_a_batch_is_learned(config, batch):
    learner = learn(dataclasses.replace(config, optim=OptimConfig(learning_rate=1e-2)))
    state, losses = learner.start(), []
    for _ in range(15):
        state, out = updated(learner, state, batch)
        state = jax.tree.map(lambda leaf: leaf[0], state)
        losses.append(float(out["loss"][0]))
    assert losses[-1] < 0.8 * losses[0]
    assert int(state.step) == 15


@pytest.mark.parametrize("number", [2, 4])
def test_devices_share_the_statistics_of_a_batch(config, batch, number):
    """Parts on several devices give what the whole batch gives on one."""
    learner = learn(config)
    state = learner.start()
    (one, out), (several, outs) = (updated(learner, state, batch, n) for n in (1, number))
    assert float(outs["loss"][0]) == pytest.approx(float(out["loss"][0]), rel=1e-5)
    assert float(outs["grad_norm"][0]) == pytest.approx(float(out["grad_norm"][0]), rel=1e-3)
    for a, b in zip(*(jax.tree.leaves(s.statistics) for s in (one, several)), strict=True):
        assert np.allclose(a[0], b[0], rtol=1e-4, atol=1e-6)
        assert np.array_equal(b[0], b[-1])


def test_statistics_follow_the_images(config, batch):
    learner = learn(config)
    state = learner.start()
    after = updated(learner, state, batch)[0].statistics
    changed = [
        not np.array_equal(a, b[0])
        for a, b in zip(jax.tree.leaves(state.statistics), jax.tree.leaves(after), strict=True)
    ]
    assert all(changed)


@pytest.mark.slow
def test_evaluation_knows_no_batch(config, batch):
    """Figures of four images together are the sums of those of each alone."""
    learner = learn(dataclasses.replace(config, network=GalaxyGANConfig(2, 2, dropout=0.5)))
    state = learner.start()
    together = evaluated(learner, state, batch)
    alone = [
        evaluated(learner, state, jax.tree.map(lambda v, i=i: v[i : i + 1], dict(batch)))
        for i in range(4)
    ]
    for name, value in together.items():
        assert float(value) == pytest.approx(sum(float(one[name]) for one in alone), rel=1e-4)


def test_dropout_differs_by_step(config, batch):
    learner = learn(dataclasses.replace(config, network=GalaxyGANConfig(2, 2, dropout=0.5)))
    state = learner.start()
    losses = [
        float(updated(learner, state._replace(step=jnp.int32(step)), batch)[1]["loss"][0])
        for step in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_dead_pixels_do_not_matter(config, batch):
    learner, dead = learn(config), np.zeros_like(batch["valid"])
    dead[:, :5] = True
    known = dict(batch) | {"valid": ~dead}
    changed = known | {"target": np.where(dead, 50.0, batch["target"]).astype(np.float32)}
    state = learner.start()
    one, other = (evaluated(learner, state, some) for some in (known, changed))
    assert all(float(one[name]) == float(other[name]) for name in one)


def test_figures_are_those_of_numpy(batch):
    rng = np.random.default_rng(0)
    prediction = batch["target"] + rng.normal(size=batch["target"].shape).astype(np.float32)
    found = figures(jnp.asarray(prediction), batch)
    for i, (image, target) in enumerate(zip(prediction, batch["target"], strict=True)):
        assert found["prediction/RMS"][i] == pytest.approx(
            np.sqrt(np.mean((image - target) ** 2)), rel=1e-4
        )
        by_hand = np.corrcoef(image.ravel(), target.ravel())[0, 1]
        assert found["prediction/correlation"][i] == pytest.approx(by_hand, rel=1e-3)


def test_network_units():
    ends = to_mjy(jnp.array([0.0, 1.0]))
    assert np.allclose(ends, (LOW_MJY, HIGH_MJY), rtol=1e-5)
    between = np.asarray(to_mjy(jnp.linspace(0, 1, 11)))
    assert np.all(np.diff(between) > 0)
    assert np.diff(between)[0] < 0.2 * np.diff(between)[-1]  # faint fluxes get most of the range
    assert float(to_inputs(jnp.array(20.0))) == pytest.approx(np.arcsinh(1.0))


def test_blurred_outputs():
    network = GalaxyGANConfig(blur_arcsec=5.6)
    outputs = np.random.default_rng(0).uniform(0.1, 0.4, (2, 24, 32, 1)).astype(np.float32)
    plain, blurred = (to_map(jnp.asarray(outputs), n) for n in (GalaxyGANConfig(), network))
    assert np.array_equal(plain, to_mjy(jnp.asarray(outputs)))
    sigma = 5.6 / 2.0 / np.sqrt(8 * np.log(2))
    wanted = ndimage.gaussian_filter(np.asarray(plain), (0, sigma, sigma, 0), mode="nearest")
    assert np.allclose(blurred, wanted, atol=0.02 * np.ptp(plain) * 0.01)
    grid = jnp.asarray(np.indices((1, 24, 32, 1)).sum(0) % 2 * 0.1 + 0.2)  # a chessboard
    inner = np.s_[:, 6:-6, 6:-6]  # beyond the border there are no neighbours of the other colour
    assert np.ptp(to_map(grid, network)[inner]) < 0.01 * np.ptp(to_map(grid, GalaxyGANConfig()))


def test_large_maps_are_answered_in_windows(config):
    state = learn(config).start()
    model = HerschelModel("m", config, state.params, state.statistics, 0)
    bands = np.random.default_rng(1).normal(0, 6, (100, 70, 3)).astype(np.float32)
    whole = model.super_resolve(bands)
    assert whole.shape == (100, 70)
    padded = np.pad(bands, ((64, 64), (64, 64), (0, 0)))  # a band has mean 0
    y, x = 37, 5
    answers = [
        model.super_resolve(padded[64 + top : 128 + top, 64 + left : 128 + left])[y - top, x - left]
        for top in range(-16, y + 1, 16)
        for left in range(-48, x + 1, 16)
        if y - top < 64 and x - left < 64
    ]
    assert len(answers) == 16
    assert whole[y, x] == pytest.approx(np.mean(answers), rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--crop=96"], "multiple of 64"),
        (["--network.depth=9"], "2 to 8"),
        (["--network.dropout=1.0"], "below 1"),
        (["--network.blur_arcsec=8.0"], "the beam at 450 um"),
        (["--data=drawn,maps"], "--alternate"),
        (["--alternate"], "--alternate"),
        (["--accumulate=2"], "--accumulate"),
        (["--side=128", "--crop=256"], "does not fit"),
        (["--fields=0"], "--fields"),
    ],
)
def test_impossible_settings_are_refused(flags, text):
    with pytest.raises(InputError, match=text):
        parse(["--task=herschel", "--preset=tiny", *flags])


def test_unknown_losses_are_refused(config):
    check(config)
    with pytest.raises(InputError, match="l3"):
        learn(dataclasses.replace(config, loss="l3"))


def test_presets():
    assert parse(["--task=herschel", "--preset=paper"]).network == GalaxyGANConfig(64, 8, 0.5)
    assert parse(["--task=herschel", "--preset=tiny"]).optim.beta1 == 0.5
