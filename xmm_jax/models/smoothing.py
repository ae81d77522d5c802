"""Filters that average neighbours: counts over exposure, so dead pixels and short CCDs weigh less.

All take and return what every method of `xmm_jax.models.baselines` does.
"""

import numpy as np
from scipy import ndimage

from xmm_jax.models.interpolation import count_rate, fill_dead, finish, live_pixels


def gaussian(
    counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray, *, upscale: int, sigma: float
) -> np.ndarray:
    """Gaussian smoothing.

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side.
    sigma : float
        Width [pixel of `counts`].

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    light, weight = _weigh(counts, exposure, valid)
    rate = _smooth(light, sigma) / np.maximum(_smooth(weight, sigma), 1e-9)
    return finish(rate, counts, exposure, valid, upscale=upscale)


def median(
    counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray, *, upscale: int, size: int
) -> np.ndarray:
    """Median of a square.

    Parameters
    ----------
    counts, exposure, valid, upscale
        As for `gaussian`.
    size : int
        Side of the square [pixel of `counts`].

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    rate = fill_dead(count_rate(counts, exposure, valid), live_pixels(exposure, valid))
    rate = ndimage.median_filter(rate, size)
    return finish(rate, counts, exposure, valid, upscale=upscale)


def adaptive(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    snr: float,
    largest: float = 12.0,
    step: float = 1.2,
) -> np.ndarray:
    """Gaussian smoothing at every pixel with the narrowest kernel that reaches a signal-to-noise.

    As SAS asmooth and CIAO csmooth do (Ebeling, White & Rangarajan 2006, MNRAS 368, 65), with the
    signal-to-noise sum(g c) / sqrt(sum(g^2 c)) of counts c under a Gaussian g.

    Parameters
    ----------
    counts, exposure, valid, upscale
        As for `gaussian`.
    snr : float
        Signal-to-noise to reach.
    largest : float
        Widest kernel [pixel of `counts`], taken where none reaches it.
    step : float
        Ratio of one width to the next; the narrowest is 0.5 pixel.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    light, weight = _weigh(counts, exposure, valid)
    rate, done = np.zeros(light.shape), np.zeros(light.shape, bool)
    sigma = 0.5
    while not done.all():
        signal = _smooth(light, sigma)
        # The square of a Gaussian is a narrower one; the factors are their sums over pixels.
        axis = np.exp(-0.5 * (np.arange(-64, 65) / sigma) ** 2)
        factor = (np.sum(axis**2) / np.sum(axis) ** 2) ** 2
        noise = np.sqrt(np.maximum(_smooth(light, sigma / np.sqrt(2.0)) * factor, 1e-30))
        enough = (signal >= snr * noise) | (sigma * step > largest)
        take = enough & ~done
        rate[take] = (signal / np.maximum(_smooth(weight, sigma), 1e-9))[take]
        done |= enough
        sigma *= step
    return finish(rate, counts, exposure, valid, upscale=upscale)


def _weigh(
    counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts and seconds, both 0 where dead."""
    live = live_pixels(exposure, valid)
    return np.where(live, counts, 0).astype(float), np.where(live, exposure, 0.0).astype(float)


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, mode="constant")
