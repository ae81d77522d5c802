"""Handing out the points of a grid to any number of processes, on any number of machines.

Optuna's grid sampler says what is next; its journal is a file in the study folder, which all
processes share. Each process shows that it lives by touching a file of its own. A trial whose
process is silent for three minutes is put back, and goes on from the last checkpoint of its run.
"""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xmm_jax.errors import InputError, RunError
from xmm_jax.log import say
from xmm_jax.signals import TRY_AGAIN

JOURNAL, WORKERS = "journal.log", "workers"
SILENCE_S = 180.0
"""After so long without a sign of life a process counts as dead [s]; NFS shows it a minute late."""
BEATS = 12
"""So many signs of life in that time."""
MOST_CRASHES = 3
"""So often a trial is put back."""

Point = Mapping[str, str]
Trial = Callable[[int], dict[str, Any]]
"""Number of a point -> what came out: ``loss``, ``failed`` and more."""


def open_study(folder: Path, axes: Mapping[str, Sequence[str]]) -> Any:
    """The Optuna study of a folder, made if it is not there.

    Parameters
    ----------
    folder : Path
        Of the study.
    axes : mapping of str to sequence of str
        Names of settings, and their values.

    Raises
    ------
    InputError
        If Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError("a sweep needs optuna: pip install 'xmm-jax[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name="sweep",
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        sampler=optuna.samplers.GridSampler({k: list(v) for k, v in axes.items()}, seed=0),
        direction="minimize",
        load_if_exists=True,
    )


def work(
    folder: Path,
    axes: Mapping[str, Sequence[str]],
    points: Sequence[Point],
    run: Trial,
    *,
    silence_s: float = SILENCE_S,
) -> None:
    """Take points until all are finished, by this process or by others.

    Parameters
    ----------
    folder : Path
        Of the study.
    axes : mapping of str to sequence of str
        Of the grid.
    points : sequence of mapping
        Its points, in an order that is the same everywhere.
    run : callable
        Trains a point.
    silence_s : float
        See `SILENCE_S` [s].

    Raises
    ------
    InputError
        If Optuna is not installed, or a point cannot be trained for a fault of its settings.
    """  # fmt: skip
    study = open_study(folder, axes)
    with alive(folder / WORKERS, beat_s=silence_s / BEATS) as me:
        waiting = False
        while True:
            if _to_do(study, len(points)):
                _take_one(study, axes, points, run, me)
            elif _put_back(study, folder / WORKERS, me, silence_s):
                continue
            elif others := _running(study):
                if not waiting:
                    say(f"nothing left to start; waiting for {len(others)} of other processes")
                waiting = True
                time.sleep(min(1.0, silence_s / 4))
            else:
                return


@contextlib.contextmanager
def alive(folder: Path, *, beat_s: float) -> Iterator[str]:
    """Show that this process lives by touching a file until the block is left; gives its name."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    mark, done = folder / name, threading.Event()
    mark.touch()

    def beat() -> None:
        while not done.wait(beat_s):
            mark.touch()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield name
    finally:
        done.set()
        thread.join()
        mark.unlink(missing_ok=True)


def _to_do(study: Any, total: int) -> bool:
    """Whether a point was never started, or waits to be taken up again."""
    trials = study.get_trials(deepcopy=False)
    started = {tuple(sorted(t.params.items())) for t in trials if t.params}
    return len(started) < total or any(t.state.name == "WAITING" for t in trials)


def _is_taken(study: Any, trial: Any) -> bool:
    """Whether another trial of the same point is finished, or was first.

    It happens when processes ask at the same time while few points are left.
    """
    for other in study.get_trials(deepcopy=False):
        if other.number == trial.number or other.params != trial.params:
            continue
        first = other.state.name == "RUNNING" and other.number < trial.number
        if first or other.state.name == "COMPLETE" or other.user_attrs.get("failed"):
            return True
    return False


def _running(study: Any) -> list[Any]:
    return [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]


def _take_one(
    study: Any, axes: Mapping[str, Sequence[str]], points: Sequence[Point], run: Trial, me: str
) -> None:
    import optuna

    def objective(trial: Any) -> float:
        point = {name: trial.suggest_categorical(name, list(axes[name])) for name in axes}
        again = "again" in trial.user_attrs
        if _is_taken(study, trial):
            raise optuna.TrialPruned
        number = points.index(point)
        trial.set_user_attr("point", number)
        trial.set_user_attr("worker", me)
        shown = ", ".join(f"{name.split('.')[-1]}={value}" for name, value in point.items())
        say(f"trial {number + 1} of {len(points)}{', again' if again else ''}: {shown}")
        try:
            found = run(number)
        except RunError as error:
            trial.set_user_attr("failed", str(error))
            raise
        except (SystemExit, KeyboardInterrupt):
            trial.set_user_attr("left", True)  # not a crash; Optuna would fail it on Ctrl-C
            raise SystemExit(TRY_AGAIN) from None
        for name, value in found.items():
            trial.set_user_attr(name, value)
        return found["loss"]

    study.optimize(objective, n_trials=1, catch=(RunError,))


def _put_back(study: Any, folder: Path, me: str, silence_s: float) -> bool:
    """Hand out again what dead processes were at; whether there was anything."""
    import optuna

    found = False
    for trial in _running(study):
        worker = trial.user_attrs.get("worker")
        # A trial without a name was started a moment ago, or its process died in that moment.
        if worker == me or _lives(folder, worker, me, silence_s, trial):
            continue
        try:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            continue  # another process was quicker
        except RuntimeError:
            pass  # the sampler wants to stop a loop that there is not; the trial is told
        crashes = int(trial.user_attrs.get("again", 0)) + ("left" not in trial.user_attrs)
        if crashes >= MOST_CRASHES:
            say(f"given up after {crashes} crashes: {trial.params}")
            continue
        study.enqueue_trial(trial.params, user_attrs={"again": crashes})
        found = True
    return found


def _lives(folder: Path, worker: str | None, me: str, silence_s: float, trial: Any) -> bool:
    # Both times are of the file system: clocks of machines may differ.
    (folder / me).touch()
    now = (folder / me).stat().st_mtime
    if worker is None:
        return time.time() - trial.datetime_start.timestamp() < silence_s
    try:
        return now - (folder / worker).stat().st_mtime < silence_s
    except FileNotFoundError:
        return False
