"""Galaxies in a sub-mm map: where its peaks are, which true one each is, what shape points have.

Maps are ``[y, x]`` in mJy/beam, so the peak of an unresolved galaxy is its flux. One rule finds the
sources of every map, a network's or a classical one's.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from xmm_jax.simulator.submm import SIGMA_OF_FWHM

FLOOR = 0.05
"""Share of a peak below which pixels beside it count as this much: a logarithm is taken."""


class Sources(NamedTuple):
    """Sources of one map, one entry each.

    Attributes
    ----------
    x, y : ndarray
        Positions [pixel], 0-based, pixel centres at integers.
    flux : ndarray
        Fluxes [mJy]; an entry of flux 0 is padding.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray


def detect(image: np.ndarray, *, threshold_mjy: float, fwhm_pixel: float) -> Sources:
    """Peaks of a map.

    A peak is the highest pixel within half a beam, so that two of them are more than half a beam
    apart; a plateau is one peak. A parabola through the logarithms of three pixels along each axis
    gives place and height, both exact for a Gaussian beam. No background is taken off.

    Parameters
    ----------
    image : ndarray
        [mJy/beam], [y, x]; a pixel that is not finite counts as 0.
    threshold_mjy : float
        Least flux [mJy], above 0.
    fwhm_pixel : float
        Width of the beam [pixel].

    Returns
    -------
    Sources
        Brightest first.
    """
    image = np.where(np.isfinite(image), image, 0.0).astype(np.float64)
    reach = max(int(fwhm_pixel / 2), 1)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    around = np.hypot(down, right) <= max(fwhm_pixel / 2, 1.5)
    # The pixel of a source on a corner of it holds less than its peak, but never only half.
    peaks = (image == ndimage.maximum_filter(image, footprint=around)) & (image > threshold_mjy / 2)
    labels = np.zeros(image.shape, np.int32)
    ndimage.label(peaks, np.ones((3, 3)), output=labels)
    _, first = np.unique(labels[peaks], return_index=True)
    rows, columns = (place[first] for place in np.nonzero(peaks))
    # Reflected, so that a peak on the border stays there.
    wide = np.pad(image, 1, mode="reflect")
    middle = wide[rows + 1, columns + 1]
    flux, shifts = middle.copy(), []
    for step, over in ((1, 0), (0, 1)):
        before = wide[rows + 1 - step, columns + 1 - over]
        after = wide[rows + 1 + step, columns + 1 + over]
        before, after = (np.log(np.maximum(side / middle, FLOOR)) for side in (before, after))
        bend = np.minimum(before + after, -1e-12)
        shifts.append(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
        flux *= np.exp(-0.25 * (before - after) * shifts[-1])
    order = np.argsort(-flux, kind="stable")
    order = order[flux[order] >= threshold_mjy]
    return Sources((columns + shifts[1])[order], (rows + shifts[0])[order], flux[order])


def match(
    found: Sources,
    truth: Sources,
    *,
    radius_pixel: float,
    least_mjy: float = 0.0,
    share: float = 0.0,
) -> np.ndarray:
    """Give each true source, brightest first, the nearest found one that is still free.

    As `xmm_jax.metrics.matching.match`, with one more condition: the flux of the true source is at
    least `share` of what was measured. In a confused map some faint galaxy lies within 12 arcsec of
    any place, and without it nothing could ever be false. The mutual-nearest rule of
    `xmm_jax.metrics.stars` would, for the same reason, pair bright peaks with faint neighbours.

    Parameters
    ----------
    found, truth : Sources
        Of one field.
    radius_pixel : float
        Farthest that two may lie apart [pixel], inclusive.
    least_mjy : float
        True sources below this flux [mJy], or of flux 0, have no partner.
    share : float
        Least true flux over measured flux of a pair.

    Returns
    -------
    ndarray
        For each true source the place of its partner in `found`, -1 if it has none.
    """
    partner = np.full(len(truth.x), -1)
    free = np.ones(len(found.x), bool)
    for source in np.argsort(-np.asarray(truth.flux), kind="stable"):
        flux = truth.flux[source]
        if flux <= 0 or flux < least_mjy:
            break
        apart = np.hypot(found.x - truth.x[source], found.y - truth.y[source])
        apart[~free | (apart > radius_pixel) | (flux < share * found.flux)] = np.inf
        if len(apart) and np.isfinite(apart.min()):
            partner[source] = int(apart.argmin())
            free[partner[source]] = False
    return partner


def isolated(
    truth: Sources, *, least_mjy: float = 8.0, apart_pixel: float = 10.0, others: float = 0.3
) -> np.ndarray:
    """Which true sources are bright and alone enough to show the beam.

    Parameters
    ----------
    truth : Sources
        All that is there.
    least_mjy : float
        Least flux [mJy]; 8 is eight times the noise of the seed's SCUBA-2 map.
    apart_pixel : float
        Neighbours are those within [pixel].
    others : float
        Share of its flux that all neighbours may have together.

    Returns
    -------
    ndarray of bool
        [source].
    """
    alone = np.asarray(truth.flux) >= max(least_mjy, 1e-9)
    for source in np.flatnonzero(alone):
        apart = np.hypot(truth.x - truth.x[source], truth.y - truth.y[source])
        near = truth.flux[apart <= apart_pixel].sum() - truth.flux[source]
        alone[source] = near <= others * truth.flux[source]
    return alone


def stack_psf(image: np.ndarray, sources: Sources, half_width: int) -> tuple[np.ndarray, int]:
    """Mean cut-out of sources, each divided by its flux.

    Parameters
    ----------
    image : ndarray
        [mJy/beam], [y, x].
    sources : Sources
        Bright and isolated ones; those with a cut-out beyond the border are left out. Positions of
        the peaks of this map give its shape, true ones add the scatter of the peaks about them.
    half_width : int
        The cut-out has 2 half_width + 1 pixels a side.

    Returns
    -------
    ndarray
        [y, x], about 1 in the middle, by cubic splines; 0 without sources.
    int
        Number of sources.
    """
    side = 2 * half_width + 1
    down, right = np.mgrid[-half_width : half_width + 1, -half_width : half_width + 1]
    total, number = np.zeros((side, side)), 0
    height, width = image.shape
    image = np.where(np.isfinite(image), image, 0.0).astype(np.float64)
    smooth = ndimage.spline_filter(image, order=3)
    for x, y, flux in zip(*sources, strict=True):
        if not (
            half_width <= x <= width - 1 - half_width and half_width <= y <= height - 1 - half_width
        ):
            continue
        places = [down + y, right + x]
        total += ndimage.map_coordinates(smooth, places, order=3, prefilter=False) / flux
        number += 1
    return total / max(number, 1), number


def beam_fwhm(stamp: np.ndarray, *, pixel_arcsec: float, core_arcsec: float = 10.0) -> float:
    """Width of a stack: that of an elliptical Gaussian on a constant level.

    Parameters
    ----------
    stamp : ndarray
        From `stack_psf`, [y, x].
    pixel_arcsec : float
        Its pixel [arcsec].
    core_arcsec : float
        Radius within which it is fitted [arcsec].

    Returns
    -------
    float
        Full width at half maximum [arcsec], geometric mean of both axes; NaN if nothing rises in
        the middle.
    """
    from scipy.optimize import least_squares

    half = stamp.shape[0] // 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1] * pixel_arcsec
    inside = np.hypot(u, v) <= core_arcsec
    top, level = float(stamp[half, half]), float(np.median(stamp))
    if not np.isfinite(stamp).all() or top <= level:
        return float("nan")
    values = (stamp[inside] - level) / (top - level)

    def off(p: np.ndarray) -> np.ndarray:
        square = ((u[inside] - p[4]) * np.exp(-p[1])) ** 2 + (
            (v[inside] - p[5]) * np.exp(-p[2])
        ) ** 2
        return p[0] * np.exp(-square / 2) + p[3] - values

    sigma = float(np.log(core_arcsec / 3))
    fit = least_squares(off, [1.0, sigma, sigma, 0.0, 0.0, 0.0], bounds=(
        [0, -2, -2, -1, -6, -6], [9, 4, 4, 1, 6, 6]))  # fmt: skip
    return 1 / SIGMA_OF_FWHM * float(np.exp((fit.x[1] + fit.x[2]) / 2))
