"""Figures of a validation pass, for the prediction and, beside it, for the input itself.

Figures follow the paper's convention (count rate over the target's clip rate, clamped to [0, 1],
dead pixels zero), so the *input* row is what doing nothing scores.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax.metrics.image import compare, upsample_input
from xmm_jax.models.stretch import Scale, rate, to_rate, to_target
from xmm_jax.step import Batch, Loss

ROWS = ("input", "prediction")
COLUMNS = ("PSNR", "L1", "Poisson", "SSIM", "MS_SSIM")


def figures(outputs: jax.Array, batch: Batch, *, scale: Scale, loss: Loss) -> dict[str, jax.Array]:
    """Figures of one batch, one value per image.

    Parameters
    ----------
    outputs : array
        What the network says, network units, ``[b, s*y, s*x, 1]``.
    batch : mapping of str to array
        Input and target, see `xmm_jax.step`.
    scale : Scale
        Units of the network.
    loss : callable
        The loss that is trained.

    Returns
    -------
    dict of str to array
        ``loss`` in network units; ``input/PSNR`` ... ``prediction/MS_SSIM``.
    """
    valid = batch["target_valid"]
    exposure = batch["exposure"]
    target = to_target(scale, batch["target"], batch["target_exposure"], valid, exposure)
    outputs = jnp.where(valid, outputs, 0.0)
    truth = rate(batch["target"], batch["target_exposure"], valid)
    seen = rate(batch["counts"], batch["exposure"], batch["valid"])
    shown = {
        "input": upsample_input(seen, scale.upscale),
        "prediction": to_rate(scale, outputs[..., :1], exposure),
    }
    return {"loss": loss(outputs, target)} | {
        f"{row}/{name}": value
        for row in ROWS
        for name, value in compare(
            jnp.where(valid, shown[row], 0.0), truth, clip_rate=scale.target_clip_rate
        ).items()
    }


def mean_over(
    evaluate: Callable[[Any], dict[str, Any]], batches: Iterable[Any]
) -> dict[str, float]:
    """Mean of every figure over the images of all batches, and their number as ``images``.

    Parameters
    ----------
    evaluate : callable
        Batch -> weighted sums and ``weight`` (`xmm_jax.step.eval_step`).
    batches : iterable
        What to evaluate.
    """
    sums: Counter[str] = Counter()
    for batch in batches:
        sums.update({name: float(value) for name, value in evaluate(batch).items()})
    weight = sums.pop("weight")
    return {name: value / weight for name, value in sums.items()}


def table(step: int, means: Mapping[str, float], columns: Sequence[str] = COLUMNS) -> str:
    """Input and prediction after a step: means in columns, for a person to compare."""
    head = f"step {step}: validation loss {means['loss']:.4f}"
    wide = max(10, *(len(name) + 2 for name in columns))
    lines = [f"{head:<34}" + "".join(f"{name:>{wide}}" for name in columns)]
    for row in ROWS:
        # Small frames have no MS-SSIM.
        values = "".join(f"{means.get(f'{row}/{name}', math.nan):>{wide}.4g}" for name in columns)
        lines.append(f"{row:>32}  {values}")
    return "\n".join(lines)
