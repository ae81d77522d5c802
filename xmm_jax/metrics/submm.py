"""How well galaxies come back in a map at 450 um: completeness, purity, offsets, fluxes, beam.

The figures of Lauritsen et al. ("Super-resolving Herschel imaging", slides, Network output I-V).
`judge_field` makes a table of plain lists of one field, `xmm_jax.metrics.submm_figures.pool` the
figures of many tables. The slides do not say what makes a source real; our rule is `Rule`, and
`chance` next to a figure is what the same rule gives when the found sources are turned by 180
degrees on the sky: by luck alone.

Galaxies closer than the beam are one peak even in a perfect map: judge the target map itself as one
more method, or give ``detect(target)`` as the truth, to see what a beam of 7.9 arcsec allows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.metrics.submm_sources import (
    Sources,
    detect,
    isolated,
    match,
    stack_psf,
)

SUMS = ("n", "a", "b", "aa", "bb", "ab")
"""Number of pixels, sums of map and target, of their squares and of their product."""

# Of one field; plain JSON types, None where there is no value.
Table = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """What counts as a source and as the same one.

    Attributes
    ----------
    threshold_mjy : float
        Of the peaks [mJy]: 3 times the noise of the SCUBA-2 map of the slides, 1 mJy/beam.
    fwhm_pixel : float
        Beam of the maps [pixel]: 7.9 arcsec.
    radius_pixel : float
        Of a pair [pixel]: 12 arcsec, "positional reconstruction is generally inside 12 arcsec".
    least_mjy : float
        True sources below have no part in anything [mJy].
    share : float
        Least true flux over measured flux of a pair, ours. With 30 000 galaxies above 1 mJy per
        square degree (our estimate) one lies in any circle of 12 arcsec, and nothing could be
        false.
    edge_pixel : float
        Sources this close to the border take partners but are not counted [pixel].
    pixel_arcsec : float
        [arcsec].
    """

    threshold_mjy: float = 3.0
    fwhm_pixel: float = 7.9 / 2.0
    radius_pixel: float = 6.0
    least_mjy: float = 1.0
    share: float = 1 / 3
    edge_pixel: float = 6.0
    pixel_arcsec: float = 2.0


def judge_field(
    image: np.ndarray,
    truth: Sources,
    *,
    target: np.ndarray | None = None,
    rule: Rule | None = None,
    half_width: int = 15,
) -> Table:
    """Table of the sources of one map.

    Parameters
    ----------
    image : ndarray
        [mJy/beam], [y, x].
    truth : Sources
        Catalogue; entries of flux 0 are padding.
    target : ndarray, optional
        True map, same shape; for figures of pixels.
    rule : Rule, optional
        The default one if not given.
    half_width : int
        Of the stack [pixel].

    Returns
    -------
    dict
        ``true``: ``flux`` and ``measured`` [mJy], ``offset`` [arcsec] (None without partner) and
        ``chance``, whether the turned sky gives it one. ``found``: ``x``, ``y`` [pixel], ``flux``
        [mJy], ``real``, ``chance``, ``nearest_arcsec`` and ``nearest_mjy`` of the nearest true
        source, ``alike_arcsec`` to the nearest one of at least `share` of its flux. ``stack``:
        ``number`` and ``sum`` of the cut-outs of isolated true sources, on their found peaks.
        ``pixels``: sums over pixels, with a target.

    Raises
    ------
    InputError
        If image and target differ in shape.
    """
    rule = rule or Rule()
    if target is not None and target.shape != image.shape:
        raise InputError(f"map {image.shape} and target {target.shape}: expected one shape")
    there = np.asarray(truth.flux) >= max(rule.least_mjy, 1e-9)
    truth = Sources(*(np.asarray(column, float)[there] for column in truth))
    found = detect(image, threshold_mjy=rule.threshold_mjy, fwhm_pixel=rule.fwhm_pixel)
    height, width = image.shape
    turned = Sources(width - 1 - found.x, height - 1 - found.y, found.flux)
    pairs, by_chance = (
        match(some, truth, radius_pixel=rule.radius_pixel, share=rule.share)
        for some in (found, turned)
    )
    counted = {
        name: _inside(some, image.shape, rule.edge_pixel)
        for name, some in (("truth", truth), ("found", found))
    }
    alone = isolated(truth) & (pairs >= 0)
    peaks = Sources(*(column[pairs[alone]] for column in found))
    # Divided by what is there, the height of the stack is the share of the flux that came back.
    stamp, number = stack_psf(image, peaks._replace(flux=truth.flux[alone]), half_width)
    return {
        "true": _true_columns(found, truth, pairs, by_chance, rule, counted["truth"]),
        "found": _found_columns(found, truth, pairs, by_chance, rule, counted["found"]),
        "stack": {"number": number, "sum": (stamp * number).tolist()},
        "pixels": {} if target is None else _pixel_sums(image, target),
        "pixel_arcsec": rule.pixel_arcsec,
    }


def _pixel_sums(image: np.ndarray, target: np.ndarray) -> dict[str, float]:
    a, b = np.asarray(image, np.float64), np.asarray(target, np.float64)
    values = (a.size, a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum())
    return {name: float(value) for name, value in zip(SUMS, values, strict=True)}


def _true_columns(
    found: Sources,
    truth: Sources,
    pairs: np.ndarray,
    by_chance: np.ndarray,
    rule: Rule,
    counted: np.ndarray,
) -> Table:
    paired = pairs >= 0
    measured, offset = (np.full(len(pairs), np.nan) for _ in range(2))
    measured[paired] = found.flux[pairs[paired]]
    apart = np.hypot(
        found.x[pairs[paired]] - truth.x[paired], found.y[pairs[paired]] - truth.y[paired]
    )
    offset[paired] = apart * rule.pixel_arcsec
    return {
        "flux": truth.flux[counted].tolist(),
        "measured": _plain(measured[counted]),
        "offset": _plain(offset[counted]),
        "chance": (by_chance >= 0)[counted].tolist(),
    }


def _found_columns(
    found: Sources,
    truth: Sources,
    pairs: np.ndarray,
    by_chance: np.ndarray,
    rule: Rule,
    counted: np.ndarray,
) -> Table:
    apart = np.hypot(found.x[:, None] - truth.x, found.y[:, None] - truth.y) * rule.pixel_arcsec
    # A source at infinity, so that there is a nearest one in an empty field.
    apart = np.column_stack([apart, np.full(len(found.x), np.inf)])
    flux = np.append(truth.flux, np.nan)
    enough = np.append(truth.flux, np.inf) >= rule.share * found.flux[:, None]
    nearest = apart.argmin(axis=1) if len(found.x) else np.zeros(0, int)
    nearest[np.isinf(apart.min(axis=1, initial=np.inf))] = len(truth.x)
    place = np.arange(len(found.x))
    return {
        **{name: column[counted].tolist() for name, column in found._asdict().items()},
        "real": np.isin(place, pairs)[counted].tolist(),
        "chance": np.isin(place, by_chance)[counted].tolist(),
        "nearest_arcsec": _plain(apart[place, nearest][counted]),
        "nearest_mjy": _plain(flux[nearest][counted]),
        "alike_arcsec": _plain(np.where(enough, apart, np.inf).min(axis=1)[counted]),
    }


def _inside(sources: Sources, shape: tuple[int, ...], edge: float) -> np.ndarray:
    """Which sources are farther from the border than this [pixel]."""
    height, width = shape
    x, y = sources.x, sources.y
    return (x >= edge) & (x <= width - 1 - edge) & (y >= edge) & (y <= height - 1 - edge)


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
