"""Figures of galaxies in maps at 450 um, pooled over fields, and the marks of the slides.

From the tables of `xmm_jax.metrics.submm.judge_field`; numbers of the seed are those of the slides
of Lauritsen et al., "Super-resolving Herschel imaging", Network output I-V.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.metrics.submm import SUMS, Table
from xmm_jax.metrics.submm_sources import beam_fwhm

EDGES = (1.0, 2.0, 4.0, 6.0, 9.0, 12.0, 15.0, 20.0, 30.0, 50.0)
"""Of the bins of flux [mJy]; the last bin has all brighter ones too."""

SEED_COMPLETENESS, SEED_COMPLETENESS_MJY = 0.95, 15.0
SEED_PURITY = 0.87
SEED_FLUX_MJY = 9.0
"""Of the slides: completeness above 15 mJy, least purity, least flux that comes back well."""

FAR_ARCSEC = (12.0, 20.0)
"""Offsets that the slides name: mostly below the first, a few beyond the second."""


def pool(tables: Sequence[Table], *, edges: Sequence[float] = EDGES) -> dict[str, Any]:
    """Figures of many fields.

    Parameters
    ----------
    tables : sequence of dict
        From `xmm_jax.metrics.submm.judge_field`, one rule for all.
    edges : sequence of float
        Of the bins of flux [mJy].

    Returns
    -------
    dict
        ``fields``; ``completeness`` by true and ``purity`` by measured flux, rows of `rates`;
        ``flux`` of `flux_curve`; ``offsets`` of `offsets`; ``false`` of `false_sources`; ``pixels``
        and ``psf``; ``headline``, what the slides quote: ``completeness`` above 15 mJy, ``purity``
        of all, ``bright_purity`` above 15 mJy, ``lowest_purity`` of bins with 10 sources,
        ``flux_ratio`` above 9 mJy. Plain JSON types, None where there is no value.

    Raises
    ------
    InputError
        Without a table.
    """
    if not tables:
        raise InputError("there is no field to pool figures of; judge one at least")
    lengths = {len(table["stack"]["sum"]) for table in tables}
    if len(lengths) > 1:
        raise InputError(
            f"stacks of {sorted(lengths)} pixels a side cannot be pooled; make them alike"
        )
    true, found = (_joined(tables, name) for name in ("true", "found"))
    seen = np.isfinite(true["measured"])
    purity = rates(found["flux"], found["real"] > 0, found["chance"] > 0, edges=edges)
    bright = true["flux"] >= SEED_COMPLETENESS_MJY
    strong = found["flux"] >= SEED_COMPLETENESS_MJY
    good = seen & (true["flux"] >= SEED_FLUX_MJY)
    ratios = true["measured"][good] / true["flux"][good]
    worst = [row["value"] for row in purity if row["number"] >= 10]
    return {
        "fields": len(tables),
        "completeness": completeness(true, edges=edges),
        "purity": purity,
        "flux": flux_curve(true["flux"], true["measured"], edges=edges),
        "offsets": offsets(true["offset"][seen], found["alike_arcsec"]),
        "false": false_sources(tables),
        "pixels": pixel_figures([table["pixels"] for table in tables if table["pixels"]]),
        "psf": _psf([table["stack"] for table in tables], float(tables[0]["pixel_arcsec"])),
        "headline": {
            "completeness": _share(int(seen[bright].sum()), int(bright.sum())),
            "purity": _share(int(found["real"].sum()), len(found["real"])),
            "bright_purity": _share(int(np.sum(found["real"][strong])), int(strong.sum())),
            "lowest_purity": min(worst) if worst else None,
            "flux_ratio": _plain(float(np.median(ratios)) if len(ratios) else math.nan),
        },
    }


def rates(
    flux: np.ndarray, good: np.ndarray, chance: np.ndarray, *, edges: Sequence[float] = EDGES
) -> list[dict[str, Any]]:
    """Share of sources that are good, by flux.

    Parameters
    ----------
    flux : ndarray
        [mJy].
    good, chance : ndarray of bool
        Which are, and which would be by luck.
    edges : sequence of float
        Of the bins [mJy].

    Returns
    -------
    list of dict
        Of each bin ``low``, ``high`` [mJy], ``number``, ``good``, ``value``, ``error`` (lower and
        upper end of the 68 % interval of `wilson`) and ``chance``.
    """
    rows, place = [], _bins(flux, edges)
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = place == number
        total, right = int(inside.sum()), int(np.sum(good[inside]))
        rows.append({"low": float(low), "high": float(high), "number": total, "good": right,
            "value": _share(right, total), "error": list(wilson(right, total)) if total else None,
            "chance": _share(int(np.sum(chance[inside])), total)})  # fmt: skip
    return rows


def completeness(
    true: Mapping[str, np.ndarray], *, edges: Sequence[float] = EDGES
) -> list[dict[str, Any]]:
    """Share of true sources that have a partner, TP / (TP + FN), by true flux.

    Rows of `rates`, bins with these edges [mJy].
    """
    return rates(true["flux"], np.isfinite(true["measured"]), true["chance"] > 0, edges=edges)


def wilson(good: int, number: int) -> tuple[float, float]:
    """Interval of 68.3 % of good / number (Wilson 1927, JASA 22, 209, 1 sigma); 0 to 1 if none."""
    if not number:
        return 0.0, 1.0
    share = good / number
    middle = (share + 0.5 / number) / (1 + 1 / number)
    half = math.sqrt(share * (1 - share) / number + 0.25 / number**2) / (1 + 1 / number)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def flux_curve(
    flux: np.ndarray, measured: np.ndarray, *, edges: Sequence[float] = EDGES
) -> list[dict[str, Any]]:
    """Measured over true flux of found sources, by true flux.

    Parameters
    ----------
    flux, measured : ndarray
        [mJy], NaN where nothing was found. The rule lets no ratio exceed 1 / share.
    edges : sequence of float
        Of the bins [mJy].

    Returns
    -------
    list of dict
        Of each bin ``low``, ``high``, ``number`` found, ``median`` and ``p16``, ``p84`` of the
        ratio.
    """
    rows, place, seen = [], _bins(flux, edges), np.isfinite(measured)
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = seen & (place == number)
        marks = [math.nan] * 3
        if inside.any():
            marks = np.quantile(measured[inside] / flux[inside], (0.16, 0.5, 0.84)).tolist()
        p16, median, p84 = map(_plain, marks)
        rows.append({"low": float(low), "high": float(high), "number": int(inside.sum()),
            "median": median, "p16": p16, "p84": p84})  # fmt: skip
    return rows


def offsets(pairs: np.ndarray, alike: np.ndarray) -> dict[str, Any]:
    """How far found sources lie from true ones.

    Parameters
    ----------
    pairs : ndarray
        Distances of pairs [arcsec]; none is beyond the radius of the rule.
    alike : ndarray
        Distance of every found source to the nearest true one of enough flux [arcsec], NaN where
        the field has none.

    Returns
    -------
    dict
        ``number`` of pairs, ``median``, ``p68``, ``p90`` [arcsec] of them; ``found``, and the share
        of found ones ``beyond_12`` and ``beyond_20`` arcsec; ``histogram`` of `alike` in bins of 1
        arcsec from 0, all from 30 on in the last.
    """
    marks = np.quantile(pairs, (0.5, 0.68, 0.9)).tolist() if len(pairs) else [math.nan] * 3
    median, p68, p90 = map(_plain, marks)
    far = np.where(np.isfinite(alike), alike, np.inf)
    row = {"number": len(pairs), "median": median, "p68": p68, "p90": p90, "found": len(far)}
    for limit in FAR_ARCSEC:
        row[f"beyond_{limit:.0f}"] = _share(int(np.sum(far > limit)), len(far))
    places = np.minimum(far, 30.0).astype(int)
    return row | {"histogram": np.bincount(places, minlength=31).tolist()}


def false_sources(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Found sources that no true one explains, brightest first.

    Parameters
    ----------
    tables : sequence of dict
        From `xmm_jax.metrics.submm.judge_field`.

    Returns
    -------
    list of dict
        ``field`` (place in `tables`), ``x``, ``y`` [pixel], ``flux`` [mJy], ``nearest_arcsec`` and
        ``nearest_mjy`` of the nearest true source of any flux.
    """
    names = ("x", "y", "flux", "nearest_arcsec", "nearest_mjy")
    rows = [
        {"field": field} | {name: table["found"][name][place] for name in names}
        for field, table in enumerate(tables)
        for place, real in enumerate(table["found"]["real"])
        if not real
    ]
    return sorted(rows, key=lambda row: -row["flux"])


def pixel_figures(sums: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Figures of pixels from the sums of several fields.

    Parameters
    ----------
    sums : sequence of mapping
        ``pixels`` of tables.

    Returns
    -------
    dict
        ``rms`` of the error [mJy/beam]; ``correlation``; ``mean_ratio``, mean of the map over mean
        of the target: it says nothing where the target has a mean near 0. Empty without fields.
    """
    if not sums:
        return {}
    n, a, b, aa, bb, ab = (sum(row[name] for row in sums) for name in SUMS)
    spread = (aa - a * a / n) * (bb - b * b / n)
    correlation = (ab - a * b / n) / math.sqrt(spread) if spread > 0 else math.nan
    return {
        "rms": math.sqrt(max(aa + bb - 2 * ab, 0.0) / n),
        "correlation": _plain(correlation),
        "mean_ratio": _plain(a / b if b else math.nan),
    }


def _joined(tables: Sequence[Table], name: str) -> dict[str, np.ndarray]:
    """Columns of all fields; None becomes NaN."""
    return {
        column: np.concatenate([np.asarray(table[name][column], float) for table in tables])
        for column in tables[0][name]
    }


def _psf(stacks: Sequence[Mapping[str, Any]], pixel_arcsec: float) -> dict[str, Any]:
    """Number of sources, width of their stack and its mean in rings of one pixel [arcsec]."""
    number = sum(stack["number"] for stack in stacks)
    stamp = np.sum([stack["sum"] for stack in stacks], axis=0) / max(number, 1)
    half = len(stamp) // 2
    ring = np.rint(np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])).astype(int)
    profile = [float(stamp[ring == radius].mean()) for radius in range(half + 1)]
    return {
        "number": number,
        "fwhm": _plain(beam_fwhm(stamp, pixel_arcsec=pixel_arcsec)) if number else None,
        "radius": [pixel_arcsec * radius for radius in range(half + 1)],
        "profile": profile,
    }


def _bins(flux: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Bin of each source, -1 below the first edge; all above the last are in the last bin."""
    return np.minimum(np.searchsorted(edges, flux, "right") - 1, len(edges) - 2)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
