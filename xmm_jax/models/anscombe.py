"""Denoisers for Gaussian noise on counts: stabilise, denoise, undo without bias.

The Anscombe transform gives a Poisson count a standard deviation near 1. The inverse must be that
of the mean of the transform, not of the transform itself, or faint regions come out too faint
(Mäkitalo & Foi 2011, IEEE Trans. Image Process. 20, 99 and 2697).
"""

import math
from collections.abc import Callable

import numpy as np

from xmm_jax.models.interpolation import fill_dead, finish, live_pixels

SHIFT = 3.0 / 8.0
ZERO = 2.0 * math.sqrt(SHIFT)  # the transform of no counts


def stabilise(counts: np.ndarray) -> np.ndarray:
    """Anscombe transform (Anscombe 1948, Biometrika 35, 246).

    Parameters
    ----------
    counts : ndarray
        Counts [count].

    Returns
    -------
    ndarray
        2 sqrt(counts + 3/8), of standard deviation near 1.
    """
    return 2.0 * np.sqrt(counts + SHIFT)


def expected_counts(mean: np.ndarray) -> np.ndarray:
    """Exact unbiased inverse, in closed form (Mäkitalo & Foi 2011, TIP 20, 2697, equation 10).

    Parameters
    ----------
    mean : ndarray
        Mean of the Anscombe transform of Poisson counts [1].

    Returns
    -------
    ndarray
        Mean of those counts [count], not negative.
    """
    mean = np.maximum(mean, ZERO)
    root = math.sqrt(1.5)
    value = (
        mean**2 / 4.0
        + root / (4.0 * mean)
        - 11.0 / (8.0 * mean**2)
        + 5.0 * root / (8.0 * mean**3)
        - 1.0 / 8.0
    )
    return np.maximum(value, 0.0)


def denoise(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    denoiser: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Apply a denoiser for Gaussian noise of standard deviation 1 to counts.

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side, by cubic interpolation after denoising.
    denoiser : callable
        Image [y, x] -> image [y, x].

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    live = live_pixels(exposure, valid)
    seconds = np.where(live, exposure, 1.0)
    # CCDs that stopped early would stand out as darker: bring all to the longest exposure.
    gain = np.sqrt(seconds.max() / seconds)
    image = fill_dead(gain * stabilise(np.where(live, counts, 0)), live)
    rate = expected_counts(denoiser(image) / gain) / seconds
    return finish(rate, counts, exposure, valid, upscale=upscale)
