"""The tiny sweep by two processes, one of which is killed, and its ranking."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from xmm_jax import sweep
from xmm_jax.sweeps.rank import read_trials

pytest.importorskip("optuna")
FLAGS = ("--grid=tiny", "--fields=10", "--share=1", "--crop=64", "--epochs=8", "--silence_s=6")


def start(study, cache):
    command = [sys.executable, "-m", "xmm_jax.sweep", *FLAGS, f"--study={study}"]
    environment = os.environ | {"XMM_JAX_CACHE": str(cache)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def wait_until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_two_processes_one_killed(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    study, cache = tmp_path / "study", tmp_path / "cache"
    victim, other = start(study, cache), start(study, cache)
    runs = study / "runs"
    wait_until(
        lambda: (
            victim.poll() is not None
            or sum(path.stat().st_size > 0 for path in runs.glob("*/metrics.jsonl")) == 2
        )
    )
    assert victim.poll() is None
    victim.send_signal(signal.SIGKILL)  # in the middle of a training
    victim.communicate()
    said, _ = other.communicate(timeout=600)
    assert other.returncode == 0
    assert ", again: " in said
    assert "4 of 4 points finished" in said
    found = read_trials(study)
    assert [row.number for row in found] == [0, 1, 2, 3]
    assert {name.split("/")[0] for name in found[0].figures} == {"linear", "sqrt", "asinh", "log"}

    sweep.main([*FLAGS, f"--study={study}"])  # nothing is done twice
    assert "trial " not in capsys.readouterr().out
    sweep.main(["rank", f"--study={study}"])
    assert "ranking.html" in capsys.readouterr().out
    listed = json.loads((study / "ranking" / "ranking.json").read_text())
    assert {one["number"] for one in listed} == {row.number for row in found if not row.failed}


def test_bad_studies_are_refused(tmp_path, capsys):
    for flags, text in (
        ([], "--study=FOLDER is needed"),
        ([f"--study={tmp_path}", "--epochs=0"], "must be at least 1"),
        (["rank"], "--study=FOLDER is needed"),
        (["rank", f"--study={tmp_path}"], "no study in there"),
    ):
        with pytest.raises(SystemExit) as stopped:
            sweep.main(flags)
        assert stopped.value.code == 2
        assert text in capsys.readouterr().err


def test_a_study_keeps_its_settings(tmp_path):
    from xmm_jax.errors import InputError
    from xmm_jax.sweeps.trial import SweepConfig

    study = tmp_path / "study"
    sweep.keep_settings(SweepConfig(study=str(study)), study)
    sweep.keep_settings(SweepConfig(study="elsewhere", silence_s=1.0), study)
    with pytest.raises(InputError, match="--epochs: 50 -> 3"):
        sweep.keep_settings(SweepConfig(study=str(study), epochs=3), study)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("of mine")
    with pytest.raises(InputError, match="no study"):
        sweep.keep_settings(SweepConfig(), tmp_path / "other")


@pytest.mark.slow
def test_trials_train_and_validate_about_the_optical_axis(tmp_path, monkeypatch):
    from xmm_jax.data.tfrecord import RecordSource
    from xmm_jax.dataset import training_batches, validation_batches
    from xmm_jax.instrument.camera import PN
    from xmm_jax.sweeps.trial import SweepConfig, prepare

    monkeypatch.setenv("XMM_JAX_CACHE", str(tmp_path / "cache"))
    config = SweepConfig(study=str(tmp_path), fields=10, share=0.5, crop=16, epochs=6)
    _, tried, trials = prepare(config, tmp_path)
    assert len(tried) == len(trials) == 4
    assert all(one.steps == 6 * 4 // 2 for one in trials)  # half of 8 examples, in batches of 2
    one = trials[0]
    whole = RecordSource(one.data, "validation")[0]
    (batch,) = validation_batches(one, one.data)
    x, y = (round(PN.axis[i] + PN.pad_low[i] - 7.5) for i in (0, 1))
    part = whole["counts"][y : y + 16, x : x + 16]
    assert np.array_equal(np.squeeze(batch["counts"]), np.squeeze(part))
    batches = training_batches(one, one.data, start_step=0)
    frames = {
        bytes(np.asarray(b["target"][i])) for b in itertools.islice(batches, 12) for i in (0, 1)
    }
    assert len(frames) == 4  # four examples, always cut at the same place
