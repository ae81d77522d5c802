"""Sources and pixels of several maps at 450 um of the same sky, and tables of them for people."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from xmm_jax.herschel.contenders import (
    METHODS,
    Contender,
    Tuning,
    deconvolution,
    tune,
    tune_iterations,
)
from xmm_jax.herschel.model import HerschelModel
from xmm_jax.herschel.region import Region
from xmm_jax.metrics.submm import Rule, Table, judge_field
from xmm_jax.metrics.submm_sources import Sources

TARGET = "target"
"""The map at 450 um itself: what a beam of 7.9 arcsec allows."""
TUNED_FIELDS, ITERATED_FIELDS = 20, 4
"""Fields from which classical methods learn: the colour; the iterations, which take longer."""
Shown = dict[str, np.ndarray]


def network(model: HerschelModel) -> Contender:
    """A trained network beside classical methods."""
    return lambda bands, tuning: model.super_resolve(bands)


def tuned(regions: Iterable[Region]) -> tuple[Tuning, dict[str, Contender]]:
    """Classical methods with what they can learn from fields that are not judged.

    Parameters
    ----------
    regions : iterable of Region
        Some; the first few choose how long the deconvolution goes on.

    Returns
    -------
    tuning : Tuning
        Colour and level of the fields.
    methods : dict of str to callable
        By name.
    """
    fields = [(region.bands, region.target[..., 0]) for region in regions]
    tuning = tune(fields)
    iterations = tune_iterations(fields[:ITERATED_FIELDS], tuning)
    slow = functools.partial(deconvolution, iterations=iterations)
    return tuning, METHODS | {"deconvolution": slow}


def judge_region(
    region: Region, contenders: Mapping[str, Contender], tuning: Tuning, *, rule: Rule
) -> tuple[dict[str, Table], Shown]:
    """What every contender makes of a region.

    Parameters
    ----------
    region : Region
        Drawn, or real; then sources of its map at 450 um are the true ones, and all maps are
        brought to its level, a mean of 0.
    contenders : mapping of str to callable
        By name.
    tuning : Tuning
        For classical ones.
    rule : Rule
        What counts as a source.

    Returns
    -------
    tables : dict of str to dict
        From `judge_field`, by contender, and one of the target.
    shown : dict of str to ndarray
        The maps [mJy/beam], the target last.
    """
    live, target = region.valid[..., 0], region.target[..., 0]
    shown = {}
    for name, contender in contenders.items():
        image = contender(region.bands, tuning)
        if region.both:
            image = image - image[live].mean()
        shown[name] = np.where(live, image, 0.0).astype(np.float32)
    shown[TARGET] = target
    truth = Sources(region.x, region.y, region.flux)
    tables = {
        name: judge_field(image, truth, target=target, rule=rule) for name, image in shown.items()
    }
    return tables, shown


Reading = Callable[[Mapping[str, Any]], str]

SUMMARY: dict[str, Reading] = {
    "compl>15": lambda row: _percent(row["headline"]["completeness"]),
    "purity>15": lambda row: _percent(row["headline"]["bright_purity"]),
    "purity": lambda row: _percent(row["headline"]["purity"]),
    "found": lambda row: str(row["offsets"]["found"]),
    'offset/"': lambda row: _number(row["offsets"]["median"]),
    'beyond 12"': lambda row: _percent(row["offsets"]["beyond_12"]),
    "flux>9": lambda row: _number(row["headline"]["flux_ratio"]),
    'beam/"': lambda row: _number(row["psf"]["fwhm"]),
    "RMS": lambda row: _number(row["pixels"]["rms"]),
    "corr": lambda row: _number(row["pixels"]["correlation"]),
}
"""Columns: shares of sources above 15 mJy, share of all found that is real, number found, median
offset, share of found ones without a like source within 12", measured over true flux above 9 mJy,
width of stacked sources, and pixels [mJy/beam]."""

CURVES: dict[str, Reading] = {
    "completeness": lambda bin: _percent(bin["value"]),
    "purity": lambda bin: _percent(bin["value"]),
    "flux": lambda bin: "-" if bin["median"] is None else f"{bin['median']:.2f}",
}


def summary(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """One row for each contender: what the slides quote.

    Parameters
    ----------
    figures : mapping of str to dict
        By contender, from `xmm_jax.metrics.submm_figures.pool`.
    """
    lines = [f"{'':<20}" + "".join(f"{name:>11}" for name in SUMMARY)]
    for name, row in figures.items():
        lines.append(f"{name:<20}" + "".join(f"{read(row):>11}" for read in SUMMARY.values()))
    return "\n".join(lines)


def curve(figures: Mapping[str, Mapping[str, Any]], which: str) -> str:
    """Figures by flux, a row a contender; which: ``completeness``, ``purity`` or ``flux``."""
    bins = next(iter(figures.values()))[which]
    names = [f"{bin['low']:g}-{bin['high']:g}" for bin in bins[:-1]] + [f">{bins[-1]['low']:g}"]
    lines = [f"{which:<20}" + "".join(f"{name:>8}" for name in names) + "  mJy"]
    for name, row in figures.items():
        lines.append(f"{name:<20}" + "".join(f"{CURVES[which](bin):>8}" for bin in row[which]))
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
