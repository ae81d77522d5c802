"""Handing out points, with trials that only pretend to train."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from xmm_jax.errors import RunError
from xmm_jax.sweeps.rank import read_trials
from xmm_jax.sweeps.study import MOST_CRASHES, _put_back, alive, open_study, work

pytest.importorskip("optuna")

AXES = {"loss": ("l1", "psnr", "ssim"), "batch_size": ("1", "2")}
POINTS = [
    {"loss": loss, "batch_size": size} for loss in AXES["loss"] for size in AXES["batch_size"]
]
WORKER = """
import sys, time
from pathlib import Path
from xmm_jax.sweeps.study import work
from test_study import AXES, POINTS
folder = Path(sys.argv[1])

def run(number):
    with (folder / "taken").open("a") as log:
        log.write(f"{number}\\n")
    time.sleep(float(sys.argv[2]))
    return {"loss": 0.1 * number, "failed": "", "figures": {}, "seconds": 0.0}

work(folder, AXES, POINTS, run, silence_s=3.0)
"""


def found(number):
    return {"loss": 0.1 * number, "failed": "", "figures": {"linear/PSNR": 1.0}, "seconds": 1.0}


def test_one_process_takes_every_point_once(tmp_path):
    taken = []

    def run(number):
        taken.append(number)
        return found(number)

    work(tmp_path, AXES, POINTS, run)
    assert sorted(taken) == list(range(6))
    work(tmp_path, AXES, POINTS, run)  # finished ones are never repeated
    assert len(taken) == 6
    rows = read_trials(tmp_path)
    assert [row.point for row in rows] == POINTS
    assert [row.loss for row in rows] == pytest.approx([0.1 * i for i in range(6)])


def test_a_loss_that_is_not_finite_is_marked_and_not_repeated(tmp_path):
    taken = []

    def run(number):
        taken.append(number)
        if number == 2:
            raise RunError("loss is nan at step 3")
        return found(number)

    for _ in range(2):
        work(tmp_path, AXES, POINTS, run)
    assert sorted(taken) == list(range(6))
    assert [row.failed for row in read_trials(tmp_path)].count("loss is nan at step 3") == 1


def test_who_is_asked_to_leave_is_no_crash(tmp_path):
    taken = []

    def run(number):
        taken.append(number)
        if taken.count(number) <= MOST_CRASHES + 1 and number == 4:
            raise SystemExit(75)
        return found(number)

    for _ in range(MOST_CRASHES + 1):
        with pytest.raises(SystemExit) as stopped:
            work(tmp_path, AXES, POINTS, run)
        assert stopped.value.code == 75
    work(tmp_path, AXES, POINTS, run)
    assert len(read_trials(tmp_path)) == 6
    assert taken.count(4) == MOST_CRASHES + 2


def test_what_crashes_every_time_is_given_up(tmp_path, capsys):
    def crash(study):
        trial = study.ask()
        for name in AXES:
            trial.suggest_categorical(name, list(AXES[name]))
        trial.set_user_attr("worker", "gone")

    study = open_study(tmp_path, AXES)
    crash(study)
    for _ in range(MOST_CRASHES - 1):
        # Whoever comes next puts it back and dies of it as well.
        with alive(tmp_path / "workers", beat_s=1.0) as me:
            assert _put_back(study, tmp_path / "workers", me, 1.0)
        crash(study)
    work(tmp_path, AXES, POINTS, found)
    assert "given up after 3 crashes" in capsys.readouterr().out
    assert len(read_trials(tmp_path)) == 5


def test_who_lives_keeps_its_trial(tmp_path):
    """A second process waits for the first, and takes nothing from it."""
    entered, go_on, taken = threading.Event(), threading.Event(), []

    def slow(number):
        taken.append(number)
        if len(taken) == 6:
            entered.set()
            assert go_on.wait(60)
        return found(number)

    first = threading.Thread(target=work, args=(tmp_path, AXES, POINTS, slow))
    first.start()
    assert entered.wait(60)
    second = threading.Thread(target=work, args=(tmp_path, AXES, POINTS, slow))
    second.start()
    second.join(3)
    assert second.is_alive()
    go_on.set()
    for thread in (first, second):
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(taken) == list(range(6))


def test_who_ask_at_the_same_time_get_different_points(tmp_path):
    together, taken = threading.Barrier(6), []

    def run(number):
        taken.append(number)
        if len(taken) <= 6:
            together.wait(60)  # six points, six threads: nobody ends before all have one
        return found(number)

    threads = [threading.Thread(target=work, args=(tmp_path, AXES, POINTS, run)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive()
    assert sorted(taken) == list(range(6))


def test_processes_share_a_study_and_one_is_killed(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    }

    def start(seconds):
        command = [sys.executable, "-c", WORKER, str(tmp_path), str(seconds)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    victim = start(60)
    deadline = time.monotonic() + 120
    while not (tmp_path / "taken").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    others = [start(0.2), start(0.2)]
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    for process in others:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said.decode()
    _lost, *taken = (int(line) for line in (tmp_path / "taken").read_text().split())
    assert sorted(taken) == list(range(6))  # each once, the lost one again
    assert len(read_trials(tmp_path)) == 6
    assert len(list((tmp_path / "workers").iterdir())) == 1  # who leaves wipes its mark
