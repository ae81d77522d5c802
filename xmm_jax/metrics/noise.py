"""How noisy the background of an image is, and on which scales. numpy, one image ``[y, x]``.

Smoothing lowers the scatter of pixels and leaves that of large areas. A score that is to compare
with a longer exposure must therefore say on which scale; the power spectrum says it for all.
"""

from typing import NamedTuple

import numpy as np

from xmm_jax.errors import InputError


class Spectrum(NamedTuple):
    """Noise power per frequency.

    Attributes
    ----------
    frequency : ndarray
        Mean frequency of each bin [cycle/pixel].
    power : ndarray
        Variance that white noise of this power would have, per pixel [squared unit of the image].
    """

    frequency: np.ndarray
    power: np.ndarray


def background_rms(
    rate: np.ndarray,
    region: np.ndarray,
    *,
    cell: int = 1,
    expected: np.ndarray | float | None = None,
) -> float:
    """Scatter of the background between square cells.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel], ``[y, x]``.
    region : ndarray of bool
        Pixels that hold background alone.
    cell : int
        Side of the cells [pixel]; those wholly in the region count.
    expected : ndarray or float, optional
        Background behind the noise [count/s/pixel]; by default its mean over the region.

    Returns
    -------
    float
        Standard deviation of the mean rate of a cell [count/s/pixel].

    Raises
    ------
    InputError
        If fewer than two cells lie in the region.
    """
    height, width = (side // cell for side in rate.shape)

    def cells(image: np.ndarray) -> np.ndarray:
        cut = image[: height * cell, : width * cell].astype(np.float64)
        return cut.reshape(height, cell, width, cell).mean(axis=(1, 3))

    inside = cells(np.asarray(region, bool)) == 1
    if inside.sum() < 2:
        raise InputError(
            f"the region holds no two cells of {cell} x {cell} pixels of background; "
            "choose a larger one"
        )
    if expected is None:
        return float(cells(rate)[inside].std(ddof=1))
    offset = cells(rate - np.broadcast_to(expected, rate.shape))[inside]
    return float(np.sqrt(np.mean(offset**2)))


def effective_exposure_ratio(
    rate: np.ndarray,
    reference: np.ndarray,
    region: np.ndarray,
    *,
    cell: int = 1,
    expected: np.ndarray | float | None = None,
) -> float:
    """By how much longer one would have to look for a background as smooth.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel].
    reference : ndarray
        The input on the same grid [count/s/pixel].
    region, cell, expected
        As in `background_rms`.

    Returns
    -------
    float
        Squared ratio of the scatters: of the reference over that of the image.
    """
    before, after = (
        background_rms(image, region, cell=cell, expected=expected) for image in (reference, rate)
    )
    return (before / after) ** 2 if after > 0 else float("inf")


def noise_power_spectrum(
    rate: np.ndarray,
    region: np.ndarray,
    *,
    bins: int = 24,
    expected: np.ndarray | float | None = None,
) -> Spectrum:
    """Power of the background by frequency, mean over directions.

    The squared size of the Fourier transform of the offsets in the region, over the number of its
    pixels. Holes in the region blur the spectrum a little.

    Parameters
    ----------
    rate, region, expected
        As in `background_rms`.
    bins : int
        Rings of equal width from 0 to 0.5 cycle/pixel.

    Returns
    -------
    Spectrum
        ``[bins]``; rings without a frequency are left out.
    """
    inside = np.asarray(region, bool)
    mean = rate[inside].mean(dtype=np.float64) if expected is None else expected
    offset = np.where(inside, rate - mean, 0.0)
    power = np.abs(np.fft.fft2(offset)) ** 2 / max(inside.sum(), 1)
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, rate.shape), indexing="ij"))
    ring = (frequency * (2 * bins)).astype(int).ravel()
    ring[0] = bins  # the mean is no noise
    number, *sums = (
        np.bincount(ring, weights, bins + 1)[:bins]
        for weights in (np.ones(ring.size), frequency.ravel(), power.ravel())
    )
    there = number > 0
    return Spectrum(*(one[there] / number[there] for one in sums))
