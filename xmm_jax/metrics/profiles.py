"""Light of an extended source in rings about its centre, of an image and of the truth."""

import numpy as np

from xmm_jax.instrument.camera import PN, Camera, from_native

EDGES_ARCSEC = np.array([0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0])
LEAST_COUNTS = 100.0  # of the truth in a ring; with less, nothing is said


def ring_ratios(
    rate: np.ndarray,
    truth: np.ndarray,
    live: np.ndarray,
    centre: tuple[float, float],
    *,
    seconds: float,
    camera: Camera = PN,
) -> np.ndarray:
    """Light of an image in rings, over that of the truth.

    Parameters
    ----------
    rate, truth : ndarray
        Image and noise-free truth [count/s/pixel], ``[s*y, s*x]``.
    live : ndarray of bool
        Pixels that count, same shape.
    centre : tuple of float
        x and y of the source [native pixel].
    seconds : float
        Exposure of the input [s].
    camera : Camera
        The camera.

    Returns
    -------
    ndarray
        [ring] between `EDGES_ARCSEC`; NaN where the truth would give less than 100 counts in
        `seconds`.
    """
    upscale = rate.shape[0] // camera.shape[0]
    x, y = (from_native(axis, upscale) for axis in centre)
    rows, columns = np.ogrid[: rate.shape[0], : rate.shape[1]]
    apart = np.hypot(rows - y, columns - x) * camera.pixel_arcsec / upscale
    ring, rings = np.digitize(apart, EDGES_ARCSEC) - 1, len(EDGES_ARCSEC) - 1
    inside = live & (ring < rings)
    seen, true = (
        np.bincount(ring[inside], image[inside].astype(float), rings) for image in (rate, truth)
    )
    enough = true * seconds >= LEAST_COUNTS
    return np.where(enough, seen / np.where(enough, true, 1.0), np.nan)


def deviation(ratios: np.ndarray) -> dict[str, float]:
    """How far rings are off, on the mean.

    Parameters
    ----------
    ratios : ndarray
        From `ring_ratios`.

    Returns
    -------
    dict of str to float
        ``profile_bias``, mean of ratio - 1, and ``profile_error``, mean of its size, over the
        rings of which something is known; NaN if there are none.
    """
    off = ratios[np.isfinite(ratios)] - 1.0
    if not len(off):
        return {"profile_bias": np.nan, "profile_error": np.nan}
    return {"profile_bias": float(off.mean()), "profile_error": float(np.abs(off).mean())}
