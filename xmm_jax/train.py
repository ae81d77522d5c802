"""Train a network: ``python -m xmm_jax.train --task=sr``.

Reads from top to bottom: settings, data, devices, network, state, restore, loop, finish. The same
command on the same run folder resumes, whatever ended it. What is reusable lives in `step`,
`optim`, `parallel`, `checkpoint` and `dataset`.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import jax

from xmm_jax import provenance
from xmm_jax.backend import keep_programs, use_deterministic_kernels
from xmm_jax.checkpoint import (
    CONFIG,
    METRICS,
    Checkpoints,
    best_step,
    digest,
    eligible,
    open_checkpoints,
    restore,
    save,
    wait,
)
from xmm_jax.compile_only import compile_only
from xmm_jax.config import RunConfig
from xmm_jax.config_file import differences, to_json
from xmm_jax.data.folder import cache_folder, replace_file, replacing
from xmm_jax.errors import InputError, RunError, command
from xmm_jax.feed import feed
from xmm_jax.lines import LINES, line_of, read_config
from xmm_jax.log import Metrics, duration, progress, read_metrics, say, validation_losses
from xmm_jax.parallel import check_split, make_mesh, place_batch, place_state, spread
from xmm_jax.processes import failing_together, start_processes
from xmm_jax.signals import TRY_AGAIN, watch
from xmm_jax.validation import mean_over


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    config = line_of(argv).parse(argv)
    if config.deterministic:
        use_deterministic_kernels()
    start_processes(config)
    keep_programs(cache_folder() / "xla")
    if config.compile_only:
        say(compile_only(config))
        return
    with failing_together(), watch() as asked:
        train(config, asked)


def train(config: RunConfig, asked: Callable[[], bool] = lambda: False) -> Path:
    """Train one network, or go on with a run that was stopped.

    Parameters
    ----------
    config : RunConfig
        All settings, of whatever task.
    asked : callable
        Whether to save and leave now (`xmm_jax.signals.watch`).

    Returns
    -------
    Path
        The run folder: ``config.json run.json metrics.jsonl checkpoints/``.

    Raises
    ------
    InputError
        For settings, data or a run folder that do not fit.
    RunError
        If the loss is no longer finite, or a checkpoint can be neither written nor read.
    SystemExit
        With code 75 if it was asked to leave.
    """
    began = time.monotonic()
    line = LINES[config.task]
    run = check_run(config)
    learner = line.learn(config)
    mesh = make_mesh(config.devices)
    check_split(config.batch_size, mesh)
    data = line.find_data(config)
    origin = open_run(run, config, data)
    say(f"{mesh.size} x {jax.devices()[0].device_kind}, {config.parallel}")

    state = place_state(learner.start(), mesh)
    say(f"{sum(leaf.size for leaf in jax.tree.leaves(state.params)):,} weights")

    place = functools.partial(place_batch, mesh=mesh, kind=config.parallel)
    compiled = functools.partial(spread, mesh=mesh, kind=config.parallel)
    update, evaluate = compiled(learner.update, donate=True), compiled(learner.evaluate)

    losses: dict[int, float] = {}
    with open_checkpoints(run, losses) as checkpoints:
        restored, damaged = restore(checkpoints, state)
        for folder, fault in damaged.items():
            say(f"warning: a damaged checkpoint was moved to {folder} ({fault})")
        if restored is not None:
            state = restored
            say(f"{run}: going on from step {int(state.step)}")
        elif config.init_from:
            state = place_state(learner.adopt(state, config.init_from), mesh)
        first = int(state.step)
        known = -1 if restored is None else first
        losses |= validation_losses(run / METRICS, last_step=known)

        def leave_if_asked(state: Any) -> None:
            if asked():
                save_and_leave(run, checkpoints, state, origin)

        def batches_to_validate(state: Any) -> Iterator[Any]:
            for batch in line.validation_batches(config, data):
                leave_if_asked(state)
                yield place(batch)

        def keep(state: Any) -> None:
            save(checkpoints, state, origin)  # written while the validation runs
            step, weights = int(state.step), learner.weights(state)
            means = mean_over(functools.partial(evaluate, weights), batches_to_validate(state))
            metrics.write(step, "validation", finite(means, step))
            losses[step] = means["loss"]
            say(line.table(step, means))

        with (
            Metrics(run / METRICS, known, tensorboard=config.tensorboard) as metrics,
            closing(line.training_batches(config, data, start_step=first)) as drawn,
            closing(feed(drawn, place)) as batches,
        ):
            if is_due(config, first) and first not in losses:
                keep(state)
            steps = range(first + 1, config.steps + 1)
            for step in progress(steps, total=config.steps, first=first, label="training"):
                state, out = update(state, next(batches))
                if step % config.log_every == 0 or step == config.steps:
                    row = finite({name: float(value) for name, value in out.items()}, step)
                    metrics.write(step, "train", row)
                if is_due(config, step):
                    keep(state)
                leave_if_asked(state)
        wait(checkpoints)
        used = best_step(checkpoints.all_steps(), eligible(losses, config.use))
    say(f"weights {digest(state.params)[:12]}")
    say(summary(config, run, used, time.monotonic() - began))
    return run


def save_and_leave(
    run: Path, checkpoints: Checkpoints, state: Any, origin: dict[str, Any]
) -> NoReturn:
    """Save, with its origin, and end the run, so that the same command goes on from here."""
    save(checkpoints, state, origin)
    wait(checkpoints)
    say(f"{run}: asked to stop, saved at step {int(state.step)}; the same command goes on")
    raise SystemExit(TRY_AGAIN)


def is_due(config: RunConfig, step: int) -> bool:
    """Whether a step is saved and validated: the first, every ``eval_every``-th, and the last."""
    return step % config.eval_every == 0 or step == config.steps


def check_run(config: RunConfig) -> Path:
    """Refuse a run folder that is something else or was made with other settings.

    Raises
    ------
    InputError
        Naming the flags that differ.
    """
    run = Path(config.run)
    if (run / CONFIG).exists():
        changed = differences(read_config(run / CONFIG), config)
        if changed:
            raise InputError(
                f"{run}: made with other settings ({'; '.join(changed)}); "
                "repeat them to resume, or choose another --run"
            )
    elif run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise InputError(f"{run}: exists and is not a run folder; choose another --run")
    return run


def open_run(run: Path, config: RunConfig, data: str) -> dict[str, Any]:
    """Make the run folder and write into it what the run is made from.

    Returns
    -------
    dict
        The new entry of ``run.json``.
    """
    line, settings = LINES[config.task], to_json(config).encode()
    if jax.process_index() == 0:
        if not (run / CONFIG).exists():
            # In one stroke: a folder without settings would not be known as ours after a crash.
            with replacing(run.absolute(), overwrite=False, ours=CONFIG, resume="new") as partial:
                (partial / CONFIG).write_bytes(settings)
        else:
            replace_file(run / CONFIG, settings)
        line.keep_data(config, run, data)
    mark = line.data_digest(config, data)
    entry = provenance.describe(dataclasses.asdict(config), data=data, data_digest=mark)
    if jax.process_index() == 0:
        provenance.add_start(run, entry)
    return entry


def finite(values: dict[str, float], step: int) -> dict[str, float]:
    """Pass values on if the loss among them is a number.

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


def summary(config: RunConfig, run: Path, used: int | None, seconds: float) -> str:
    """Last words: how good the step used is, what was written where in what seconds, what next."""
    rows = [row for row in read_metrics(run / METRICS) if row["split"] == "validation"]
    found, following = LINES[config.task].closing(
        run, next(r for r in reversed(rows) if r["step"] == used)
    )
    return (
        f"{config.use} step {used}: {found}\n"
        f"wrote {run}: {CONFIG}, {provenance.RUN}, {METRICS}, checkpoints/ in {duration(seconds)}\n"
        f"next: {following}"
    )


if __name__ == "__main__":
    main()
