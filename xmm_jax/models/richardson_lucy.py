"""Richardson-Lucy deconvolution of counts (Richardson 1972, JOSA 62, 55; Lucy 1974, AJ 79, 745).

The sky is sought on the pixels of the result, blurred, binned to the pixels of the counts and
compared with them; at the end it is blurred with the PSF that the result should have: the same one
when denoising, half of it in super-resolution. Stopping early keeps the noise down.
"""

from collections.abc import Callable

import numpy as np
from scipy import signal

from xmm_jax.models.interpolation import count_rate, finish, live_pixels

Blur = Callable[[np.ndarray], np.ndarray]

# On-axis King profile of EPIC-pn in 0.5-2 keV: core radius 6 arcsec in 4 arcsec pixels and slope,
# as fitted to point sources of the published simulations of Sweere et al. 2022.
CORE, SLOPE = 1.5, 1.58


def king_kernel(core: float, slope: float, *, half_width: int) -> np.ndarray:
    """Round King profile (1 + (r / core)^2)^-slope of sum 1.

    Parameters
    ----------
    core : float
        Core radius [pixel].
    slope : float
        Exponent.
    half_width : int
        The kernel has 2 half_width + 1 pixels a side.

    Returns
    -------
    ndarray
        [y, x].
    """
    index = np.arange(-half_width, half_width + 1.0)
    kernel = (1.0 + (index[:, None] ** 2 + index**2) / core**2) ** -slope
    return kernel / kernel.sum()


def richardson_lucy(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    iterations: int,
    core: float = CORE,
    slope: float = SLOPE,
    half_width: int = 15,
) -> np.ndarray:
    """Richardson-Lucy with one PSF for the whole field.

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side; the PSF of the result is this many times narrower.
    iterations : int
        Number of updates.
    core, slope : float
        Of the King profile; core radius in pixels of `counts`.
    half_width : int
        Of the kernel [pixel of `counts`].

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    wide = king_kernel(core * upscale, slope, half_width=half_width * upscale)
    narrow = king_kernel(core, slope, half_width=half_width * upscale)

    def blurred(kernel: np.ndarray) -> Blur:
        return lambda image: signal.oaconvolve(image, kernel, mode="same")

    # The kernel is symmetric, so the blur is its own adjoint.
    return richardson_lucy_variant(
        counts,
        exposure,
        valid,
        upscale=upscale,
        iterations=iterations,
        forward=blurred(wide),
        adjoint=blurred(wide),
        restore=blurred(narrow),
    )


def richardson_lucy_variant(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    iterations: int,
    forward: Blur,
    adjoint: Blur,
    restore: Blur,
) -> np.ndarray:
    """Richardson-Lucy with any blur.

    Parameters
    ----------
    counts, exposure, valid, upscale, iterations
        As for `richardson_lucy`.
    forward, adjoint : callable
        Blur of the observation and its adjoint, image [s y, s x] -> image [s y, s x].
    restore : callable
        Blur that the result should have, likewise.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    live = live_pixels(exposure, valid)
    seconds = np.where(live, exposure, 0.0).astype(float)

    def observe(sky: np.ndarray) -> np.ndarray:
        rows, columns = live.shape
        binned = forward(sky).reshape(rows, upscale, columns, upscale).sum(axis=(1, 3))
        return seconds * binned

    def project(image: np.ndarray) -> np.ndarray:
        return adjoint((seconds * image).repeat(upscale, 0).repeat(upscale, 1))

    seen = project(np.ones(live.shape))
    # A sky pixel that hardly any live pixel sees cannot be known; there nothing is sought.
    known = seen > 0.01 * seen.max()
    mean = count_rate(counts, exposure, valid).sum() / max(live.sum(), 1) / upscale**2
    sky = np.where(known, mean, 0.0)
    for _ in range(iterations):
        ratio = np.where(live, counts, 0) / np.maximum(observe(sky), 1e-12)
        sky = np.where(
            known, sky * project(np.where(live, ratio, 0.0)) / np.where(known, seen, 1), 0
        )
        sky = np.maximum(sky, 0.0)
    return finish(restore(sky), counts, exposure, valid, upscale=upscale)
