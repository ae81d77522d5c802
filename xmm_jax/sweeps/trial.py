"""One point of a grid: its settings, its training, and what came out."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from xmm_jax.checkpoint import METRICS
from xmm_jax.config import TASKS, Config
from xmm_jax.data.manifest import read_manifest
from xmm_jax.data.pipeline import used
from xmm_jax.dataset import find_data, validation_batches
from xmm_jax.errors import InputError
from xmm_jax.log import plain, validation_losses
from xmm_jax.metrics.image import compare
from xmm_jax.model import Model, load_model
from xmm_jax.models.stretch import rate
from xmm_jax.presets import parse
from xmm_jax.sweeps.grids import GRIDS, SMALLEST_MS_SSIM, STRETCHES, Grid, axes_of, points
from xmm_jax.sweeps.rank import HIGH_LOSS
from xmm_jax.sweeps.study import SILENCE_S
from xmm_jax.train import train

LARGEST_LOSS = 1.0
"""A validation loss from here on marks a failed trial: losses are normalised to about 0 to 1."""
BLANK = 0.01
"""An image whose pixels differ by less than this part of the clip rate is blank."""


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """Which grid is tried, on what, where."""

    grid: Literal["model", "data", "model-small", "data-small", "tiny"] = "tiny"
    """model: 180 networks (appendix C). data: sums of losses x stretches (appendix D).
    -small: the same questions for a night of two CPU cores. tiny: 4 trials."""
    task: Literal["sr", "dn"] = "sr"
    """sr: finer pixels, half the PSF, no background. dn: less noise, the same pixels."""
    study: str = ""
    """Folder of the study, for all processes the same; a study that is there goes on. Needed."""
    data: str = ""
    """Folder of records; empty: simulated ones of --fields fields, made once."""
    fields: int = 96
    """Simulated fields, if there is no --data."""
    share: float = 0.25
    """Share of the training examples to use."""
    crop: int = 128
    """Side of the crop about the optical axis [4" pixel]."""
    epochs: int = 50
    """How often each example is seen."""
    seed: int = 0
    """Seed of weights and data order, the same for all trials."""
    silence_s: float = SILENCE_S
    """A process that shows no life for so long [s] is dead, and its trial handed out again."""


def prepare(
    config: SweepConfig, study: Path
) -> tuple[dict[str, tuple[str, ...]], list[dict[str, str]], list[Config]]:
    """Axes, points and settings of all trials; the data are found or made.

    Parameters
    ----------
    config : SweepConfig
        Which.
    study : Path
        Where runs go.

    Raises
    ------
    InputError
        For settings or data that do not work.
    """
    if config.epochs < 1 or config.fields < 1 or config.crop < 1:
        raise InputError("--epochs, --fields and --crop must be at least 1")
    grid = GRIDS[config.grid]
    axes = axes_of(grid, target_side=config.crop * TASKS[config.task].upscale)
    tried = points(axes)
    first = settings(config, grid, tried[0], data=config.data, steps=1, run="")
    data = find_data(first)
    examples = used(read_manifest(data).splits["train"].examples, config.share)
    found = []
    for number, point in enumerate(tried):
        batch = int({**grid.base, **point}["batch_size"])
        steps = max(math.ceil(config.epochs * examples / batch), 1)
        run = str(study / "runs" / f"{number:04}")
        found.append(settings(config, grid, point, data=data, steps=steps, run=run))
    return axes, tried, found


def settings(
    config: SweepConfig, grid: Grid, point: Mapping[str, str], *, data: str, steps: int, run: str
) -> Config:
    """Settings of a trial.

    Parameters
    ----------
    config, grid : SweepConfig, Grid
        Of the study.
    point : mapping of str to str
        Values of the flags of the grid.
    data : str
        Folder of records, or empty.
    steps : int
        Updates in all.
    run : str
        Run folder, or empty.
    """
    flags = {
        "task": config.task,
        "preset": "paper",
        "data": data,
        "run": run or "unused",
        "seed": str(config.seed),
        "share": str(config.share),
        "crop": str(config.crop),
        "place": "boresight",
        "steps": str(steps),
        "eval_every": str(math.ceil(steps / 10)),
        "log_every": str(math.ceil(steps / 50)),
        "simulated.fields": str(config.fields),
        "devices": "1",  # batches of 2 cannot be shared by 4; start a process for every device
    }
    return parse([f"--{name}={value}" for name, value in {**flags, **grid.base, **point}.items()])


def run_trial(config: Config, asked: Callable[[], bool]) -> dict[str, Any]:
    """Train a point and judge it; a run folder that is there goes on.

    Parameters
    ----------
    config : Config
        Settings.
    asked : callable
        Whether to save and leave now.

    Returns
    -------
    dict
        ``loss`` of the best validation; ``figures`` by ``STRETCH/MEASURE``; ``failed``, why the
        trial is marked so, or an empty text; ``seconds``. Plain JSON types.

    Raises
    ------
    RunError
        If the loss is no longer finite.
    SystemExit
        With code 75 if it was asked to leave.
    """
    began = time.monotonic()
    run = train(config, asked)
    loss = min(validation_losses(run / METRICS).values())
    found, blank = judge(load_model(run), config)
    failed = f"{HIGH_LOSS} {loss:.3g}" if loss >= LARGEST_LOSS else ""
    if blank:
        failed = "blank images"
    seconds = time.monotonic() - began
    return plain({"loss": loss, "figures": found, "failed": failed, "seconds": seconds})


def judge(model: Model, config: Config) -> tuple[dict[str, float], bool]:
    """Figures under every stretch, means over validation fields, and whether all are blank."""
    clip_rate = config.network.target_clip_rate
    side = config.crop * TASKS[config.task].upscale
    names = ["PSNR", "L1", "Poisson", "SSIM"] + ["MS_SSIM"] * (side > SMALLEST_MS_SSIM)
    totals: dict[str, float] = {}
    number, flat = 0.0, True
    for batch in validation_batches(config, config.data):
        live, weight = batch["target_valid"], np.asarray(batch["weight"])
        image = jnp.asarray(model.predict(batch))
        truth = rate(batch["target"], batch["target_exposure"], live)
        number += float(weight.sum())
        flat &= bool(np.ptp(np.where(live, image, 0.0)) < BLANK * clip_rate)
        for stretch in STRETCHES:
            found = compare(
                image, truth, clip_rate=clip_rate, stretch=stretch, names=names, valid=live
            )
            for name, values in found.items():
                key = f"{stretch}/{name}"
                totals[key] = totals.get(key, 0.0) + float(np.dot(np.asarray(values), weight))
    return {name: value / number for name, value in totals.items()}, flat
