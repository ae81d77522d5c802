"""Which features of an enhanced image the photons of its input support, without knowing the truth.

A feature is what the detector of `xmm_jax.metrics.detection` finds. It is taken out of the image,
the rest is seen by the telescope once more, and the photons that the input has at its place are
compared with that: P(N >= n | expected without it). Thresholds are those by which
`xmm_jax.metrics.sources` judges images whose truth is known. numpy, one image ``[y, x]``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xmm_jax.instrument.camera import PN, Camera, from_native
from xmm_jax.metrics.consistency import Consistency, consistency, expected_counts
from xmm_jax.metrics.detection import CANDIDATE, THRESHOLD, Table, detect
from xmm_jax.metrics.matching import match
from xmm_jax.metrics.sources import CELL_ARCSEC, ERASED_P, RADIUS_ARCSEC, UNSUPPORTED_P
from xmm_jax.models.interpolation import count_rate
from xmm_jax.removal import profiles, take_out
from xmm_jax.residual import Expectation, check_sizes, expectation, live_parts, residual_map

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable
    from astropy.wcs import WCS

DQ_UNSUPPORTED, DQ_ERASED = 8, 16
SUPPORTED, WEAK, UNSUPPORTED, ERASED = "supported", "weak", "unsupported", "erased"
SUPPORTED_P = ERASED_P  # what is certain enough to miss is certain enough to keep
APART_ARCSEC = 100.0  # features as far apart are taken out together


@dataclass(frozen=True, eq=False)
class Support:
    """What the photons of the input say about an enhanced image.

    Positions are 0-based, pixel centres at integers.

    Attributes
    ----------
    features : dict of ndarray
        A row for each feature of the image, most significant first: ``x``, ``y`` [pixel of the
        input], ``x_out``, ``y_out`` [pixel of the image], ``rate`` [count/s, as a point source on
        what surrounds it], ``counts`` [count, what that means in the input], ``significance``
        [sigma, of the detector], ``photons`` [count in the input within 10 arcsec],
        ``expected_with``, ``expected_without`` [count there, with and without it], ``p_value``
        (chance of as many photons or more without it), ``verdict``.
    erased : dict of ndarray
        What the input shows and the image does not, most significant first: ``x``, ``y``,
        ``x_out``, ``y_out``, ``significance`` (in the input), ``photons``, ``expected`` [count
        within 10 arcsec, by the image], ``p_value`` (chance of as many photons or more).
    residual : ndarray
        Significance of input minus expectation [sigma], ``[y, x]``, see
        `xmm_jax.residual.residual_map`.
    expectation : Expectation
        What the image predicts for the input.
    agreement : Consistency
        C statistic of the whole image.
    upscale : int
        Pixels of the image per pixel of the input and side.
    camera : Camera
        The camera.
    """

    features: Table
    erased: Table
    residual: np.ndarray
    expectation: Expectation
    agreement: Consistency
    upscale: int
    camera: Camera


def check_support(
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    with_background: bool,
    background: np.ndarray | None = None,
    threshold: float = THRESHOLD,
    camera: Camera = PN,
) -> Support:
    """Ask the photons of the input about every feature of an enhanced image.

    Parameters
    ----------
    rate : ndarray
        Enhanced image [count/s/pixel], ``[s*y, s*x]``; s is 1 (denoised) or 2 (super-resolved, with
        half of the PSF).
    counts, exposure, valid : ndarray
        Input: counts, live time [s], True = use; ``[y, x]``.
    with_background : bool
        Whether the image has background.
    background : ndarray, optional
        As for `xmm_jax.residual.expectation`.
    threshold : float
        Least significance of a feature [sigma].
    camera : Camera
        The camera.

    Returns
    -------
    Support

    Raises
    ------
    InputError
        As `xmm_jax.residual.expectation`.
    """
    upscale = check_sizes(rate, counts)
    rate, given = live_parts(rate, counts, exposure, valid)
    seen, _, live = given
    whole = expectation(
        rate, *given, with_background=with_background, background=background, camera=camera
    )
    found = detect(rate, *given, threshold=CANDIDATE, camera=camera)
    features = _features(rate, *given, found, whole, threshold, camera)
    return Support(
        features=features,
        erased=_erased(*given, found, whole, upscale, camera),
        residual=residual_map(whole.counts, seen, live, camera=camera),
        expectation=whole,
        agreement=consistency(whole.counts, seen, live),
        upscale=upscale,
        camera=camera,
    )


def verdicts(p_value: np.ndarray) -> np.ndarray:
    """Words for chances.

    Parameters
    ----------
    p_value : ndarray
        Chance of the photons without the feature.

    Returns
    -------
    ndarray of str
        ``supported`` below 1e-4, ``unsupported`` above 0.05, ``weak`` between.
    """
    words = np.where(p_value < SUPPORTED_P, SUPPORTED, WEAK)
    return np.where(p_value > UNSUPPORTED_P, UNSUPPORTED, words)


def unsupported_share(support: Support) -> float:
    """Share of the features that are unsupported, NaN where there is no feature."""
    verdict = support.features["verdict"]
    return float(np.mean(verdict == UNSUPPORTED)) if len(verdict) else np.nan


def dq_bits(support: Support) -> np.ndarray:
    """Quality bits around doubtful places.

    Parameters
    ----------
    support : Support
        From `check_support`.

    Returns
    -------
    ndarray
        uint8 on the grid of the image: 8 within 10 arcsec of an unsupported feature, 16 within 10
        arcsec of one that may have been erased.
    """
    shape = tuple(support.upscale * side for side in support.residual.shape)
    bits = np.zeros(shape, np.uint8)
    radius = CELL_ARCSEC * support.upscale / support.camera.pixel_arcsec
    doubtful = support.features["verdict"] == UNSUPPORTED
    for bit, table, chosen in (
        (DQ_UNSUPPORTED, support.features, doubtful),
        (DQ_ERASED, support.erased, np.ones(len(support.erased["x"]), bool)),
    ):
        for x, y in zip(table["x_out"][chosen], table["y_out"][chosen], strict=True):
            window, apart = _around(x, y, radius, shape)
            bits[window] |= np.where(apart <= radius, bit, 0).astype(np.uint8)
    return bits


def to_table(support: Support, *, wcs: "WCS | None" = None) -> "AstropyTable":
    """Features and what may have been erased, as one table to write.

    Parameters
    ----------
    support : Support
        From `check_support`.
    wcs : WCS, optional
        Celestial coordinates of the *input*, for columns ``RA`` and ``DEC``.

    Returns
    -------
    Table
        astropy table with units; NaN where a column does not apply.
    """
    from astropy.table import MaskedColumn, Table, vstack

    units = dict.fromkeys(("x", "y", "x_out", "y_out"), "pix")
    units |= {"rate": "ct / s", "counts": "ct", "photons": "ct"}
    units |= {"expected_with": "ct", "expected_without": "ct"}
    units |= dict.fromkeys(("aperture", "aperture_lo", "aperture_hi"), "ct")
    erased = dict(support.erased)
    # What the image predicts at an erased place is what it predicts without the feature.
    erased["expected_without"] = erased["expected_with"] = erased.pop("expected")
    erased["verdict"] = np.full(len(erased["x"]), ERASED, "<U11")
    features = dict(support.features)
    features["verdict"] = features["verdict"].astype("<U11")
    table = vstack([Table(features), Table(erased)], join_type="outer")
    for name, column in table.columns.items():
        if isinstance(column, MaskedColumn) and column.dtype.kind == "f":
            table[name] = column.filled(np.nan)
        if name in units:
            table[name].unit = units[name]
    if wcs is not None:
        ra, dec = wcs.celestial.pixel_to_world_values(table["x"], table["y"])
        table.add_columns([np.atleast_1d(ra), np.atleast_1d(dec)], [0, 0], names=["RA", "DEC"])
        table["RA"].unit = table["DEC"].unit = "deg"
    return table


def _features(rate, counts, exposure, live, found, whole, threshold, camera) -> Table:
    """Rows of `Support.features`, of all candidates those that reach the threshold."""
    upscale = rate.shape[0] // counts.shape[0]
    grid = live.repeat(upscale, 0).repeat(upscale, 1)
    x, y = (from_native(found[name], upscale) for name in ("x", "y"))
    chosen = np.flatnonzero(found["significance"] >= threshold)
    removed, without = np.zeros((2, len(x)))
    cell = CELL_ARCSEC / camera.pixel_arcsec
    stamps, corners, own = profiles(found, upscale, camera=camera)
    for group in _groups(found, chosen, APART_ARCSEC / camera.pixel_arcsec):
        image = rate.copy()
        for place in group:
            window, patch, removed[place] = take_out(
                image, grid, stamps[place], corners[place], own[place]
            )
            image[window] = patch
        left = expected_counts(
            image, exposure, live,
            response=whole.response, background=whole.background,
        )  # fmt: skip
        without[group] = _sums(left, found["x"][group], found["y"][group], cell)
    photons, expected = (
        _sums(image, found["x"], found["y"], cell) for image in (counts, whole.counts)
    )
    row, column = (
        np.clip(np.rint(found[name]).astype(int), 0, size - 1)
        for name, size in zip(("y", "x"), counts.shape, strict=True)
    )
    p_value = _tail(photons, without)
    columns = {
        "x": found["x"],
        "y": found["y"],
        "x_out": x,
        "y_out": y,
        "rate": removed,
        "counts": removed * exposure[row, column],
        "significance": found["significance"],
        "photons": photons,
        "expected_with": expected,
        "expected_without": without,
        "p_value": p_value,
        "verdict": verdicts(p_value),
    }
    return {name: column[chosen] for name, column in columns.items()}


def _erased(counts, exposure, live, found, whole, upscale, camera) -> Table:
    """Rows of `Support.erased`."""
    raw = detect(
        count_rate(counts, exposure, live), counts, exposure, live,
        threshold=CANDIDATE, camera=camera,
    )  # fmt: skip
    partner = match(
        found, raw | {"seen_rate": raw["rate"]}, radius=RADIUS_ARCSEC / camera.pixel_arcsec
    )
    cell = CELL_ARCSEC / camera.pixel_arcsec
    photons, expected = (_sums(image, raw["x"], raw["y"], cell) for image in (counts, whole.counts))
    p_value = _tail(photons, expected)
    columns = {
        "x": raw["x"],
        "y": raw["y"],
        "x_out": from_native(raw["x"], upscale),
        "y_out": from_native(raw["y"], upscale),
        "significance": raw["significance"],
        "photons": photons,
        "expected": expected,
        "p_value": p_value,
    }
    lost = (partner < 0) & (p_value < ERASED_P)
    return {name: column[lost] for name, column in columns.items()}


def _groups(found: Table, chosen: np.ndarray, apart: float) -> list[list[int]]:
    """Chosen features in as few groups as may be, in each of which all lie far apart [pixel]."""
    groups: list[list[int]] = []
    for place in chosen.tolist():
        for group in groups:
            distance = np.hypot(
                found["x"][group] - found["x"][place], found["y"][group] - found["y"][place]
            )
            if distance.min() >= apart:
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _around(x: float, y: float, radius: float, shape) -> tuple[tuple[slice, slice], np.ndarray]:
    """Window of an image around a place, and the distance of its pixels from there [pixel]."""
    reach = int(np.ceil(radius)) + 1
    row, column = round(float(y)), round(float(x))
    top, left = max(row - reach, 0), max(column - reach, 0)
    window = slice(top, row + reach + 1), slice(left, column + reach + 1)
    rows, columns = (
        np.arange(part.start, min(part.stop, size))
        for part, size in zip(window, shape, strict=True)
    )
    return window, np.hypot(rows[:, None] - y, columns - x)


def _sums(image: np.ndarray, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Sums over the pixels within a radius [pixel] of places."""
    total = np.zeros(len(x))
    for place in range(len(x)):
        window, apart = _around(x[place], y[place], radius, image.shape)
        total[place] = image[window][apart <= radius].sum()
    return total


def _tail(photons: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Poisson probability of as many photons or more."""
    from scipy.stats import poisson

    return poisson.sf(photons - 1, np.maximum(expected, 1e-9))
