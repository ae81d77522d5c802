"""What a model is, for people: the Markdown page in its folder."""

from typing import TYPE_CHECKING

import jax

from xmm_jax.config import TASKS
from xmm_jax.models import describe

if TYPE_CHECKING:
    from xmm_jax.model import Model


def card(model: "Model") -> str:
    """Model card: input, output, network, training, scores, limits, licence.

    Parameters
    ----------
    model : Model
        The model.

    Returns
    -------
    str
        Markdown.
    """
    task, network = TASKS[model.task], describe(model.network)
    size = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    background = "with" if task.target_background else "without"
    lines = [
        f"# xmm_jax model: {model.task}",
        "",
        "Input: EPIC-pn image, 0.5-2 keV, DETX/DETY, 4 arcsec pixels, counts and exposure [s]; "
        f"trained at {_exposures(model)}.",
        f"Output: count rate {background} background at {4 / task.upscale:g} arcsec pixels, as in "
        f"{task.target_exposure_s / 1000:g} ks.",
        "",
        f"- network: {network['name']}, {network['filters']} filters, {network['blocks']} blocks, "
        f"{model.scale.in_channels} input channels, {size:,} parameters",
        f"- units: {_units(model)}",
        *(["- answer: mean over the four mirror images"] if model.symmetric else []),
        *(f"- {name}: {value}" for name, value in model.origin.items()),
        *_scores(model),
        "",
        _errors(model),
        "",
        "Method: Sweere et al. 2022, MNRAS 517, 4054. Weights: BSD-3 as the code.",
    ]
    return "\n".join(lines) + "\n"


def _exposures(model: "Model") -> str:
    low, high = (seconds / 1000 for seconds in model.domain.exposure_s)
    return f"{low:g} ks" if low == high else f"{low:g} to {high:g} ks"


def _units(model: "Model") -> str:
    scale = model.scale
    if not scale.clips:
        return "square roots of counts; no pixel is too bright"
    return (
        f"{scale.stretch} stretch of the rate clipped at {scale.clip_rate:g} count/s per "
        f"input pixel and {scale.target_clip_rate:g} count/s per output pixel; brighter pixels "
        "saturate and are flagged in DQ"
    )


def _scores(model: "Model") -> list[str]:
    """Measured scores beside those of others: a table for each set of fields."""
    lines = []
    for name, rows in model.scores.items():
        columns = list(next(iter(rows.values())))
        lines += ["", f"**{name}**", "", f"| | {' | '.join(columns)} |"]
        lines.append("| --- |" + " --- |" * len(columns))
        for row, values in rows.items():
            lines.append(f"| {row} | {' | '.join(f'{values[c]:.4g}' for c in columns)} |")
    return lines


def _errors(model: "Model") -> str:
    if model.intervals is None:
        return (
            "Do not measure fluxes of single pixels on the output: it is an estimate without error "
            "bars. Go back to the counts for photometry."
        )
    return (
        "Error bars are calibrated on simulated fields: see docs/errors.md for what they promise "
        "and what not. Errors of neighbouring pixels are not independent; go back to the counts "
        "for photometry."
    )
