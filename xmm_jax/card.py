"""What a model is, for people: the Markdown page in its folder, and the scores that stand there."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from xmm_jax.config import TASKS
from xmm_jax.errors import InputError
from xmm_jax.models import describe

if TYPE_CHECKING:
    from xmm_jax.model import Model

# Figures of a card, and by how much a second training by the same command may be worse. Two runs
# of `dn`, other seed of the skies and 4000 or 6000 steps, differ by less.
FIGURES = {"PSNR": 0.3, "bits": 0.02, "SSIM": 0.005, "MS_SSIM": 0.002, "HaarPSI": 0.015}
OWN = "this model"

# Set of fields -> method -> figure -> mean.
Scores = dict[str, dict[str, dict[str, float]]]


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


def scores_of(metrics: Mapping[str, Any]) -> Scores:
    """What an evaluation found, as it stands on a card.

    Parameters
    ----------
    metrics : mapping
        Content of ``metrics.json`` of `xmm_jax.evaluate`. Its network is `OWN` if it is the only
        one.

    Returns
    -------
    dict
        One set of fields, named after their number, their protocol and their digest.
    """
    asked, found = metrics["settings"], metrics["set"]
    name = f"{found['fields']} {asked['protocol']} fields for {asked['task']}, "
    networks = [one["name"] for one in metrics["methods"] if one["ours"]]
    own = networks if len(networks) == 1 else []
    rows = {
        OWN if row in own else row: {
            figure: means[figure][0] for figure in FIGURES if figure in means
        }
        for row, means in metrics["summary"].items()
    }
    return {name + found["digest"][:6]: rows}


def compare_scores(scores: Scores, metrics: Mapping[str, Any]) -> tuple[str, bool]:
    """Set the networks of an evaluation beside the card of a model.

    Parameters
    ----------
    scores : dict
        Of the model.
    metrics : mapping
        Content of ``metrics.json``, of a set of fields that the card has too.

    Returns
    -------
    text : str
        A line for each network and figure.
    worse : bool
        Whether any is worse by more than `FIGURES` allow.

    Raises
    ------
    InputError
        If the card has no scores of these fields.
    """
    ((name, found),) = scores_of(metrics).items()
    if OWN not in scores.get(name, {}):
        known = "; ".join(scores) or "none"
        raise InputError(f"the card has no scores of {name}; evaluate on one it has: {known}")
    card_says, lines, worse = scores[name][OWN], [f"{name}, beside the card:"], False
    names = {OWN, *(one["name"] for one in metrics["methods"] if one["ours"])}
    for row in [row for row in found if row in names]:
        for figure, allowed in FIGURES.items():
            if figure not in card_says or figure not in found[row]:
                continue
            more = found[row][figure] - card_says[figure]
            low = more < -allowed
            worse |= low
            remark = f"worse by more than {allowed:g}" if low else "as good"
            lines.append(f"{row:20s} {figure:8s} {found[row][figure]:10.4f} {more:+9.4f}  {remark}")
    return "\n".join(lines), worse
