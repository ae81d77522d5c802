"""Checkpoints of a run through orbax, and the layout of a run folder.

``<run>/checkpoints/<step>/`` holds ``state`` (step, weights, optimiser), ``meta`` (JSON) and the
validation loss. The two newest and the best are kept. Saving is asynchronous and atomic: a killed
save leaves a temporary folder that is ignored.
"""

import logging
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from xmm_jax.errors import InputError

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
KEY = "loss"


def open_checkpoints(run: Path) -> ocp.CheckpointManager:
    """Checkpoints of a run folder, created if need be; use as a context manager.

    Leaving the context waits for the last save.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
            [
                policies.LatestN(n=2),
                policies.BestN(get_metric_fn=lambda metrics: metrics[KEY], reverse=True, n=1),
            ]
        ),
        best_fn=lambda metrics: metrics[KEY],
        best_mode="min",
        create=True,
    )
    folder = (run / CHECKPOINTS).absolute()
    return ocp.CheckpointManager(folder, options=options, item_names=("state", "meta"))


def save(
    checkpoints: ocp.CheckpointManager, state: Any, meta: dict[str, Any], *, loss: float
) -> None:
    """Save a state under its step; returns before the files are written.

    Parameters
    ----------
    checkpoints : CheckpointManager
        From `open_checkpoints`.
    state : TrainState
        Any pytree with a ``step``.
    meta : dict
        JSON that says what made the state.
    loss : float
        Validation loss; the smallest is kept as the best.
    """
    items = ocp.args.Composite(state=ocp.args.PyTreeSave(state), meta=ocp.args.JsonSave(meta))
    checkpoints.save(int(state.step), args=items, metrics={KEY: float(loss)})


def restore(checkpoints: ocp.CheckpointManager, like: Any) -> Any:
    """The newest state, or None in a folder that holds none.

    Parameters
    ----------
    checkpoints : CheckpointManager
        From `open_checkpoints`.
    like : pytree
        State of the same shapes, placed on the devices where the restored one shall lie.
    """
    step = checkpoints.latest_step()
    if step is None:
        return None
    return _restore_item(checkpoints, step, like, partial=False)


def restore_best(run: Path, like: Any) -> tuple[int, Any]:
    """A part of the best state of a run, for example only its weights.

    Parameters
    ----------
    run : Path
        Run folder.
    like : pytree
        The wanted part, with the structure it has in the state: ``{"params": ...}``.

    Returns
    -------
    step : int
        Step of the best validation loss.
    part : pytree
        As ``like``.

    Raises
    ------
    InputError
        If the folder holds no checkpoint.
    """
    if not (run / CHECKPOINTS).is_dir():
        raise InputError(f"{run}: no checkpoints there; give a run folder made by `xmm-jax train`")
    with open_checkpoints(run) as checkpoints:
        step = checkpoints.best_step()
        if step is None:
            raise InputError(f"{run}: the run was stopped before its first checkpoint")
        return step, _restore_item(checkpoints, step, like, partial=True)


def _restore_item(
    checkpoints: ocp.CheckpointManager, step: int, like: Any, *, partial: bool
) -> Any:
    wanted = ocp.args.PyTreeRestore(
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like),
        restore_args=ocp.checkpoint_utils.construct_restore_args(like),
        partial_restore=partial,
    )
    return checkpoints.restore(step, args=ocp.args.Composite(state=wanted))["state"]
