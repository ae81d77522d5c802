"""Whether an image explains the counts it was made from.

The prediction is seen by the instrument once more and compared with the input. Counts are few, so
chi squared will not do: the C statistic (Cash 1979, ApJ 228, 939) is compared with its expectation
and variance (Kaastra 2017, A&A 605, A51). numpy, one image ``[y, x]``.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincc, gammaln, ndtri, xlogy

from xmm_jax.errors import InputError

# Expected counts are at least this [count]: no image rules a photon out.
LEAST = 1e-6
# Beyond, expectation and variance of the C statistic are 1 and 2 within 2e-4.
LARGEST = 1e3
BLOB_SIDE = 3  # [pixel]


class Consistency(NamedTuple):
    """How well expected counts explain counts.

    Attributes
    ----------
    c_stat, expectation, deviation : float
        C statistic, its expectation and standard deviation if the expected counts are true.
    z : float
        ``(c_stat - expectation) / deviation``: far above 0 the image contradicts the counts; far
        below, it holds their noise.
    blob_sigma : float
        Largest excess (above 0) or deficit (below 0) of counts in a square of 3 x 3 pixels, as a
        number of Gaussian sigmas of the same probability.
    blob : tuple of int
        Its centre (x, y) [pixel].
    residual : ndarray
        ``(counts - expected) / sqrt(expected)`` [sigma], 0 where dead.
    """

    c_stat: float
    expectation: float
    deviation: float
    z: float
    blob_sigma: float
    blob: tuple[int, int]
    residual: np.ndarray


def expected_counts(
    rate: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    response: Callable[[np.ndarray], np.ndarray] | None = None,
    background: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Counts that an image predicts for the input.

    Parameters
    ----------
    rate : ndarray
        Prediction [count/s/pixel], ``[s*y, s*x]``.
    exposure : ndarray
        Exposure of the input [s], ``[y, x]``.
    valid : ndarray of bool
        Live pixels of the input, same shape.
    response : callable, optional
        What the input has and the prediction has not, on the grid of either: the residual blur
        (`xmm_jax.metrics.response`). By default nothing but larger pixels.
    background : ndarray or float
        Counts of the input that the prediction leaves out [count].

    Returns
    -------
    ndarray
        Expected counts [count], ``[y, x]``, 0 where dead.

    Raises
    ------
    InputError
        If the pixels of the prediction do not divide those of the input.
    """
    rate = np.asarray(rate if response is None else response(rate), np.float64)
    upscale, rest = np.divmod(rate.shape, exposure.shape)
    if np.any(rest) or upscale[0] != upscale[1]:
        raise InputError(
            f"an image of {rate.shape} pixels does not fit one of {exposure.shape}; give one shape"
        )
    height, width = exposure.shape
    binned = rate.reshape(height, upscale[0], width, upscale[1]).sum(axis=(1, 3))
    return np.where(valid, binned * exposure + background, 0.0)


def consistency(expected: np.ndarray, counts: np.ndarray, valid: np.ndarray) -> Consistency:
    """Compare counts with what was expected.

    Parameters
    ----------
    expected : ndarray
        Expected counts [count], ``[y, x]``; at least 1e-6 is taken.
    counts : ndarray
        Counts [count], same shape.
    valid : ndarray of bool
        Live pixels, same shape.

    Returns
    -------
    Consistency
    """
    live = np.asarray(valid, bool)
    mean, seen = np.maximum(expected, LEAST)[live].astype(np.float64), counts[live]
    c_stat = c_statistic(mean, seen).sum()
    expectation, variance = (moment.sum() for moment in c_moments(mean))
    full = np.zeros(live.shape)
    full[live] = mean
    found = np.where(live, counts, 0.0)
    sigma = _blob_sigmas(_squares(full), _squares(found))
    row, column = np.unravel_index(np.argmax(np.abs(sigma)), sigma.shape)
    residual = np.where(live, (found - full) / np.sqrt(np.where(live, full, 1.0)), 0.0)
    deviation = np.sqrt(variance)
    half = BLOB_SIDE // 2
    return Consistency(
        c_stat=float(c_stat),
        expectation=float(expectation),
        deviation=float(deviation),
        z=float((c_stat - expectation) / deviation),
        blob_sigma=float(sigma[row, column]),
        blob=(int(column) + half, int(row) + half),
        residual=residual,
    )


def c_statistic(expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """C statistic of each pixel, ``2 (m - n + n ln(n / m))``: n counts, m expected (equation 1)."""
    return 2 * (expected - counts + xlogy(counts, counts) - xlogy(counts, expected))


def c_moments(expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expectation and variance of the C statistic of a pixel whose expected counts are true.

    Parameters
    ----------
    expected : ndarray
        Expected counts [count].

    Returns
    -------
    expectation, variance : ndarray
        Interpolated, within 1e-4, between sums over the Poisson law.
    """
    logs, expectation, variance = _moment_table()
    place = np.log(np.clip(expected, LEAST, LARGEST))
    return np.interp(place, logs, expectation), np.interp(place, logs, variance)


@functools.lru_cache(maxsize=1)
def _moment_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logs = np.linspace(np.log(LEAST), np.log(LARGEST), 1000)
    mean = np.exp(logs)[:, None]
    n = np.arange(LARGEST + 12 * np.sqrt(LARGEST))
    chance = np.exp(xlogy(n, mean) - mean - gammaln(n + 1))
    value = c_statistic(mean, n)
    expectation = (chance * value).sum(axis=1)
    return logs, expectation, (chance * value**2).sum(axis=1) - expectation**2


def _squares(image: np.ndarray) -> np.ndarray:
    """Sums over 3 x 3 pixels, inside the image only."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (BLOB_SIDE, BLOB_SIDE))
    return windows.sum(axis=(-2, -1))


def _blob_sigmas(expected: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Gaussian sigmas with the tail probability of so many counts or more, or so few or less."""
    mean = np.maximum(expected, LEAST)
    excess = counts > mean
    tail = np.where(excess, gammainc(np.maximum(counts, 1.0), mean), gammaincc(counts + 1.0, mean))
    # Too small for a float64: by the theorem of Wilks the root of C is nearly as good.
    size = np.where(tail > 1e-290, -ndtri(np.maximum(tail, 1e-290)), 0.0)
    size = np.where(tail > 1e-290, size, np.sqrt(np.maximum(c_statistic(mean, counts), 0.0)))
    return np.where(excess, 1.0, -1.0) * np.maximum(size, 0.0)
