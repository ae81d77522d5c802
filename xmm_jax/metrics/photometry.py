"""Rates of sources in circular apertures, on true positions (forced) or on found ones.

The background is the mean of a ring. What the PSF loses beyond the aperture and puts into the ring
is given back with the PSF that the image *should* have: a method that leaves sources too wide
shows a negative bias. So does an image that holds what the detector does to light (input and target
of denoising): 5 % of a source is smeared over its column while the CCD is read out.
"""

import functools

import jax.numpy as jnp
import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.instrument import psf
from xmm_jax.instrument.camera import PN, Camera, from_native
from xmm_jax.instrument.camera import off_axis as angles
from xmm_jax.metrics.detection import Table
from xmm_jax.simulator.presets import find_preset

APERTURE_ARCSEC = 15.0
RING_ARCSEC = (30.0, 45.0)
LIVE_SHARE = 0.95  # of the aperture; with less, nothing is said
ANGLES_ARCMIN = np.arange(0.0, 18.0, 1.5)


@functools.lru_cache(maxsize=16)
def encircled_energy(radius: float, *, preset: str = "physical", camera: Camera = PN) -> np.ndarray:
    """Share of the PSF of the simulator inside a circle, at each of `ANGLES_ARCMIN`.

    Parameters
    ----------
    radius : float
        Of the circle [pixel]; the PSF is the same in pixels on every grid, see
        `xmm_jax.instrument.psf`.
    preset : str
        Which PSF.
    camera : Camera
        The camera.

    Returns
    -------
    ndarray
        Share [angle], 1 where the circle holds the whole box of the PSF.
    """
    constants = find_preset(preset)
    x = np.round(camera.axis[0] - ANGLES_ARCMIN * 60.0 / camera.pixel_arcsec).astype(np.float32)
    half = constants.kernel_half_width
    y = np.full_like(x, camera.axis[1])
    stamps, _, _ = psf.stamps(
        camera,
        jnp.asarray(x),
        jnp.asarray(y),
        1,
        half_width=half,
        core_scale=constants.core_scale,
    )
    circle = _apertures().CircularAperture((half, half), radius)
    return np.array([circle.do_photometry(one)[0][0] for one in np.asarray(stamps, float)])


def measure(
    rate: np.ndarray,
    live: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    upscale: int,
    psf_pixel_arcsec: float = 0.0,
    preset: str = "physical",
    camera: Camera = PN,
) -> Table:
    """Rates of sources in an image.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel], ``[s*y, s*x]``; a flat background does not matter.
    live : ndarray of bool
        Pixels that count, same shape.
    x, y : ndarray
        Positions [native pixel].
    upscale : int
        Pixels of the image per native pixel and side.
    psf_pixel_arcsec : float
        Pixel of the grid whose PSF the image should have [arcsec]: 0, its own (the target of
        super-resolution has half the PSF); the native pixel says that the PSF is the camera's.
    preset : str
        Which PSF of the simulator.
    camera : Camera
        The camera.

    Returns
    -------
    dict of ndarray
        ``flux`` [count/s in the whole PSF], ``error`` [count/s: scatter of the pixels of the ring
        as independent noise in the aperture], ``background`` [count/s/pixel]; NaN where less than
        95 % of the aperture is live.
    """
    pixel = camera.pixel_arcsec / upscale
    photo, live = _apertures(), np.asarray(live, bool)
    if not len(x):
        return {name: np.zeros(0) for name in ("flux", "error", "background")}
    spots = np.column_stack([from_native(np.asarray(axis, float), upscale) for axis in (x, y)])
    inner = photo.CircularAperture(spots, APERTURE_ARCSEC / pixel)
    ring = photo.CircularAnnulus(spots, *(radius / pixel for radius in RING_ARCSEC))
    image = np.where(live, rate, 0.0).astype(float)
    (inside, area), (around, ring_area), (square, _) = (
        [aperture.do_photometry(values)[0] for values in (values, live.astype(float))]
        for aperture, values in ((inner, image), (ring, image), (ring, image**2))
    )
    ring_area = np.maximum(ring_area, 1e-9)
    mean = around / ring_area
    angle, _ = angles(camera, np.asarray(x, float), np.asarray(y, float))
    inner_share, low, high = (
        np.interp(
            angle,
            ANGLES_ARCMIN,
            encircled_energy(radius / (psf_pixel_arcsec or pixel), preset=preset, camera=camera),
        )
        for radius in (APERTURE_ARCSEC, *RING_ARCSEC)
    )
    share = inner_share - (high - low) * inner.area / ring.area
    scatter = np.sqrt(np.maximum(square / ring_area - mean**2, 0.0) * inner.area)
    # A few dead pixels: the rest of the aperture speaks for them.
    whole = np.where(area >= LIVE_SHARE * inner.area, inner.area / np.maximum(area, 1e-9), np.nan)
    flux = (inside - mean * area) * whole / share
    return {"flux": flux, "error": scatter * whole / share, "background": mean * whole / whole}


def bias_and_scatter(flux: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How far measured rates are from true ones; NaN is left out.

    Parameters
    ----------
    flux, truth : ndarray
        Measured and true rates, same unit.

    Returns
    -------
    dict of str to float
        ``bias``, the median of (flux - truth) / truth; ``scatter``, 1.4826 times the median
        absolute deviation from it; ``rfe``, the mean absolute relative flux error of Astro U-net
        (Vojtekova et al. 2021, MNRAS 503, 3204, eq. 25, absolute as in its figure 6); ``slope`` and
        ``intercept`` of flux = slope truth + intercept, every source with its relative error.
    """
    good = np.isfinite(flux) & (truth > 0)
    if good.sum() < 2:
        return dict.fromkeys(("bias", "scatter", "rfe", "slope", "intercept"), np.nan)
    flux, truth = flux[good], truth[good]
    off = (flux - truth) / truth
    bias = np.median(off)
    design = np.column_stack([np.ones(len(truth)), 1.0 / truth])
    slope, intercept = np.linalg.lstsq(design, flux / truth, rcond=None)[0]
    return {
        "bias": float(bias),
        "scatter": float(1.4826 * np.median(np.abs(off - bias))),
        "rfe": float(np.mean(np.abs(off))),
        "slope": float(slope),
        "intercept": float(intercept),
    }


def signal_to_noise(measured: Table) -> float:
    """Mean signal-to-noise of sources as Astro U-net defines it.

    Parameters
    ----------
    measured : dict of ndarray
        From `measure`.

    Returns
    -------
    float
        Mean of F / sqrt(E^2 + B^2) with error E of the flux and background B (Vojtekova et al.
        2021, eq. 26); SNR_f (eq. 28) is this of the output over this of the input on the *same*
        sources. The noise is the image's own: an image without noise has no bound.
    """
    noise = np.hypot(measured["error"], measured["background"])
    good = np.isfinite(measured["flux"]) & (noise > 0)
    return float(np.mean(measured["flux"][good] / noise[good])) if good.any() else np.nan


def _apertures():
    try:
        from photutils import aperture
    except ImportError as error:
        raise InputError("photometry needs photutils: pip install 'xmm-jax[evaluate]'") from error
    return aperture
