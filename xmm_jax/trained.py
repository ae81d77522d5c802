"""What a run has learned: its settings, and the weights that are used in the end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xmm_jax.checkpoint import CONFIG, METRICS, eligible, restore_best
from xmm_jax.config import RunConfig
from xmm_jax.config_file import Settings, from_json, read_json
from xmm_jax.errors import InputError
from xmm_jax.log import validation_losses
from xmm_jax.optim import averaged_params, make_optimiser


def read_settings(run: Path, kind: type[Settings]) -> Settings:
    """Settings of a run of one task.

    Parameters
    ----------
    run : Path
        Run folder.
    kind : type
        Settings of the task.

    Raises
    ------
    InputError
        If it is no such folder, or of another task.
    """
    task = read_json(run / CONFIG).get("task")
    if task != kind.task:
        raise InputError(f"{run}: made with --task={task}; give a run of --task={kind.task}")
    return from_json(run / CONFIG, kind)


def restore_weights(
    run: Path, config: RunConfig, start: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """The step of a run that is used in the end, and its weights, averaged where they are.

    Parameters
    ----------
    run : Path
        Run folder.
    config : RunConfig
        Its settings.
    start : mapping of str to pytree
        What the run began with: ``params``, and whatever else of its state is wanted.

    Returns
    -------
    step : int
        The step.
    part : dict
        As ``start``.

    Raises
    ------
    InputError
        If there is no checkpoint that was validated, or it is damaged.
    """
    opt_state = make_optimiser(config.optim, steps=config.steps).init(start["params"])
    losses = eligible(validation_losses(run / METRICS), config.use)
    step, part = restore_best(run, losses, {**start, "opt_state": opt_state})
    params = averaged_params(part["params"], part["opt_state"])
    return step, {name: part[name] for name in start} | {"params": params}
