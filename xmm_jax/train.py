"""Train a network: ``python -m xmm_jax.train --task=sr``.

Reads from top to bottom: settings, data, devices, network, state, restore, loop, finish. The same
command on the same run folder resumes. What is reusable lives in `step`, `optim`, `parallel`,
`checkpoint` and `dataset`.
"""

import functools
import json
import math
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax import __version__
from xmm_jax.checkpoint import CONFIG, METRICS, open_checkpoints, restore, save
from xmm_jax.config import Config, differences, from_json, parse, parse_loss, to_json
from xmm_jax.data.folder import replace_file
from xmm_jax.dataset import find_data, keep_manifest, training_batches, validation_batches
from xmm_jax.errors import InputError, RunError, command
from xmm_jax.log import Metrics, duration, progress, read_metrics, say
from xmm_jax.losses import combine
from xmm_jax.model import load_model, make_network
from xmm_jax.models import init
from xmm_jax.optim import averaged_params, make_optimiser
from xmm_jax.parallel import make_mesh, place_batch, place_state, spread, start_processes
from xmm_jax.step import TrainState, eval_step, init_state, train_step
from xmm_jax.validation import figures, mean_over, table


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    train(parse(argv))


def train(config: Config) -> Path:
    """Train one network, or go on with a run that was stopped.

    Parameters
    ----------
    config : Config
        All settings.

    Returns
    -------
    Path
        The run folder: ``config.json metrics.jsonl checkpoints/``.

    Raises
    ------
    InputError
        For settings, data or a run folder that do not fit.
    RunError
        If the loss is no longer finite.
    """
    began = time.monotonic()
    start_processes()
    run = check_run(config)
    network, scale = make_network(config.task, config.network)
    loss = combine(parse_loss(config.loss), stretch=config.network.stretch)
    data = find_data(config)
    open_run(run, config, data)
    mesh = make_mesh()
    say(f"{jax.device_count()} x {jax.devices()[0].device_kind}, {config.parallel}")

    optimiser = make_optimiser(config.optim, steps=config.steps)
    params = init(jax.random.key(config.seed), network, config.network.in_channels)
    state = place_state(init_state(params, optimiser), mesh)
    say(f"{sum(leaf.size for leaf in jax.tree.leaves(state.params)):,} weights")

    fixed: dict[str, Any] = {"network": network, "scale": scale}
    update = spread(
        functools.partial(train_step, loss=loss, optimiser=optimiser, **fixed),
        mesh,
        kind=config.parallel,
        donate=True,
    )
    rows = functools.partial(figures, scale=scale, loss=loss)
    evaluate = spread(functools.partial(eval_step, rows=rows, **fixed), mesh, kind=config.parallel)

    def validate(state: TrainState) -> dict[str, float]:
        params = averaged_params(state.params, state.opt_state)
        batches = (
            place_batch(batch, mesh, kind=config.parallel)
            for batch in validation_batches(config, data)
        )
        return mean_over(functools.partial(evaluate, params), batches)

    with open_checkpoints(run) as checkpoints:
        restored = restore(checkpoints, state)
        if restored is not None:
            state = restored
        elif config.init_from:
            params = other_params(config, like=params)
            state = place_state(init_state(params, optimiser), mesh)
        first = int(state.step)
        known = -1 if restored is None else first
        with (
            Metrics(run / METRICS, known, tensorboard=config.tensorboard) as metrics,
            closing(training_batches(config, data, start_step=first)) as batches,
        ):

            def keep(state: TrainState) -> None:
                step, means = int(state.step), finite(validate(state), int(state.step))
                metrics.write(step, "validation", means)
                say(table(step, means))
                save(checkpoints, state, about(config, data), loss=means["loss"])

            if restored is None:
                keep(state)
            else:
                say(f"{run}: going on from step {first}")
            steps = range(first + 1, config.steps + 1)
            for step in progress(steps, total=config.steps, first=first, label="training"):
                state, out = update(state, place_batch(next(batches), mesh, kind=config.parallel))
                last = step == config.steps
                if step % config.log_every == 0 or last:
                    row = finite({name: float(value) for name, value in out.items()}, step)
                    metrics.write(step, "train", row)
                if step % config.eval_every == 0 or last:
                    keep(state)
        checkpoints.wait_until_finished()
        best = checkpoints.best_step()
    say(summary(run, best, time.monotonic() - began))
    return run


def check_run(config: Config) -> Path:
    """Refuse a run folder that is something else or was made with other settings.

    Raises
    ------
    InputError
        Naming the flags that differ.
    """
    run = Path(config.run)
    if (run / CONFIG).exists():
        changed = differences(from_json(run / CONFIG), config)
        if changed:
            raise InputError(
                f"{run}: made with other settings ({'; '.join(changed)}); "
                "repeat them to resume, or choose another --run"
            )
    elif run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise InputError(f"{run}: exists and is not a run folder; choose another --run")
    return run


def open_run(run: Path, config: Config, data: str) -> None:
    """Make the run folder and write settings and manifest into it."""
    if jax.process_index() == 0:
        run.mkdir(parents=True, exist_ok=True)
        keep_manifest(run, data)
        replace_file(run / CONFIG, to_json(config).encode())


def other_params(config: Config, *, like: Any) -> Any:
    """Weights of ``--init_from``.

    Parameters
    ----------
    config : Config
        Names the run or model folder.
    like : pytree
        Weights of the shapes that are wanted.

    Raises
    ------
    InputError
        If the other model has another graph.
    """
    other = load_model(config.init_from)
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (like, other.params)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"--init_from={config.init_from}: its network does not fit --task={config.task} "
            f"--network.size={config.network.size} "
            f"--network.in_channels={config.network.in_channels}"
        )
    say(f"weights from {config.init_from}")
    return other.params


def finite(values: dict[str, float], step: int) -> dict[str, float]:
    """Pass figures on if the loss among them is a number.

    Raises
    ------
    RunError
        If it is not.
    """
    if not math.isfinite(values["loss"]):
        raise RunError(
            f"the loss is {values['loss']} at step {step}; look at grad_norm in {METRICS} just "
            "before, then try a smaller --optim.learning_rate or --optim.clip_norm=1 in a new --run"
        )
    return values


def about(config: Config, data: str) -> dict[str, Any]:
    """What is stored beside the weights in a checkpoint: versions, settings, data."""
    return {
        "version": __version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "config": json.loads(to_json(config)),
        "data": data,
    }


def summary(run: Path, best: int | None, seconds: float) -> str:
    """Last words: how good the best step is, what was written where, what to do with it."""
    rows = [row for row in read_metrics(run / METRICS) if row["split"] == "validation"]
    means = next(row for row in reversed(rows) if row["step"] == best)
    gain = means["prediction/PSNR"] - means["input/PSNR"]
    return (
        f"best step {best}: validation PSNR {means['prediction/PSNR']:.2f} dB, "
        f"input {means['input/PSNR']:.2f} dB, gain {gain:+.2f} dB\n"
        f"wrote {run}: {CONFIG}, {METRICS}, checkpoints/ in {duration(seconds)}\n"
        f"next: xmm-jax enhance IMAGE.fits --model={run}"
    )


if __name__ == "__main__":
    main()
