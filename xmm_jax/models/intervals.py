"""Error bars that hold: quantiles of past errors in units of the width that a network states.

The score of a pixel is ``(truth - u) / sigma`` in network units: ``u`` is the square root of the
counts that the input should have, ``sigma`` the width stated for it. Its quantiles over simulated
pixels of like brightness, off-axis angle and exposure, times ``sigma``, added to ``u``, are bounds
(split conformal prediction: Papadopoulos et al. 2002; Lei et al. 2018, JASA 113, 1094). Scores are
counted in fine histograms, so that any number of fields fits into memory.
"""

import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np

from xmm_jax.errors import InputError

# Central intervals of 95, 90, 68 and 50 %, and the median.
LEVELS = (0.025, 0.05, 0.16, 0.25, 0.5, 0.75, 0.84, 0.95, 0.975)
# Edges of the histogram of scores: 0.0025 apart at 0, 0.5 at the ends, which are at 100.
SCORE_EDGES = 0.5 * np.sinh(np.linspace(-6.0, 6.0, 2401))
# A cell speaks for itself from this many fields on. Errors of neighbours are alike, so what counts
# is fields, not pixels; see `_fields`.
LEAST_FIELDS = 5.0


@dataclasses.dataclass(frozen=True)
class Bins:
    """What pixels are alike; the first and the last bin of each kind have no outer end.

    Attributes
    ----------
    counts : tuple of float
        Edges of brightness, ``u**2`` [count]: of the prediction, as many as the input should have.
    angle_arcmin : tuple of float
        Edges of the off-axis angle [arcmin].
    exposure_s : tuple of float
        Edges of the exposure of the input pixel [s].
    """

    # Coarse, so that many fields reach every bin: the common error of a field is as large as that
    # of its pixels.
    counts: tuple[float, ...] = (0.01, 0.05, 0.2, 0.6, 2.0, 6.0, 20.0)
    angle_arcmin: tuple[float, ...] = (6.0, 10.0)
    # Equal steps of the logarithm between 5 and 100 ks.
    exposure_s: tuple[float, ...] = (10_600.0, 22_400.0, 47_300.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of bins of angle, exposure and brightness."""
        return len(self.angle_arcmin) + 1, len(self.exposure_s) + 1, len(self.counts) + 1

    def find(
        self,
        u: np.ndarray,
        exposure: np.ndarray | float,
        angle: np.ndarray | float | None = None,
    ) -> np.ndarray:
        """Cell of each pixel: its place in an array [angle + 1, exposure, brightness] laid flat.

        Without angle it is in the last row.
        """
        angles, exposures, brightnesses = self.shape
        row = angles if angle is None else _place(angle, self.angle_arcmin)
        row = row * exposures + _place(exposure, self.exposure_s)
        return row * brightnesses + _place(u, np.sqrt(self.counts))


@dataclasses.dataclass(frozen=True, eq=False)
class Intervals:
    """Calibrated law of the truth given what a network says; made by `fit`.

    Attributes
    ----------
    bins : Bins
        What pixels are alike.
    levels : tuple of float
        Probabilities, increasing.
    table : ndarray
        Score at each level, ``[angle + 1, exposure, brightness, level]``; the last row is for
        pixels of unknown angle.
    fields : int
        Fields that it was made from.
    """

    bins: Bins
    levels: tuple[float, ...]
    table: np.ndarray
    fields: int

    def quantiles(
        self,
        u: np.ndarray,
        sigma: np.ndarray | float,
        exposure: np.ndarray | float,
        angle: np.ndarray | float | None = None,
        *,
        levels: Sequence[float] = LEVELS,
    ) -> list[np.ndarray]:
        """Values that the truth stays below with given probabilities.

        Parameters
        ----------
        u : ndarray
            Prediction [square root of count], any shape.
        sigma : ndarray or float
            Its stated width, same unit.
        exposure : ndarray or float
            Exposure of the input pixel [s].
        angle : ndarray or float, optional
            Off-axis angle [arcmin]; without it all angles are taken together.
        levels : sequence of float
            Probabilities, out of the attribute of this name.

        Returns
        -------
        list of ndarray
            One for each level: square root of counts, not negative, float32. They grow with the
            level.

        Raises
        ------
        InputError
            For another level.
        """
        cell = self.bins.find(u, exposure, angle)
        values = []
        for level in levels:
            if level not in self.levels:
                known = ", ".join(f"{one:g}" for one in self.levels)
                raise InputError(f"level {level:g} is not calibrated; choose from {known}")
            scores = self.table[..., self.levels.index(level)].astype(np.float32).ravel()
            values.append(np.maximum(u + scores[cell] * sigma, 0.0).astype(np.float32))
        return values

    def bounds(
        self,
        u: np.ndarray,
        sigma: np.ndarray | float,
        exposure: np.ndarray | float,
        angle: np.ndarray | float | None = None,
        *,
        low: float = 0.16,
        high: float = 0.84,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the truth; by default it lies between them in 68 % of the pixels.

        Parameters
        ----------
        u, sigma, exposure, angle
            As for `quantiles`.
        low, high : float
            Probabilities of less, out of `levels`.

        Returns
        -------
        low, high : ndarray
            Square roots of counts, not negative, ``low <= high``.
        """
        below, above = self.quantiles(u, sigma, exposure, angle, levels=(low, high))
        return below, above

    def to_json(self) -> str:
        """All of it as JSON text, some 15 kB."""
        own = {"levels": self.levels, "table": self.table.tolist(), "fields": self.fields}
        return json.dumps({"bins": dataclasses.asdict(self.bins)} | own) + "\n"

    @classmethod
    def from_json(cls, text: str, *, name: str = "intervals") -> "Intervals":
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str
            JSON.
        name : str
            File it is from, for the message.

        Raises
        ------
        InputError
            If it is something else.
        """
        try:
            values = json.loads(text)
            bins = Bins(**{key: tuple(edges) for key, edges in values["bins"].items()})
            table, levels = np.array(values["table"], float), tuple(map(float, values["levels"]))
            result = cls(bins, levels, table, int(values["fields"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{name}: damaged error bars ({error}); calibrate again") from None
        angles, *rest = bins.shape
        if table.shape != (angles + 1, *rest, len(levels)) or not np.isfinite(table).all():
            raise InputError(f"{name}: damaged error bars (table {table.shape}); calibrate again")
        return result


def count_scores(
    truth: np.ndarray,
    u: np.ndarray,
    sigma: np.ndarray | float,
    exposure: np.ndarray,
    angle: np.ndarray,
    *,
    bins: Bins,
) -> np.ndarray:
    """Histograms of the scores of some pixels.

    Parameters
    ----------
    truth, u, sigma : ndarray
        Truth, prediction and stated width, square roots of counts, [pixel].
    exposure, angle : ndarray
        Exposure [s] and off-axis angle [arcmin], [pixel].
    bins : Bins
        What pixels are alike.

    Returns
    -------
    ndarray
        Pixels, int64 ``[angle, exposure, brightness, score]``; may be added.
    """
    last = len(SCORE_EDGES) - 2
    score = np.clip(np.searchsorted(SCORE_EDGES, (truth - u) / sigma, "right") - 1, 0, last)
    place = bins.find(u, exposure, angle) * (last + 1) + score
    size = math.prod(bins.shape) * (last + 1)
    return np.bincount(place, minlength=size).reshape(*bins.shape, last + 1)


def fit(
    histogram: np.ndarray,
    reached: np.ndarray,
    *,
    bins: Bins,
    levels: tuple[float, ...] = LEVELS,
    least_fields: float = LEAST_FIELDS,
) -> Intervals:
    """Quantiles of the scores of many fields.

    A cell that too few fields reach takes those of all angles, then those of all exposures too,
    then those of the nearest brightness that enough fields reach, and at last those of all pixels.

    Parameters
    ----------
    histogram : ndarray of int
        Sum over fields of `count_scores`, ``[angle, exposure, brightness, score]``.
    reached : ndarray of int
        Pixels of each field in each cell, ``[field, angle, exposure, brightness]``.
    bins : Bins
        What they were made with.
    levels : tuple of float
        Probabilities, increasing.
    least_fields : float
        Fields that a cell needs to speak for itself.

    Raises
    ------
    InputError
        If there are no pixels.
    """
    if not histogram.any():
        raise InputError("no live pixels to calibrate with; calibrate on more fields")
    # From many and unlike pixels to few and like ones; each takes the place of the one before.
    rows = _fill(
        _quantiles(histogram.sum((0, 1)), levels), _fields(reached, (1, 2)) >= least_fields
    )
    if rows is None:
        rows = _quantiles(histogram.sum((0, 1, 2)), levels)
    known = _fields(reached, (1,)) >= least_fields
    pooled = np.where(known[..., None], _quantiles(histogram.sum(0), levels), rows)
    known = _fields(reached, ()) >= least_fields
    own = np.where(known[..., None], _quantiles(histogram, levels), pooled)
    return Intervals(bins, levels, np.concatenate([own, pooled[None]]).round(4), len(reached))


def _place(values: np.ndarray | float, edges: Sequence[float] | np.ndarray) -> np.ndarray:
    """Bin of each value: how many edges are not above it."""
    return np.searchsorted(np.asarray(edges, np.float32), np.asarray(values, np.float32), "right")


def _fill(rows: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """Put the nearest row that is known in the place of each that is not; None: none is."""
    places = np.flatnonzero(known)
    if not len(places):
        return None
    return rows[places[np.abs(places - np.arange(len(rows))[:, None]).argmin(axis=1)]]


def _fields(reached: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    """Number of fields that the pixels [field, ...] of a cell are from, summed over some axes.

    Fields of unequal share count as ``(sum n)**2 / sum n**2`` (Kish 1965, Survey Sampling).
    """
    n = reached.sum(axis=over, dtype=float)
    return n.sum(0) ** 2 / np.maximum((n**2).sum(0), 1.0)


def _quantiles(histogram: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Scores at levels [..., level] of histograms [..., score], with the ranks of split conformal.

    Of n scores the upper bounds take number ceil((n + 1) p), the lower ones number
    floor((n + 1) p), and of the histogram bin that holds it the outer edge.
    """
    below = histogram.cumsum(axis=-1)
    n, last = below[..., -1:], histogram.shape[-1] - 1
    scores = []
    for level in levels:
        upper = level >= 0.5
        rank = np.ceil((n + 1) * level) if upper else np.floor((n + 1) * level)
        # The first bin with at least `rank` scores up to its end; none: beyond all.
        place = np.clip((below < rank).sum(axis=-1), 0, last)
        scores.append(SCORE_EDGES[place + upper])
    return np.stack(scores, axis=-1)
