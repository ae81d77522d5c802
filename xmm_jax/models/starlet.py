"""Wavelet denoising of counts: starlet transform, Poisson thresholds, positive reconstruction.

The way of the XMM-XXL source search (Faccioli et al. 2018, A&A 620, A9; Starck & Pierre 1998,
A&AS 128, 397), with the significance of a coefficient from the multi-scale variance stabilisation
of Zhang, Fadili & Starck 2008 (IEEE Trans. Image Process. 17, 1093), which holds from about 0.1
counts per pixel on. Transform and à-trous algorithm: Starck, Fadili & Murtagh 2007 (ibid. 16, 297).
"""

import functools
import itertools

import numpy as np
from scipy import ndimage

from xmm_jax.models.interpolation import fill_dead, finish, live_pixels

SPLINE = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0  # cubic B-spline


def smooth(image: np.ndarray, scale: int) -> np.ndarray:
    """One step of the à-trous algorithm: the spline with holes, reflected at the edges.

    Parameters
    ----------
    image : ndarray
        [y, x].
    scale : int
        Taps are 2^scale pixels apart.

    Returns
    -------
    ndarray
        [y, x].
    """
    taps = _holes(SPLINE, 2**scale)
    return ndimage.convolve1d(ndimage.convolve1d(image, taps, 0), taps, 1)


def transform(image: np.ndarray, scales: int) -> np.ndarray:
    """Starlet transform.

    Parameters
    ----------
    image : ndarray
        [y, x].
    scales : int
        Number of wavelet scales.

    Returns
    -------
    ndarray
        [scale + 1, y, x]: differences of successive smoothings, then the last smoothing; their sum
        is the image.
    """
    smoothed = list(itertools.accumulate(range(scales), smooth, initial=image))
    return np.stack([a - b for a, b in itertools.pairwise(smoothed)] + [smoothed[-1]])


def significance(counts: np.ndarray, scales: int) -> np.ndarray:
    """Wavelet coefficients of counts in units of their noise.

    Parameters
    ----------
    counts : ndarray
        Poisson counts [count], [y, x].
    scales : int
        Number of wavelet scales.

    Returns
    -------
    ndarray
        [scale, y, x], of standard deviation near 1 on a flat field.
    """
    smoothed = itertools.accumulate(range(scales), smooth, initial=counts)
    factors, noise = _stabilisers(scales)
    stable = [
        factor * np.sqrt(np.maximum(image + offset, 0.0))
        for image, (factor, offset) in zip(smoothed, factors, strict=True)
    ]
    return np.stack(
        [(a - b) / s for (a, b), s in zip(itertools.pairwise(stable), noise, strict=True)]
    )


def starlet(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    threshold: float = 3.0,
    scales: int = 5,
    iterations: int = 10,
) -> np.ndarray:
    """Keep the significant wavelet coefficients, reconstruct a positive image that has them.

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side, by cubic interpolation at the end.
    threshold : float
        Significance from which a coefficient is kept; one more at the finest scale, where most
        chance peaks are.
    scales : int
        Number of wavelet scales.
    iterations : int
        Of the reconstruction (Starck & Pierre 1998, section 4).

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    live = live_pixels(exposure, valid)
    longest = float(np.max(exposure, initial=0.0, where=live)) or 1.0
    gain = longest / np.where(live, exposure, longest)
    image = fill_dead(gain * np.where(live, counts, 0), live)
    limit = np.full((scales, 1, 1), float(threshold))
    limit[0] += 1.0
    # Counts scaled up from a short exposure are noisier than counts.
    support = np.abs(significance(image, scales)) > limit * np.sqrt(gain)
    result = np.zeros(image.shape)
    for _ in range(iterations):
        *details, coarse = transform(image - result, scales)
        result = np.maximum(result + np.sum(np.where(support, details, 0.0), axis=0) + coarse, 0.0)
    return finish(result / longest, counts, exposure, valid, upscale=upscale)


def _holes(taps: np.ndarray, distance: int) -> np.ndarray:
    spread = np.zeros((len(taps) - 1) * distance + 1)
    spread[::distance] = taps
    return spread


@functools.cache
def _stabilisers(scales: int) -> tuple[list[tuple[float, float]], list[float]]:
    """(factor, offset) per smoothing and noise per scale, Zhang et al. 2008, equations 7 to 12.

    With tau_k the sum of the k-th power of the kernel of a smoothing, factor * sqrt(a + offset) is
    stable: offset = 7 tau2 / (8 tau1) - tau3 / (2 tau2), factor = 1 / sqrt(tau1).
    """
    kernels = [np.ones(1)]
    for scale in range(scales):
        kernels.append(np.convolve(kernels[-1], _holes(SPLINE, 2**scale)))
    # Kernels of an image are the products of those of its axes; all of sum 1.
    tau2, tau3 = ([np.sum(kernel**k) ** 2 for kernel in kernels] for k in (2, 3))
    factors = [(1.0, 7.0 * t2 / 8.0 - t3 / (2.0 * t2)) for t2, t3 in zip(tau2, tau3, strict=True)]
    noise = []
    for index, (fine, wide) in enumerate(itertools.pairwise(kernels)):
        margin = (len(wide) - len(fine)) // 2
        overlap = np.sum(np.pad(fine, margin) * wide) ** 2
        noise.append(float(np.sqrt((tau2[index] + tau2[index + 1]) / 4.0 - overlap / 2.0)))
    return factors, noise
