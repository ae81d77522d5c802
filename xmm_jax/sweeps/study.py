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

from xmm_jax.data.folder import one_at_a_time
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
    sampler: Any = optuna.samplers.GridSampler({k: list(v) for k, v in axes.items()}, seed=0)
    # It would stop Optuna's own loop after the last trial, and fails where there is none.
    sampler.after_trial = lambda *_: None
    return optuna.create_study(
        study_name="sweep",
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        sampler=sampler,
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
            if trial := _next(study, folder, axes, points, me):
                _carry_out(study, trial, len(points), run)
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
    """Touch a file every ``beat_s`` until the block is left, to show life; gives its name."""
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


def _running(study: Any) -> list[Any]:
    return [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]


def _next(
    study: Any, folder: Path, axes: Mapping[str, Sequence[str]], points: Sequence[Point], me: str
) -> Any | None:
    """A trial of a point that nobody is at, or None if there is none.

    Optuna draws a point and notes it one value after the other: two processes that ask at the same
    time may draw the same one, and neither can know. So they ask one after the other.
    """
    with one_at_a_time(folder / WORKERS):
        if not _to_do(study, len(points)):
            return None
        trial = study.ask()
        point = {name: trial.suggest_categorical(name, list(axes[name])) for name in axes}
        trial.set_user_attr("point", points.index(point))
        trial.set_user_attr("worker", me)
    return trial


def _carry_out(study: Any, trial: Any, total: int, run: Trial) -> None:
    """Train the point of a trial, and tell the study what came out."""
    import optuna

    states = optuna.trial.TrialState
    number = trial.user_attrs["point"]
    again = ", again" if "again" in trial.user_attrs else ""
    shown = ", ".join(f"{name.split('.')[-1]}={value}" for name, value in trial.params.items())
    say(f"trial {number + 1} of {total}{again}: {shown}")
    try:
        found = run(number)
    except RunError as error:
        say(f"trial {number + 1} failed: {error}")
        trial.set_user_attr("failed", str(error))
        _tell(study, trial, state=states.FAIL)
    except InputError:
        _tell(study, trial, state=states.FAIL)  # it would fail again
        raise
    except (SystemExit, KeyboardInterrupt):
        trial.set_user_attr("left", True)  # not a crash
        raise SystemExit(TRY_AGAIN) from None
    else:
        for name, value in found.items():
            trial.set_user_attr(name, value)
        _tell(study, trial, values=found["loss"], state=states.COMPLETE)


def _tell(study: Any, trial: Any, **outcome: Any) -> None:
    try:
        study.tell(trial, **outcome)
    except (ValueError, RuntimeError):  # silent for too long: put back, and taken by another
        say(f"trial of {trial.params} was handed to another process; leaving it to that one")


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
        except (ValueError, RuntimeError):
            continue  # another process was quicker
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
