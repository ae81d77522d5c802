"""Rows of figures survive a stop; durations and progress read well."""

import json

import pytest

from xmm_jax.log import Metrics, duration, progress, read_metrics


def test_rows_after_the_resumed_step_are_dropped_and_a_torn_line_too(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Metrics(path, -1) as first:
        for step in (10, 20, 30):
            first.write(step, "train", {"loss": step / 10})
    with path.open("a") as file:
        file.write('{"step": 40, "spl')
    with Metrics(path, 20) as second:
        second.write(30, "train", {"loss": 9})
    assert [(row["step"], row["loss"]) for row in read_metrics(path)] == [(10, 1), (20, 2), (30, 9)]
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.2, "8 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (float("inf"), "?")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_progress_passes_everything_on_and_ends_with_nothing_to_go(capsys):
    assert list(progress(range(25), total=30, first=5, label="fields")) == list(range(25))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 10
    assert lines[-1] == "fields: 30/30, 0 s to go"


def test_tensorboard_gets_the_same_figures(tmp_path):
    pytest.importorskip("tensorboardX")
    with Metrics(tmp_path / "metrics.jsonl", -1, tensorboard=True) as metrics:
        metrics.write(3, "validation", {"loss": 0.25})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"validation/loss" in events.read_bytes()
