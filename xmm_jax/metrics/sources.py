"""What became of the sources of a field: found, missed, invented, erased; and where and how bright.

One field gives two tables: ``truth``, a row for each true source that falls on live pixels, and
``found``, a row for each source that was found. `summarise` makes figures with errors of the tables
of many fields.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from xmm_jax.instrument.camera import PN, Camera, from_native
from xmm_jax.instrument.camera import off_axis as angles
from xmm_jax.metrics.detection import THRESHOLD, Table
from xmm_jax.metrics.matching import match
from xmm_jax.metrics.photometry import bias_and_scatter, measure

RADIUS_ARCSEC = 4.5  # half of the FWHM of an EPIC-pn image
LEAST_COUNTS = 5.0  # fainter sources leave no trace: finding one there is an accident
LISTED_COUNTS = 30.0  # completeness, purity and F1 are of sources beyond this
COUNTS_EDGES = np.array([5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 1000.0, np.inf])
ANGLE_EDGES = np.array([0.0, 3.0, 6.0, 9.0, 12.0, 18.0])  # [arcmin]
ERASED_P, UNSUPPORTED_P = 1e-4, 0.05
REAL_SIGMA = 3.0  # of the truth, where something found counts as being there
CELL_ARCSEC, AROUND_ARCSEC = 10.0, (24.0, 48.0)


def visible(
    catalogue: Table, exposure: np.ndarray, valid: np.ndarray, *, camera: Camera = PN
) -> Table:
    """Point sources of a catalogue that fall on live pixels and leave 5 counts or more.

    Parameters
    ----------
    catalogue : dict of ndarray
        Columns of `xmm_jax.simulator.truth.truth_columns`.
    exposure, valid : ndarray
        Of the observation, ``[y, x]``.
    camera : Camera
        The camera.

    Returns
    -------
    dict of ndarray
        ``x``, ``y`` [native pixel], ``seen_rate`` [count/s], ``counts`` expected in the
        observation, ``off_axis`` [arcmin]; brightest first.
    """
    x, y, seen = (np.asarray(catalogue[name], float) for name in ("x", "y", "seen_rate"))
    live = np.asarray(valid, bool) & (exposure > 0)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (row >= 0) & (row < live.shape[0]) & (column >= 0) & (column < live.shape[1])
    row, column = np.where(inside, row, 0), np.where(inside, column, 0)
    counts = seen * np.where(inside & live[row, column], exposure[row, column], 0.0)
    kept = np.flatnonzero((counts >= LEAST_COUNTS) & (catalogue["component"] != "extended"))
    kept = kept[np.argsort(-seen[kept], kind="stable")]
    angle, _ = angles(camera, x[kept], y[kept])
    columns = {"x": x, "y": y, "seen_rate": seen, "counts": counts}
    return {name: column[kept] for name, column in columns.items()} | {"off_axis": angle}


def compare_sources(
    found: Table,
    true: Table,
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    reference: np.ndarray | None = None,
    psf_pixel_arcsec: float = 0.0,
    camera: Camera = PN,
) -> dict[str, Table]:
    """The two tables of one field and one method.

    Parameters
    ----------
    found : dict of ndarray
        From `xmm_jax.metrics.detection.detect`.
    true : dict of ndarray
        From `visible`.
    rate : ndarray
        The image [count/s/pixel], ``[s*y, s*x]``.
    counts, exposure, valid : ndarray
        The observation, ``[y, x]``.
    reference : ndarray, optional
        Significance of the noise-free truth under the same filter, ``[s*y, s*x]``: ``sigma`` of
        `xmm_jax.metrics.detection.matched_filter`. Knots and ridges of an extended source stand in
        no catalogue; who finds a source where this is 3 or more within 4.5 arcsec has not invented
        it.
    psf_pixel_arcsec : float
        As for `xmm_jax.metrics.photometry.measure`.
    camera : Camera
        The camera.

    Returns
    -------
    dict of dict of ndarray
        ``truth``: columns of `true` and ``found``, ``significance`` (0 if missed), ``dx``, ``dy``
        [arcsec, found - true], ``forced``, ``own`` (measured rate on the true and on the found
        position [count/s], NaN if there is none), ``error``, ``background``, ``p_value``.
        ``found``: columns of `found` and ``real``, ``off_axis``, ``counts``, ``p_value``.
    """
    radius, upscale = RADIUS_ARCSEC / camera.pixel_arcsec, rate.shape[0] // counts.shape[0]
    live = np.asarray(valid, bool) & (exposure > 0)
    partner = match(found, true, radius=radius)
    hit = partner >= 0
    grid = live.repeat(upscale, 0).repeat(upscale, 1)
    aperture = functools.partial(
        measure, rate, grid, upscale=upscale, psf_pixel_arcsec=psf_pixel_arcsec, camera=camera
    )
    forced = aperture(true["x"], true["y"])
    own = np.full(len(hit), np.nan)
    own[hit] = aperture(*(found[name][partner[hit]] for name in ("x", "y")))["flux"]

    def of_partner(column: np.ndarray, missing: float) -> np.ndarray:
        return np.where(hit, np.append(column, missing)[partner], missing)

    truth = true | {
        "found": hit,
        "significance": of_partner(found["significance"], 0.0),
        "dx": (of_partner(found["x"], np.nan) - true["x"]) * camera.pixel_arcsec,
        "dy": (of_partner(found["y"], np.nan) - true["y"]) * camera.pixel_arcsec,
        "forced": forced["flux"],
        "own": own,
        "error": forced["error"],
        "background": forced["background"],
        "p_value": photon_p_value(true["x"], true["y"], counts, live, camera=camera),
    }
    real = np.isin(np.arange(len(found["x"])), partner[hit])
    real |= _near(found, true, radius)
    if reference is not None:
        real |= _highest(reference, found, radius, upscale) >= REAL_SIGMA
    angle, _ = angles(camera, found["x"], found["y"])
    seconds = float(np.median(exposure[live])) if live.any() else 0.0
    return {
        "truth": truth,
        "found": found
        | {
            "real": real,
            "off_axis": angle,
            "counts": found["rate"] * seconds,
            "p_value": photon_p_value(found["x"], found["y"], counts, live, camera=camera),
        },
    }


def photon_p_value(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, live: np.ndarray, *, camera: Camera = PN
) -> np.ndarray:
    """Chance that the background alone gives at least the counts that are there.

    Parameters
    ----------
    x, y : ndarray
        Positions [native pixel].
    counts, live : ndarray
        Counts and live pixels of the observation, ``[y, x]``.
    camera : Camera
        The camera.

    Returns
    -------
    ndarray
        Poisson probability of as many counts or more within 10 arcsec, for the mean of the ring of
        24 to 48 arcsec as it is: P(C >= c | B). 1 where no pixel is live.
    """
    from scipy.stats import poisson

    half = int(np.ceil(AROUND_ARCSEC[1] / camera.pixel_arcsec))
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    row, column = (
        np.clip(np.rint(axis).astype(int), 0, size - 1)
        for axis, size in zip((y, x), counts.shape, strict=True)
    )
    place = (row[:, None, None] + half + rows, column[:, None, None] + half + columns)
    seen, good = (np.pad(image * live, half)[place] for image in (counts, np.ones(live.shape)))
    apart = camera.pixel_arcsec * np.hypot(
        columns + (column - x)[:, None, None], rows + (row - y)[:, None, None]
    )
    cell = apart <= CELL_ARCSEC
    ring = (apart >= AROUND_ARCSEC[0]) & (apart <= AROUND_ARCSEC[1])
    number, pixels, around, ring_pixels = (
        (image * where).sum(axis=(1, 2)) for where in (cell, ring) for image in (seen, good)
    )
    expected = pixels * around / np.maximum(ring_pixels, 1)
    return poisson.sf(number - 1, expected)


def figures(truth: Table, found: Table, *, threshold: float = THRESHOLD) -> dict[str, float]:
    """Figures of the joined tables of any number of fields.

    Parameters
    ----------
    truth, found : dict of ndarray
        From `compare_sources`, of all that was found at `CANDIDATE` significance.
    threshold : float
        Significance from which on a source counts as found.

    Returns
    -------
    dict of str to float
        ``completeness`` of true sources beyond 30 counts, ``purity`` of all that was found, ``f1``
        their harmonic mean; ``offset_x``, ``offset_y`` (mean), ``offset_median``, ``offset_90``
        [arcsec] beyond 30 counts; ``erased``, the share of sources with an input p-value below 1e-4
        of which not even a candidate is left; ``unsupported``, the share of what was found with an
        input p-value above 0.05; ``forced_bias`` ... and ``own_bias`` ... of
        `xmm_jax.metrics.photometry.bias_and_scatter` beyond 100 counts, and ``forced_bias_30``,
        ``own_bias_30`` beyond 30. NaN where there is none.
    """
    erased = _mean(~truth["found"][truth["p_value"] < ERASED_P])
    truth, found = _cut(truth, found, threshold)
    bright = truth["counts"] >= LISTED_COUNTS
    completeness, purity = _mean(truth["found"][bright]), _mean(found["real"])
    total = completeness + purity
    dx, dy = (truth[name][bright & truth["found"]] for name in ("dx", "dy"))
    apart = np.hypot(dx, dy)
    result = {
        "completeness": completeness,
        "purity": purity,
        "f1": 2 * completeness * purity / total if total else 0.0,
        "offset_x": _mean(dx),
        "offset_y": _mean(dy),
        "offset_median": float(np.median(apart)) if len(apart) else np.nan,
        "offset_90": float(np.percentile(apart, 90)) if len(apart) else np.nan,
        "erased": erased,
        "unsupported": _mean(found["p_value"] > UNSUPPORTED_P),
    }
    strong = truth["counts"] >= 100.0
    for kind in ("forced", "own"):
        numbers = bias_and_scatter(truth[kind][strong], truth["seen_rate"][strong])
        result |= {f"{kind}_{name}": value for name, value in numbers.items()}
        weaker = bias_and_scatter(truth[kind][bright], truth["seen_rate"][bright])
        result[f"{kind}_bias_30"] = weaker["bias"]
    return result


def by_bins(
    truth: Table,
    found: Table,
    *,
    column: str,
    edges: np.ndarray,
    threshold: float = THRESHOLD,
) -> dict[str, np.ndarray]:
    """Completeness, purity and F1 in bins.

    Parameters
    ----------
    truth, found : dict of ndarray
        From `compare_sources`.
    column : str
        ``"counts"`` or ``"off_axis"``; against the angle, of true sources beyond 30 counts.
    edges : ndarray
        Edges of the bins, such as `COUNTS_EDGES` [count] or `ANGLE_EDGES` [arcmin].
    threshold : float
        Significance from which on a source counts as found.

    Returns
    -------
    dict of ndarray
        ``completeness``, ``purity``, ``f1``, ``true`` and ``found`` (how many), each [bin].
    """
    truth, found = _cut(truth, found, threshold)
    listed = truth["counts"] >= (0.0 if column == "counts" else LISTED_COUNTS)
    true_bin = np.digitize(truth[column], edges) - 1
    found_bin = np.digitize(found[column], edges) - 1
    bins = range(len(edges) - 1)
    completeness = np.array([_mean(truth["found"][listed & (true_bin == one)]) for one in bins])
    purity = np.array([_mean(found["real"][found_bin == one]) for one in bins])
    both = completeness + purity
    return {
        "completeness": completeness,
        "purity": purity,
        "f1": np.where(both > 0, 2 * completeness * purity / np.where(both > 0, both, 1), both),
        "true": np.array([np.sum(listed & (true_bin == one)) for one in bins]),
        "found": np.array([np.sum(found_bin == one) for one in bins]),
    }


def summarise(
    key: jax.Array,
    fields: Sequence[dict[str, Table]],
    *,
    statistic: Callable[[Table, Table], dict] = figures,
    draws: int = 200,
) -> dict[str, tuple]:
    """Figures over many fields, with errors from drawing the fields anew (bootstrap).

    Parameters
    ----------
    key : array
        Random key.
    fields : sequence of dict
        From `compare_sources`, one for each field.
    statistic : callable
        ``(truth, found)`` to a dict of numbers or arrays, such as `figures` or `by_bins`.
    draws : int
        Number of bootstrap samples (Efron 1979).

    Returns
    -------
    dict of str to tuple
        Value and standard error; NaN where it is defined in no or one sample.
    """
    chosen = np.asarray(jax.random.randint(key, (draws, len(fields)), 0, len(fields)))
    value = statistic(*join(fields).values())
    drawn = [statistic(*join([fields[place] for place in places]).values()) for places in chosen]
    return {name: (value[name], _spread([one[name] for one in drawn])) for name in value}


def invented(found: Sequence[Table]) -> tuple[float, float]:
    """Sources found on fields that hold none.

    Parameters
    ----------
    found : sequence of dict of ndarray
        From `xmm_jax.metrics.detection.detect`, one for each field of background.

    Returns
    -------
    mean, error : float
        Sources a field and its Poisson error; of none found, the error is that of one.
    """
    number = sum(len(one["x"]) for one in found)
    return number / len(found), max(number, 1) ** 0.5 / len(found)


def join(fields: Sequence[dict[str, Table]]) -> dict[str, Table]:
    """Tables of several fields as one ``truth`` and one ``found``."""
    return {
        kind: {
            name: np.concatenate([field[kind][name] for field in fields])
            for name in fields[0][kind]
        }
        for kind in ("truth", "found")
    }


def _cut(truth: Table, found: Table, threshold: float) -> tuple[Table, Table]:
    kept = found["significance"] >= threshold
    sure = truth["significance"] >= threshold
    return truth | {"found": sure}, {name: column[kept] for name, column in found.items()}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _spread(values: Sequence) -> np.ndarray:
    stack = np.ma.masked_invalid(np.array(values, float))
    return np.ma.filled(stack.std(axis=0, ddof=1), np.nan)


def _highest(image: np.ndarray, found: Table, radius: float, upscale: int) -> np.ndarray:
    """Highest value of an image within a radius [native pixel] of found sources."""
    reach = int(np.ceil(radius * upscale))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(rows, columns) <= radius * upscale
    row, column = (
        np.rint(from_native(found[name], upscale)).astype(int) + reach for name in ("y", "x")
    )
    near = np.pad(image, reach)[row[:, None] + rows[disc], column[:, None] + columns[disc]]
    return near.max(axis=1)


def _near(found: Table, other: Table, radius: float) -> np.ndarray:
    from scipy.spatial import KDTree

    if not len(other["x"]) or not len(found["x"]):
        return np.zeros(len(found["x"]), bool)
    tree = KDTree(np.column_stack([other["x"], other["y"]]))
    return tree.query(np.column_stack([found["x"], found["y"]]))[0] <= radius
