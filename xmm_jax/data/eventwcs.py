"""Sky coordinates of a detector image, fitted to the events themselves.

Every event knows where it lies on the detector (DETX, DETY) and on the sky (X, Y: the pipeline has
applied the attitude of its moment). On the tangent plane about the pointing the two differ by a
linear map, so least squares over events gives the WCS of the image, for the mean attitude of the
events in it.
"""

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from xmm_jax.data.events import SkyPlane

EVENTS = 20_000
"""Events used at most: the corner of the field is then known to 0.004 arcsec (measured on MOS)."""

FEW_EVENTS = 50
"""Below this a similarity (4 numbers) is fitted instead of an affine map (6)."""

LEAST_EVENTS = 10
GOOD_RMS_ARCSEC, WORST_RMS_ARCSEC = 1.0, 4.0


@dataclass(frozen=True, eq=False)
class WcsFit:
    """A fitted WCS and how well the events follow it.

    Parameters
    ----------
    wcs : WCS or None
        Tangent projection with a CD matrix, FK5; None when no WCS describes the events.
    rms_arcsec : float
        Residual of the events used, root mean square per axis [arcsec].
    events : int
        Events used.
    note : str
        What is wrong with the fit, in one line; empty when nothing is.
    """

    wcs: WCS | None
    rms_arcsec: float
    events: int
    note: str = ""


def sky_plane_deg(x: np.ndarray, y: np.ndarray, sky: SkyPlane) -> tuple[np.ndarray, np.ndarray]:
    """Tangent-plane position of events.

    Parameters
    ----------
    x, y : ndarray of int32, shape (n,)
        Sky columns X, Y [0.05 arcsec].
    sky : SkyPlane
        Their coordinates.

    Returns
    -------
    plane_deg : ndarray of float64, shape (n, 2)
        East and north of the centre [deg].
    known : ndarray of bool, shape (n,)
        False where X or Y is null. Values beyond the legal range of X and Y are real positions.
    """
    known = np.ones(np.shape(x), bool)
    for values, null in zip((x, y), sky.null, strict=True):
        known &= values != (null if null is not None else np.iinfo(np.int32).min)
    plane = [
        (values - reference) * step
        for values, reference, step in zip((x, y), sky.reference, sky.step_deg, strict=True)
    ]
    return np.stack(plane, axis=-1), known


def fit_wcs(
    pixel_xy: np.ndarray, plane_deg: np.ndarray, *, centre: tuple[float, float], scale_deg: float
) -> WcsFit:
    """Fit the sky coordinates of an image to its events.

    Parameters
    ----------
    pixel_xy : ndarray, shape (n, 2)
        Position of each event in the image [pixel], 0-based (x, y).
    plane_deg : ndarray, shape (n, 2)
        Position on the tangent plane, east and north [deg].
    centre : tuple of float
        RA, Dec of the point of contact [deg].
    scale_deg : float
        Pixel size [deg]; a fit that differs by 1 % is not believed.

    Returns
    -------
    WcsFit
        After one clip at 5 sigma. On MOS lists of 15-20 ks the residual, 0.08-0.14 arcsec, is the
        jitter of the attitude; above 1 arcsec the note warns, above 4 there is no WCS.
    """
    if len(pixel_xy) < LEAST_EVENTS:
        return WcsFit(None, 0.0, len(pixel_xy), f"{len(pixel_xy)} events are too few to fit a WCS")
    solve = _similarity if len(pixel_xy) < FEW_EVENTS else _affine
    matrix, offset = solve(pixel_xy, plane_deg)
    residual = plane_deg - pixel_xy @ matrix.T - offset
    keep = np.hypot(*residual.T) <= 5 * np.sqrt(np.mean(np.sum(residual**2, axis=1)) / 2) + 1e-12
    if not keep.all() and keep.sum() >= LEAST_EVENTS:
        pixel_xy, plane_deg = pixel_xy[keep], plane_deg[keep]
        matrix, offset = solve(pixel_xy, plane_deg)
        residual = plane_deg - pixel_xy @ matrix.T - offset
    rms = 3600 * float(np.sqrt(np.mean(residual**2)))
    area = float(np.linalg.det(matrix))
    if rms > WORST_RMS_ARCSEC:
        note = f"events scatter by {rms:.1f} arcsec about any WCS (re-pointed?), so none is written"
        return WcsFit(None, rms, len(pixel_xy), note)
    if not 0.98 < area / scale_deg**2 < 1.02:
        note = "the events do not span the field, so no WCS can be fitted to them"
        return WcsFit(None, rms, len(pixel_xy), note)
    note = f"events scatter by {rms:.1f} arcsec about the WCS" if rms > GOOD_RMS_ARCSEC else ""
    wcs = WCS(naxis=2, fix=False)
    wcs.wcs.ctype, wcs.wcs.cunit = ["RA---TAN", "DEC--TAN"], ["deg", "deg"]
    wcs.wcs.crval, wcs.wcs.cd = centre, matrix
    wcs.wcs.crpix = 1 - np.linalg.solve(matrix, offset)
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    wcs.wcs.set()
    return WcsFit(wcs, rms, len(pixel_xy), note)


def _affine(pixel_xy: np.ndarray, plane_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset of the best linear map."""
    mean_pixel, mean_plane = pixel_xy.mean(axis=0), plane_deg.mean(axis=0)
    matrix = np.linalg.lstsq(pixel_xy - mean_pixel, plane_deg - mean_plane, rcond=None)[0].T
    return matrix, mean_plane - matrix @ mean_pixel


def _similarity(pixel_xy: np.ndarray, plane_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best rotation, scale and shift, with the parity that all EPIC cameras have."""
    mean_pixel, mean_plane = pixel_xy.mean(axis=0), plane_deg.mean(axis=0)
    (u, v), (east, north) = (pixel_xy - mean_pixel).T, (plane_deg - mean_plane).T
    square = np.sum(u * u + v * v) or 1.0
    along, across = np.sum(u * east + v * north) / square, np.sum(u * north - v * east) / square
    matrix = np.array([[along, -across], [across, along]])
    return matrix, mean_plane - matrix @ mean_pixel
