"""--preset=flow: likelihood rises, stopping changes nothing, devices share one update."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_records import write_small_records
from test_parallel import pairs
from updates import steps

import xmm_jax
from xmm_jax import train
from xmm_jax.config_file import differences, to_json
from xmm_jax.errors import InputError
from xmm_jax.flow_config import FlowConfig, FlowNetwork
from xmm_jax.learners.flow import learn, noisy_pair, numbered
from xmm_jax.log import read_metrics
from xmm_jax.model import make_network
from xmm_jax.parallel import make_mesh, place_batch, spread
from xmm_jax.presets import PRESETS, parse, read_config

NET = ("--network.filters=4", "--network.blocks=1", "--network.steps=1", "--network.width=8")
FLAGS = (
    *("--task=sr", "--preset=flow", "--init_from=", "--crop=24", "--batch_size=4", "--thin=0"),
    *("--optim.warmup_steps=1", "--optim.learning_rate=3e-3", "--optim.average=0.5"),
    *("--optim.schedule=constant", "--log_every=1", "--eval_every=10", *NET),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_small_records(tmp_path_factory.mktemp("records") / "sr")


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train.main([*FLAGS, f"--data={records}", f"--run={folder}", "--steps=20"])
    return folder


def of_split(run, split):
    return [row for row in read_metrics(run / "metrics.jsonl") if row["split"] == split]


def test_the_likelihood_rises(run):
    losses = [row["loss"] for row in of_split(run, "train")]
    # The first is that of the very weights whose actnorms were fitted to the batch.
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    validation = of_split(run, "validation")
    assert [row["step"] for row in validation] == [0, 10, 20]
    assert validation[-1]["loss"] < validation[1]["loss"] < validation[0]["loss"]


def test_stopped_and_resumed_is_the_same_to_the_last_bit(run, records, tmp_path, capsys):
    folder = tmp_path / "halves"
    flags = [*FLAGS, f"--data={records}", f"--run={folder}"]
    train.main([*flags, "--steps=10"])
    train.main([*flags, "--steps=20"])
    assert "going on from step 10" in capsys.readouterr().out
    ends = [path.joinpath("metrics.jsonl").read_text().splitlines() for path in (run, folder)]
    losses = [[json.loads(line)["loss"] for line in lines] for lines in ends]
    assert losses[0] == losses[1]
    weights = [jax.tree.leaves(xmm_jax.load_model(path).params) for path in (run, folder)]
    jax.tree.map(np.testing.assert_array_equal, *weights)


def test_the_rrdb_stays_as_it_is():
    """It states the width of the noise: learned, it would make the noise small, not the error."""
    learner = learn(parse([*FLAGS, "--crop=16", "--optim.weight_decay=0.1"]))
    state, _ = steps(learner, 2, batch=pairs(4, side=16))
    before, used = learner.start().params, learner.weights(state)
    jax.tree.map(np.testing.assert_array_equal, state.params["features"], before["features"])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3)  # of the average
    jax.tree.map(close, used["features"], before["features"])
    assert jax.tree.structure(used) == jax.tree.structure(state.params)
    apart = jax.tree.map(lambda a, b: float(abs(a - b).max()), used["flow"], state.params["flow"])
    assert max(jax.tree.leaves(apart)) > 0  # the average is used


@pytest.mark.slow
@pytest.mark.multidevice
def test_one_device_and_four_make_the_same_update():
    config = parse([*FLAGS, "--crop=16", "--optim.average=0"])
    learner = learn(config)
    batch, ends = pairs(4, side=16), []
    batch["weight"][-1] = 0.5
    for count, kind in ((1, "shard_map"), (4, "pmap")):
        state, rows = steps(learner, 2, batch=batch, devices=count, kind=kind)
        assert int(state.started) == 1
        ends.append((state.params, rows[-1]["loss"]))
    (one, loss), (four, again) = ends
    assert again == pytest.approx(loss, rel=1e-5)
    # Adam divides by the size of a gradient, however small, so that rounding is seen.
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-4), one, four)


def test_noise_is_about_the_target_and_of_the_width_asked_for():
    network, scale = make_network("sr", FlowNetwork(noise=0.5, grain=0.3))
    batch = pairs(2)
    mesh = make_mesh(1)
    key = jax.random.key(0)

    def step(_, batch):
        return noisy_pair(key, numbered(batch), network=network, scale=scale)

    _, counts, blur, gain = spread(step, mesh, kind="shard_map")(
        jnp.zeros(()), place_batch(batch, mesh, kind="shard_map")
    )
    live = batch["target_valid"]
    np.testing.assert_allclose(gain[live], 4 * 2e4 / 1e5, rtol=1e-5)
    np.testing.assert_array_equal(gain[~live], 1.0)
    distance = np.asarray(counts / gain) - np.where(live, batch["target"], 0)
    assert np.abs(distance).max() < 0.25 + 1e-4
    assert np.mean(distance) == pytest.approx(0.0, abs=0.01)
    assert np.std(distance) == pytest.approx(0.5 / np.sqrt(12), rel=0.05)
    assert np.abs(counts[0] - counts[1]).max() > 0.1
    assert np.std(blur) == pytest.approx(0.3, rel=0.05)
    assert np.mean(blur) == pytest.approx(0.0, abs=0.02)
    assert abs(np.corrcoef(np.ravel(blur), np.ravel(distance))[0, 1]) < 0.05


def test_weights_of_an_rrdb_become_the_condition(tmp_path):
    config = parse(["--task=sr", "--preset=flow"])
    learner = learn(config)
    state = learner.adopt(learner.start(), config.init_from)
    model = xmm_jax.load_model("sr")
    jax.tree.map(np.testing.assert_array_equal, state.params["features"], model.params)
    assert int(state.started) == 0
    small = learn(parse([*FLAGS, "--optim.average=0"]))
    with pytest.raises(InputError, match="give a flow, or an RRDB"):
        small.adopt(small.start(), "sr")


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--network.levels=0", "--network.levels must be at least 1"),
        ("--network.grain=0", "--network.noise=0 and --network.grain=0: .* one of them above 0"),
        ("--network.noise=2", "--network.noise=2 and .* give 0 to 1"),
        ("--simulated.target_kind=observed", "need --network.noise=1"),
        ("--crop=26", "must be multiples of 4"),
    ],
)
def test_impossible_settings_are_refused(flag, says):
    with pytest.raises(InputError, match=says):
        learn(parse(["--task=sr", "--preset=flow", "--network.levels=3", flag]))


def test_the_settings_of_a_run_are_read_back(run, tmp_path):
    config = read_config(run / "config.json")
    assert isinstance(config, FlowConfig)
    assert isinstance(config.network, FlowNetwork)
    assert json.loads(to_json(config))["network"]["grain"] == 0.2
    other = dataclasses.replace(config, network=dataclasses.replace(config.network, levels=3))
    assert differences(config, other) == ["--network.levels: 2 -> 3"]
    assert differences(PRESETS["sr"]["tiny"], PRESETS["sr"]["flow"]) == ["--preset: tiny -> flow"]


def test_a_run_is_a_model(run, tmp_path):
    model = xmm_jax.load_model(run)
    xmm_jax.model.save_model(tmp_path / "model", model)
    again = xmm_jax.load_model(tmp_path / "model")
    assert again.network == model.network
    batch = {name: value for name, value in pairs(1).items() if "target" not in name}
    np.testing.assert_array_equal(model.predict(batch), again.predict(batch))
