"""Counts within 15" of the features of an enhanced image, with bounds that were calibrated.

Errors of neighbouring pixels do not add, so the flux of a source has error bars of its own: those
of the counts N that the input should have in the live pixels within 15", background and all
(`xmm_jax.calibrate`). A chip gap hides some of the pixels of every other source; what it hides is
not in N. numpy, one image ``[y, x]``.
"""

import numpy as np

from xmm_jax.instrument.camera import PN, Camera, angle_map
from xmm_jax.metrics.detection import Table
from xmm_jax.models.intervals import Intervals

APERTURE_ARCSEC = 15.0
LIVE_SHARE = 0.5  # of the pixels of an aperture; with less, nothing is said
# The square root of a Poisson count scatters by 1/2, however large the count.
ROOT_SCATTER = 0.5


def disc(upscale: int, camera: Camera = PN) -> np.ndarray:
    """Pixels whose centre lies within 15" of that of the middle one, [y, x] of bool.

    Parameters
    ----------
    upscale : int
        Pixels per native pixel and side.
    camera : Camera
        The camera.
    """
    radius = APERTURE_ARCSEC / camera.pixel_arcsec * upscale
    reach = int(radius)
    return np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= radius


def counts_within(
    rate: np.ndarray,
    exposure: np.ndarray,
    live: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    law: Intervals,
    *,
    camera: Camera = PN,
) -> Table:
    """Counts that the input should have within 15" of places, and how wrong they may be.

    Parameters
    ----------
    rate : ndarray
        Enhanced image [count/s/pixel], ``[s*y, s*x]``.
    exposure, live : ndarray
        Of the input: live time [s], True = use; ``[y, x]``.
    places : tuple of ndarray
        x and y of the places [pixel of the image]; apertures are about the nearest pixels.
    law : Intervals
        Calibration of apertures, `xmm_jax.calibrate.Calibrated.apertures`.
    camera : Camera
        The camera; a frame of another shape has no off-axis angles, and takes the law of all.

    Returns
    -------
    dict of ndarray
        ``aperture`` [count], ``aperture_lo`` and ``aperture_hi``, ends of its 68 % interval; NaN
        where less than half of the aperture is live.
    """
    s = rate.shape[0] // exposure.shape[0]
    fine, use = (image.repeat(s, 0).repeat(s, 1) for image in (exposure, live))
    inside = disc(s, camera)
    reach = len(inside) // 2
    counts, use = (np.pad(image, reach) for image in (np.where(use, rate * fine, 0.0), use))
    columns, rows = (
        np.clip(np.rint(axis).astype(int), 0, size - 1)
        for axis, size in zip(places, rate.shape[::-1], strict=True)
    )
    n = np.full(len(rows), np.nan)
    for k, (row, column) in enumerate(zip(rows, columns, strict=True)):
        window = np.s_[row : row + len(inside), column : column + len(inside)]
        if use[window][inside].mean() >= LIVE_SHARE:
            n[k] = counts[window][inside].sum()
    angle = angle_map(camera, s)[rows, columns] if exposure.shape == camera.shape else None
    root = np.sqrt(np.maximum(np.nan_to_num(n), 0.0))
    low, high = law.bounds(root, ROOT_SCATTER, fine[rows, columns], angle)
    known = np.isfinite(n)
    return {
        "aperture": n,
        "aperture_lo": np.where(known, low**2, np.nan),
        "aperture_hi": np.where(known, high**2, np.nan),
    }
