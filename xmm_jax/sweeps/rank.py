"""Trials of a study as a table: which are kept, one score of many figures, correlations."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.sweeps.grids import LOSSES, STRETCHES
from xmm_jax.sweeps.study import JOURNAL, open_study

HIGHER = ("PSNR", "SSIM", "MS_SSIM")
"""Measures of which more is better; of the others, L1 and Poisson, less is."""
LOSS_CUT, BATCH_CUT, RATES = 0.434, 8, (5e-5, 1e-4)
"""Appendix C drops losses from the first on, the second batch size, other learning rates."""
HIGH_LOSS = "validation loss"
"""How the mark begins of a trial that has images and figures, and a loss of 1 or more."""


class Row(NamedTuple):
    """A finished trial.

    Attributes
    ----------
    number : int
        Of its point.
    point : dict of str to str
        Its settings by flag.
    loss : float
        Of the best validation, NaN if it has none.
    figures : dict of str to float
        By ``STRETCH/MEASURE``.
    failed : str
        Why it is marked, or empty.
    seconds : float
        Of training and judging [s].
    """

    number: int
    point: dict[str, str]
    loss: float
    figures: dict[str, float]
    failed: str
    seconds: float


def read_trials(folder: Path) -> list[Row]:
    """Finished trials of a study, by the number of their point.

    Parameters
    ----------
    folder : Path
        Of the study.

    Raises
    ------
    InputError
        If there is no study.
    """
    if not (folder / JOURNAL).exists():
        raise InputError(f"{folder}: no study in there; `xmm-jax sweep --study={folder}` makes one")
    rows: dict[int, Row] = {}
    for trial in open_study(folder, {"any": ("",)}).get_trials(deepcopy=False):
        kept = trial.user_attrs
        complete, failed = trial.state.name == "COMPLETE", kept.get("failed", "")
        if "point" in kept and (complete or failed):
            loss = trial.value if complete else math.nan
            figures, seconds = kept.get("figures", {}), kept.get("seconds", math.nan)
            number = kept["point"]
            rows[number] = Row(number, dict(trial.params), loss, figures, failed, seconds)
    return [rows[number] for number in sorted(rows)]


def kept_by_paper(row: Row) -> bool:
    """Whether the filter of appendix C keeps a trial."""
    point = row.point
    return (
        row.loss < LOSS_CUT
        and int(point.get("batch_size", "0")) != BATCH_CUT
        and RATES[0] <= float(point.get("optim.learning_rate", RATES[0])) <= RATES[1]
    )


def scores(rows: Sequence[Row], figures: Sequence[str]) -> np.ndarray:
    """Combined score of appendix D; less is better.

    Figures, those where more is better inverted, are brought to 0 to 1 over the trials and summed.

    Parameters
    ----------
    rows : sequence of Row
        Trials, all with these figures.
    figures : sequence of str
        Names.

    Returns
    -------
    ndarray
        One per trial, 0 to the number of figures.
    """
    total = np.zeros(len(rows))
    for name in figures:
        values = np.array([row.figures[name] for row in rows])
        values = -values if is_higher(name) else values
        span = float(np.ptp(values)) if len(values) else 0.0
        total += (values - values.min()) / span if span > 0 else 0.0
    return total


def is_higher(figure: str) -> bool:
    """Whether more of a figure is better."""
    return figure.split("/")[-1] in HIGHER


def common_figures(rows: Sequence[Row]) -> list[str]:
    """Figures that all trials have, each finite."""
    if not rows:
        return []
    return [
        name
        for name in rows[0].figures
        if all(math.isfinite(row.figures.get(name, math.nan)) for row in rows)
    ]


def columns_of(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """What differs between trials, as numbers, each [row].

    Numbers are as they are, learning rates by their logarithm; sums of losses become 0 or 1 for
    each loss, stretches 0 or 1 for each stretch.
    """
    found: dict[str, np.ndarray] = {}
    for name in rows[0].point if rows else ():
        values = [row.point[name] for row in rows]
        if name == "loss":
            parts = [value.split("+") for value in values]
            found |= {loss: np.array([loss in p for p in parts], float) for loss in LOSSES}
        elif name == "network.stretch":
            found |= {s: np.array([value == s for value in values], float) for s in STRETCHES}
        elif name == "optim.learning_rate":
            found["log learning_rate"] = np.log10([float(value) for value in values])
        else:
            found[name.split(".")[-1]] = np.array([float(value) for value in values])
    return {name: values for name, values in found.items() if np.ptp(values) > 0}


def correlations(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pearson's coefficient of every pair, ``[one, other]``; NaN where one does not vary."""
    table = np.full((len(one), len(other)), np.nan)
    for i, a in enumerate(one.values()):
        for j, b in enumerate(other.values()):
            if np.ptp(a) > 0 and np.ptp(b) > 0:
                table[i, j] = np.corrcoef(a, b)[0, 1]
    return table


def to_json(rows: Sequence[Row], total: np.ndarray) -> str:
    """Trials with their scores (total, [row]), best first, as JSON."""
    order = np.argsort(total, kind="stable")
    listed = [rows[i]._asdict() | {"score": float(total[i])} for i in order]
    return json.dumps(listed, indent=1) + "\n"
