"""Adversarial training from the command line: start from a generator, stop, resume, use."""

import json

import jax
import numpy as np
import pytest
from small_records import write_small_records

from xmm_jax import train
from xmm_jax.log import read_metrics
from xmm_jax.model import load_model

SMALL = (
    *("--task=sr", "--crop=16", "--batch_size=4", "--loss=l1", "--log_every=1", "--eval_every=2"),
    *("--network.size=tiny", "--network.filters=4", "--network.unshuffle=1", "--devices=2"),
    *("--network.no-spread", "--network.stretch=sqrt", "--thin=0", "--optim.schedule=constant"),
)
FLAGS = (
    *("--preset=adversarial", "--adversarial.filters=4", "--adversarial.halvings=2"),
    *("--adversarial.noise=0.1", *SMALL),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_small_records(tmp_path_factory.mktemp("records") / "sr")


@pytest.fixture(scope="module")
def generator(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator") / "run"
    train.main([*SMALL, f"--data={records}", "--steps=2", f"--run={folder}"])
    return folder


@pytest.fixture(scope="module")
def run(records, generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adversarial") / "run"
    flags = [*FLAGS, f"--data={records}", f"--init_from={generator}"]
    train.main([*flags, "--steps=4", f"--run={folder}"])
    return folder


@pytest.mark.slow
def test_it_starts_from_the_generator(run, generator):
    rows = [read_metrics(folder / "metrics.jsonl") for folder in (run, generator)]
    best = min(row["loss"] for row in rows[1] if row["split"] == "validation")
    assert rows[0][0]["split"] == "validation"
    assert rows[0][0]["loss"] == pytest.approx(best, rel=1e-5)
    trained = [row for row in rows[0] if row["split"] == "train"]
    assert all(0 <= row["accuracy"] <= 1 and row["discriminator_loss"] > 0 for row in trained)


@pytest.mark.slow
def test_stopped_and_resumed_is_the_same_to_the_last_bit(run, records, generator, tmp_path, capsys):
    flags = [*FLAGS, f"--data={records}", f"--init_from={generator}", f"--run={tmp_path / 'run'}"]
    train.main([*flags, "--steps=2"])
    train.main([*flags, "--steps=4"])
    said = capsys.readouterr().out
    assert "going on from step 2" in said
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == read_metrics(run / "metrics.jsonl")
    weights = [jax.tree.leaves(load_model(folder).params) for folder in (run, tmp_path / "run")]
    jax.tree.map(np.testing.assert_array_equal, *weights)


@pytest.mark.slow
def test_the_last_step_is_used(run, tmp_path):
    assert json.loads((run / "config.json").read_text())["use"] == "last"
    model = load_model(run)
    assert model.origin["step"] == 4
    assert model.origin["preset"] == "adversarial"


def test_a_generator_is_needed(records, tmp_path, capsys):
    flags = [*FLAGS, f"--data={records}", f"--run={tmp_path / 'run'}", "--init_from="]
    with pytest.raises(SystemExit) as stopped:
        train.main(flags)
    assert stopped.value.code == 2
    assert "--init_from" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
