"""Two networks that learn against each other: one update, many, many devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_parallel import pairs
from updates import steps

from xmm_jax.adversarial_config import AdversarialConfig, AdversarialSettings
from xmm_jax.config import NetworkConfig, OptimConfig
from xmm_jax.errors import InputError
from xmm_jax.learners.adversarial import feature_loss, learn, make_extractor, make_parts
from xmm_jax.learners.image import learn as learn_image
from xmm_jax.parallel import make_mesh, place_batch, place_state, spread

NETWORK = NetworkConfig(size="tiny", filters=4, target_clip_rate=5.584e-4)
SETTINGS = AdversarialSettings(filters=4, halvings=2, learning_rate=3e-3, weight=0.1)
CONFIG = AdversarialConfig(
    init_from="unused",
    crop=16,
    loss="l1",
    network=NETWORK,
    optim=OptimConfig(learning_rate=1e-3),
    adversarial=SETTINGS,
)


def changed(**settings):
    return dataclasses.replace(CONFIG, adversarial=dataclasses.replace(SETTINGS, **settings))


@pytest.fixture(scope="module")
def batch():
    return pairs(4, side=16)


@pytest.mark.slow
def test_without_its_weight_the_generator_learns_as_without_a_discriminator(batch):
    adversarial = learn(changed(weight=0.0, feature_weight=0.0))
    plain = learn_image(CONFIG)
    found, rows = steps(adversarial, 3, batch=batch)
    expected, plain_rows = steps(plain, 3, batch=batch)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-6), found.params, expected.params
    )
    assert [row["loss"] for row in rows] == pytest.approx(
        [row["loss"] for row in plain_rows], rel=1e-5
    )
    assert int(found.step) == 3


@pytest.mark.slow
def test_the_discriminator_learns_what_a_still_generator_makes(batch):
    config = changed(pixel_weight=0.5, feature_weight=2.0)
    config = dataclasses.replace(config, optim=OptimConfig(learning_rate=1e-12))
    state, rows = steps(learn(config), 40, batch=batch)
    for row in rows:
        parts = 0.5 * row["pixel"] + 2 * row["feature"] + 0.1 * row["adversarial"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
    assert rows[-1]["discriminator_loss"] < 0.3 * rows[0]["discriminator_loss"]
    assert rows[-1]["accuracy"] == 1.0
    means = [leaf for leaf in jax.tree.leaves(state.statistics) if abs(leaf).max() > 0]
    assert means  # running statistics have been taken along


@pytest.mark.parametrize("kind", ["relativistic", pytest.param("plain", marks=pytest.mark.slow)])
def test_the_generator_learns_to_deceive_a_still_discriminator(batch, kind):
    config = changed(kind=kind, learning_rate=1e-12, pixel_weight=0.0, feature_weight=0.0)
    _, rows = steps(learn(config), 30, batch=batch)
    assert rows[-1]["adversarial"] < rows[0]["adversarial"] - 0.05
    assert rows[-1]["discriminator_loss"] > rows[0]["discriminator_loss"]


@pytest.mark.slow
@pytest.mark.multidevice
def test_four_devices_do_what_one_does(batch):
    """Means of the relativistic loss and of batch normalisation reach over all devices."""
    learner = learn(CONFIG)
    one, rows = steps(learner, 2, batch=batch)
    by_pmap, spread_rows = steps(learner, 2, batch=batch, devices=4)
    by_shard_map, _ = steps(learner, 2, batch=batch, devices=4, kind="shard_map")
    jax.tree.map(np.testing.assert_array_equal, by_pmap, by_shard_map)
    for name, value in rows[0].items():
        assert spread_rows[0][name] == pytest.approx(value, rel=1e-4), name
    close = functools.partial(np.testing.assert_allclose, atol=1e-4)
    jax.tree.map(close, by_pmap.params, one.params)
    jax.tree.map(close, by_pmap.statistics, one.statistics)


@pytest.mark.slow
def test_padding_changes_nothing(batch):
    """Batch normalisation sees the padding, so only what has none is compared: features, pixels."""
    padded = {name: np.concatenate([value, value[:2]]) for name, value in batch.items()}
    padded["weight"][4:] = 0
    (whole,) = steps(learn(CONFIG), 1, batch=batch)[1]
    (filled,) = steps(learn(CONFIG), 1, batch=padded)[1]
    for name in ("pixel", "feature"):
        assert filled[name] == pytest.approx(whole[name], rel=1e-5)


def test_noise_is_that_of_the_step(batch):
    """The same step sees the same noise, another step other noise: a run resumes bit for bit."""
    learner = learn(changed(noise=0.5))
    whole, rows = steps(learner, 3, batch=batch)
    half, _ = steps(learner, 1, batch=batch)
    resumed, last = steps(learner, 2, batch=batch, state=half)
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    assert rows[1:] == last
    _, silent = steps(learn(CONFIG), 1, batch=batch)
    assert silent[0]["discriminator_loss"] != rows[0]["discriminator_loss"]


def test_any_extractor_will_do(batch):
    """Features of one's own, here the image itself: their difference is that of clipped rates."""
    parts = make_parts(CONFIG, lambda image: (image,))
    outputs = jnp.full(batch["target"].shape, 0.5)
    found = feature_loss(parts, outputs, batch)
    clip, live = NETWORK.target_clip_rate, batch["target_valid"]
    truth = np.where(live, batch["target"] / np.maximum(batch["target_exposure"], 1), 0)
    seen = np.where(live, 0.25 * clip, 0.0)  # sqrt: 0.5 is a quarter of the clip rate
    np.testing.assert_allclose(found, np.mean(((seen - truth) / clip) ** 2, (1, 2, 3)), 1e-5)


def test_the_extractor_is_the_same_in_every_run():
    image = jax.random.uniform(jax.random.key(0), (1, 16, 16, 1))
    for a, b in zip(make_extractor("")(image), make_extractor("")(image), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_validates_is_the_generator(batch):
    learner = learn(CONFIG)
    state = learner.start()
    mesh = make_mesh(1)
    evaluate = spread(learner.evaluate, mesh, kind="pmap")
    weights = place_state(learner.weights(state), mesh)
    found = evaluate(weights, place_batch(batch, mesh, kind="pmap"))
    assert {"loss", "feature", "prediction/PSNR", "input/PSNR", "weight"} <= set(found)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"init_from": ""}, "--init_from"),
        ({"accumulate": 2}, "--accumulate"),
        ({"crop": 17}, "multiples of 4"),
        ({"crop": 0}, "--crop"),
        ({"adversarial": dataclasses.replace(SETTINGS, weight=-1.0)}, "negative"),
        ({"adversarial": dataclasses.replace(SETTINGS, halvings=0)}, "at least 1"),
        ({"adversarial": dataclasses.replace(SETTINGS, learning_rate=0.0)}, "learning_rate"),
        ({"adversarial": dataclasses.replace(SETTINGS, vgg="nowhere.npz")}, "nowhere.npz"),
    ],
)
def test_settings_that_do_not_work_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        learn(dataclasses.replace(CONFIG, **wrong))
