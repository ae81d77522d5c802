"""How often the truth lies between calibrated bounds: over bins of brightness, angle, exposure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from xmm_jax.models.intervals import Bins, Intervals

CHANCES = (0.5, 0.68, 0.9, 0.95)


class Points(NamedTuple):
    """Pixels or apertures to check, all [point]: arguments of `count_scores`.

    Truth and prediction u with its stated width sigma, square roots of counts; exposure [s]; angle
    off the axis [arcmin].
    """

    truth: np.ndarray
    u: np.ndarray
    sigma: np.ndarray
    exposure: np.ndarray
    angle: np.ndarray


def measure(
    looks: Iterable[dict[str, list[Points]]],
    laws: Iterable[Mapping[str, Intervals]],
    kinds: Mapping[str, Bins],
) -> dict[str, Any]:
    """How often the truth lies between the bounds.

    Parameters
    ----------
    looks : iterable of dict
        Of each field, points of each kind: ``pixels`` and ``apertures``.
    laws : iterable of mapping of str to Intervals
        Error bars to judge each field by, of each kind.
    kinds : mapping of str to Bins
        What points to look at together, of each kind; may be finer than those of the error bars.

    Returns
    -------
    dict
        ``chances`` and ``fields``; for pixels and for apertures a list of bins, each with ``by``
        (``all``, ``counts`` predicted, ``angle`` [arcmin], ``exposure`` [s], or ``true counts``),
        ``from``, ``to``, ``share`` of the points, ``coverage`` and its standard ``error`` over
        fields at each chance, ``normal``, the coverage of a normal law of the stated width, and
        ``width``, half of the mean 68 % interval in square roots of counts.
    """
    tallies: dict[str, list[list[np.ndarray]]] = {kind: [] for kind in kinds}
    for points, law in zip(looks, laws, strict=False):
        for kind, bins in kinds.items():
            parts = [_tally(one, law[kind], bins) for one in points[kind]]
            tallies[kind].append([np.sum(group, axis=0) for group in zip(*parts, strict=True)])
    report: dict[str, Any] = {"chances": list(CHANCES), "fields": len(next(iter(tallies.values())))}
    for kind, bins in kinds.items():
        cells, true = (np.stack(group) for group in zip(*tallies[kind], strict=True))
        report[kind] = [
            *_rows("all", (), cells.sum((1, 2, 3))[:, None]),
            *_rows("counts", bins.counts, cells.sum((1, 2))),
            *_rows("angle", bins.angle_arcmin, cells.sum((2, 3))),
            *_rows("exposure", bins.exposure_s, cells.sum((1, 3))),
            *_rows("true counts", bins.counts, true),
        ]
    return report


def coverage_table(rows: Iterable[Mapping[str, Any]], *, least_share: float = 0.01) -> str:
    """Part of a report of `measure` as a Markdown table [%].

    Parameters
    ----------
    rows : iterable of mapping
        ``report["pixels"]`` or ``report["apertures"]``.
    least_share : float
        Leave out bins with fewer points.
    """
    title = " | ".join(f"{100 * chance:g} %" for chance in CHANCES)
    lines = [f"| | share | {title} | half width |", "| --- " * (len(CHANCES) + 3) + "|"]
    for row in rows:
        if row["share"] < least_share:
            continue
        low, high = row["from"], row["to"]
        span = f" {low or 0:g} to {high:g}" if high else (f" over {low:g}" if low else "")
        cells = " | ".join(
            f"{100 * mean:.1f} ± {100 * error:.1f}"
            for mean, error in zip(row["coverage"], row["error"], strict=True)
        )
        share = f"{100 * row['share']:.1f}"
        lines.append(f"| {row['by']}{span} | {share} | {cells} | {row['width']:.3f} |")
    return "\n".join(lines) + "\n"


def _tally(points: Points, intervals: Intervals, bins: Bins) -> list[np.ndarray]:
    """Sums over points in cells [angle, exposure, brightness, sum] and by true counts."""
    truth, u, sigma, exposure, angle = points
    given = (u, sigma, exposure, angle)
    lows = intervals.quantiles(*given, levels=[_half(1 - chance) for chance in CHANCES])
    highs = intervals.quantiles(*given, levels=[_half(1 + chance) for chance in CHANCES])
    pairs = list(zip(lows, highs, strict=True))
    columns: list[np.ndarray] = [np.ones(len(truth))]
    columns += [(low <= truth) & (truth <= high) for low, high in pairs]
    columns += [np.abs(truth - u) <= ndtri(_half(1 + c)) * sigma for c in CHANCES]
    low, high = pairs[CHANCES.index(0.68)]
    columns.append((high - low) / 2)
    place, size = bins.find(u, exposure, angle), math.prod(bins.shape)
    true, brightnesses = np.digitize(truth, np.sqrt(bins.counts)), bins.shape[-1]
    cells = np.stack([np.bincount(place, column, size) for column in columns], -1)
    return [
        cells.reshape(*bins.shape, -1),
        np.stack([np.bincount(true, column, brightnesses) for column in columns], -1),
    ]


def _half(value: float) -> float:
    """Half of it, without what floats add: a key of a table."""
    return round(value / 2, 6)


def _rows(by: str, edges: tuple[float, ...], sums: np.ndarray) -> list[dict[str, Any]]:
    """Bins of one kind from sums [field, bin, column] of `_tally`."""
    all_points, rows = sums[..., 0].sum(), []
    for k, (low, high) in enumerate(zip((None, *edges), (*edges, None), strict=True)):
        n, inside, normal, width = np.split(sums[:, k], [1, 5, 9], axis=1)
        if not n.sum():
            continue
        coverage = inside.sum(0) / n.sum()
        # Of a ratio of sums over fields: errors within a field are alike.
        error = np.sqrt(((inside - coverage * n) ** 2).sum(0)) / n.sum()
        rows.append(
            {"by": by, "from": low, "to": high, "share": float(n.sum() / all_points)}
            | {"coverage": coverage.round(4).tolist(), "error": error.round(4).tolist()}
            | {"normal": (normal.sum(0) / n.sum()).round(4).tolist()}
            | {"width": float((width.sum() / n.sum()).round(4))}
        )
    return rows
