"""Checkpoints of a run through orbax, and the layout of a run folder.

``<run>/checkpoints/<step>/`` holds ``state`` (step, weights, optimiser) and ``meta`` (JSON: what
made it, and digests by which damage is seen). The two newest and the best are kept. Saving is
asynchronous and atomic: a killed save leaves a temporary folder, which the next start removes.
How good a step is stands in ``metrics.jsonl`` alone, so a step may be saved before it is judged.
"""

import dataclasses
import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from xmm_jax.errors import InputError, RunError

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
DAMAGED = "damaged"


class Checkpoints(ocp.CheckpointManager):
    """The manager of orbax."""

    def reached_preemption(self, step: int) -> bool:
        """Never: that is the business of `xmm_jax.signals`, whose count orbax would disturb."""
        return False


@dataclasses.dataclass(frozen=True)
class NewestAndBest:
    """Which checkpoints stay: the two newest, and the best, by the validation losses of steps."""

    losses: Mapping[int, float]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> list[bool]:
        """One answer for each checkpoint; orbax asks with the oldest first, and its context."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*steps[-2:], best_step(steps, self.losses)}
        return [step in kept for step in steps]


def best_step(steps: Iterable[int], losses: Mapping[int, float]) -> int | None:
    """Which of the steps has the smallest of the validation losses; None if none has one."""
    return min((step for step in steps if step in losses), key=lambda s: losses[s], default=None)


def eligible(losses: Mapping[int, float], use: str) -> Mapping[int, float]:
    """Losses of the steps that may be used in the end: all, or with ``use`` ``last`` the last."""
    return losses if use == "best" or not losses else {max(losses): losses[max(losses)]}


@contextmanager
def open_checkpoints(run: Path, losses: Mapping[int, float]) -> Iterator[Checkpoints]:
    """Checkpoints of a run folder that is being trained, the folder made if need be.

    Parameters
    ----------
    run : Path
        Run folder.
    losses : mapping of int to float
        Validation loss of each step; looked at when old checkpoints are removed.

    Yields
    ------
    Checkpoints
        Leaving the context waits for the last save.

    Raises
    ------
    RunError
        If the last save failed.
    """
    folder = (run / CHECKPOINTS).absolute()
    _be_silent()
    options = ocp.CheckpointManagerOptions(
        preservation_policy=NewestAndBest(losses),
        cleanup_tmp_directories=True,
        # Reading what describes a damaged checkpoint would end the run before it can fall back.
        lightweight_initialize=True,
    )
    with _without_noise():
        checkpoints = _manager(folder, options)
        try:
            yield checkpoints
        finally:
            with _in_one_line(folder):
                checkpoints.close()


def save(checkpoints: Checkpoints, state: Any, meta: Mapping[str, Any]) -> None:
    """Save a state under its step, unless it is there; returns before the files are written.

    Parameters
    ----------
    checkpoints : Checkpoints
        From `open_checkpoints`.
    state : TrainState
        Any named tuple with a ``step``.
    meta : mapping
        JSON that says what made the state.

    Raises
    ------
    RunError
        If this save, or the one before, failed.
    """
    step = int(state.step)
    if step in checkpoints.all_steps():
        return
    # A copy on the host: the step reuses the memory of the state, and what pmap gives back belongs
    # to its process alone, which orbax would refuse.
    host = jax.tree.map(np.array, jax.device_get(state))
    meta = dict(meta) | {"digests": {k: digest(v) for k, v in host._asdict().items()}}
    items = ocp.args.Composite(state=ocp.args.PyTreeSave(host), meta=ocp.args.JsonSave(meta))
    with _in_one_line(checkpoints.directory):
        checkpoints.save(step, args=items, force=True)


def wait(checkpoints: Checkpoints) -> None:
    """Return when the last save is on disk.

    Raises
    ------
    RunError
        If it failed.
    """
    with _in_one_line(checkpoints.directory):
        checkpoints.wait_until_finished()


def restore(checkpoints: Checkpoints, like: Any) -> tuple[Any, dict[Path, str]]:
    """The newest state that is whole; damaged newer ones are moved out of the way, not deleted.

    Parameters
    ----------
    checkpoints : Checkpoints
        From `open_checkpoints`.
    like : TrainState
        State of the same shapes, placed on the devices where the restored one shall lie.

    Returns
    -------
    state : TrainState or None
        None in a folder that holds none.
    damaged : dict of Path to str
        Where each damaged checkpoint lies now, and what is wrong with it.

    Raises
    ------
    RunError
        If there are checkpoints and none is whole; nothing is moved then.
    """
    damaged: dict[int, str] = {}
    for step in sorted(checkpoints.all_steps(), reverse=True):
        try:
            state, fault = _restore(checkpoints, step, like._asdict(), partial=False), ""
        except Exception as error:  # whatever a damaged file makes orbax or tensorstore say
            state, fault = {}, _first_line(error)
        if _all_processes(not fault):
            return type(like)(**state), _move_aside(checkpoints, damaged)
        damaged[step] = fault or "another process cannot read it"
    if damaged:
        step, fault = next(iter(damaged.items()))
        raise RunError(
            f"{checkpoints.directory}: none of the {len(damaged)} checkpoints can be read "
            f"({step}: {fault}); choose another --run, or another version of this program"
        )
    return None, {}


def restore_best(run: Path, losses: Mapping[int, float], like: Mapping[str, Any]) -> Any:
    """A part of the best state of a run, for example only its weights; changes nothing there.

    Parameters
    ----------
    run : Path
        Run folder.
    losses : mapping of int to float
        Validation loss of each step.
    like : mapping of str to pytree
        The wanted part, with the structure it has in the state: ``{"params": ...}``.

    Returns
    -------
    step : int
        Step of the best validation loss.
    part : dict
        As ``like``.

    Raises
    ------
    InputError
        If the folder holds no checkpoint that was validated, or the best one is damaged.
    """
    folder = (run / CHECKPOINTS).absolute()
    if not folder.is_dir():
        raise InputError(f"{run}: no checkpoints there; give a run folder made by `xmm-jax train`")
    _be_silent()
    options = ocp.CheckpointManagerOptions(read_only=True, lightweight_initialize=True)
    with _without_noise(), _manager(folder, options) as checkpoints:
        step = best_step(checkpoints.all_steps(), losses)
        if step is None:
            raise InputError(
                f"{run}: the run was stopped before its first validation; its command goes on"
            )
        try:
            return step, _restore(checkpoints, step, dict(like), partial=True)
        except Exception as error:
            raise InputError(
                f"{folder / str(step)}: cannot be read ({_first_line(error)}); if it is damaged, "
                "move it away and the next best step is used"
            ) from None


def digest(tree: Any) -> str:
    """SHA-256 of the leaves of a pytree, in order: types, shapes and every bit.

    Parameters
    ----------
    tree : pytree
        Arrays, each the same on all devices.

    Returns
    -------
    str
        64 hexadecimal digits; equal for equal weights, whatever machine holds them.
    """
    whole = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        whole.update(f"{array.dtype.str}{np.shape(leaf)}".encode())
        whole.update(array.view(np.uint8).data)
    return whole.hexdigest()


def _be_silent() -> None:
    # Failures come back as exceptions; the traceback that orbax also logs would hide our line.
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def _manager(folder: Path, options: ocp.CheckpointManagerOptions) -> Checkpoints:
    return Checkpoints(folder, options=options, item_names=("state", "meta"))


def _restore(
    checkpoints: Checkpoints, step: int, like: dict[str, Any], *, partial: bool
) -> dict[str, Any]:
    """A state or a part of it, refused where it is not what was saved to the last bit."""
    wanted = ocp.args.PyTreeRestore(
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like),
        restore_args=ocp.checkpoint_utils.construct_restore_args(like),
        partial_restore=partial,
    )
    items = ocp.args.Composite(state=wanted, meta=ocp.args.JsonRestore())
    found = checkpoints.restore(step, args=items)
    # Compressed arrays carry no check sum. Older runs have no digests.
    for name, expected in found["meta"].get("digests", {}).items():
        if name in like and digest(found["state"][name]) != expected:
            raise ValueError(f"{name} is not what was saved")
    return found["state"]


def _move_aside(checkpoints: Checkpoints, damaged: Mapping[int, str]) -> dict[Path, str]:
    """Rename the folders of damaged steps, so that the steps can be saved again."""
    moved: dict[Path, str] = {}
    for step, fault in damaged.items():
        source = Path(checkpoints.directory) / str(step)
        target = source.parent.with_name(DAMAGED) / source.name
        while target.exists():
            target = target.with_name(f"{target.name}+")
        if jax.process_index() == 0:
            target.parent.mkdir(exist_ok=True)
            source.rename(target)
        moved[target] = fault
    if moved:
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints")
        checkpoints.reload()
    return moved


def _all_processes(good: bool) -> bool:
    if jax.process_count() == 1:
        return good
    return bool(np.all(multihost_utils.process_allgather(np.asarray(good))))


@contextmanager
def _without_noise() -> Iterator[None]:
    """Be silent about the arrays that orbax no longer waits for after one of them has failed.

    tensorstore reports each to an event loop that is closed by then: hundreds of tracebacks. The
    failure itself is an exception, which is not touched.
    """
    show = sys.unraisablehook

    def show_others(fault: Any) -> None:
        if "Event loop is closed" not in str(fault.exc_value):
            show(fault)

    sys.unraisablehook = show_others
    try:
        yield
    finally:
        sys.unraisablehook = show


@contextmanager
def _in_one_line(folder: Any) -> Iterator[None]:
    """Say in one line what orbax (OSError) or tensorstore (ValueError) could not write."""
    try:
        yield
    except (OSError, ValueError) as error:
        # tensorstore begins with the name of a status, "RESOURCE_EXHAUSTED: "; others are bugs.
        if isinstance(error, ValueError) and not re.match("[A-Z_]+: ", str(error)):
            raise
        raise RunError(
            f"{folder}: a checkpoint could not be written ({_first_line(error)}); those before it "
            "are whole: make room, then the same command goes on"
        ) from None


def _first_line(error: Exception) -> str:
    """What an exception says, short: tensorstore puts the cause at the end of very long lines."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if len(text) <= 160:
        return text
    # Or as the number of an error of the system, between settings of the array.
    number = re.search(r"os_error_code='(\d+)'", text)
    return f"{text[:60]} ... {os.strerror(int(number[1])) if number else text[-90:]}"
