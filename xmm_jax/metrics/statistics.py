"""Scores against counted photons that an image was not made from.

numpy, float64, one image; arrays of one shape, ``[y, x]`` or with further axes. Nothing is clipped,
save where a score is the paper's PSNR.
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.special import gammaincc, xlogy

from xmm_jax.errors import InputError
from xmm_jax.losses.pixel import EPSILON


class FloorSubtracted(NamedTuple):
    """PSNR against a noisy target, and what is left of it without the noise of the target.

    Attributes
    ----------
    plain : float
        PSNR [dB] as in the paper.
    ceiling : float
        PSNR [dB] that the truth itself would reach: the noise floor.
    psnr : float
        PSNR [dB] of the error beyond the floor; where that is below its own standard error, of the
        latter, as a lower limit.
    excess, error : float
        Squared error beyond the floor, in squared clip rates, and its standard error. To average
        over fields, average these.
    """

    plain: float
    ceiling: float
    psnr: float
    excess: float
    error: float


def bits_per_photon(
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    floor: float = 1e-3,
    rescale: bool = False,
) -> float:
    """Poisson log likelihood of held-out photons, per photon, beyond that of a flat field.

    ``(L(rate) - L(flat)) / (N ln 2)`` with ``L = sum(n ln m - m)``, m the expected counts; flat is
    the one rate that gives the N photons, the best that knows nothing of the image. The difference
    of two scores is the gain of one image over the other.

    Parameters
    ----------
    rate : ndarray
        Prediction [count/s/pixel], background included, as the counts hold it.
    counts : ndarray
        Photons that the prediction has not seen [count].
    exposure : ndarray
        Exposure of the counts [s].
    valid : ndarray of bool
        Pixels that count; those without exposure never do.
    floor : float
        Least rate, in flat rates: a photon where the prediction says never costs log2(1/floor),
        10 bits, not infinitely many.
    rescale : bool
        Scale the prediction to N photons first, to judge its shape where the background of the
        held-out time is another.

    Returns
    -------
    float
        Bits per photon; 0 for a flat image.

    Raises
    ------
    InputError
        If there is no photon or shapes differ.
    """
    rate, counts, exposure = _live(valid, exposure, rate, counts, exposure)
    photons = counts.sum()
    if photons <= 0:
        raise InputError("there is no photon to score on; choose a longer held-out exposure")
    flat = photons / exposure.sum()
    expected = np.maximum(rate, floor * flat) * exposure
    if rescale:
        expected *= photons / expected.sum()
    gain = xlogy(counts, expected / (flat * exposure)).sum() - (expected.sum() - photons)
    return float(gain / (photons * np.log(2)))


def noise_floor(
    target: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    clip_rate: float,
    expected: np.ndarray | None = None,
    region: Literal["frame", "mask"] = "frame",
) -> float:
    """Mean squared error of the truth itself against a target of counts.

    Parameters
    ----------
    target : ndarray
        Counts of the target [count], in the frame that the PSNR is taken of.
    exposure : ndarray
        Exposure of the target [s].
    valid : ndarray of bool
        Live pixels of the target.
    clip_rate : float
        Rate at value 1 [count/s/pixel]; both sides are clipped there.
    expected : ndarray, optional
        Rate behind the target [count/s/pixel] where it is known: the error is then summed exactly
        over the Poisson law of the clipped counts. Otherwise the variance of a rate is estimated by
        counts / exposure^2, without bias, and is 0 where the target is clipped.
    region : {"frame", "mask"}
        Whether dead pixels count as agreement, as in the paper.

    Returns
    -------
    float
        In squared clip rates; ``-10 log10`` of it is the PSNR of the truth.
    """
    counts, seconds = _live(valid, exposure, target, exposure)
    pixels = np.size(target) if region == "frame" else counts.size
    if expected is None:
        error = np.where(counts > clip_rate * seconds, 0.0, counts)
    else:
        (rate,) = _live(valid, exposure, expected)
        error = _clipped_variance(rate * seconds, clip_rate * seconds)
    return float(np.sum(error / (clip_rate * seconds) ** 2) / pixels)


def floor_subtracted(
    rate: np.ndarray,
    target: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    clip_rate: float,
    expected: np.ndarray | None = None,
    region: Literal["frame", "mask"] = "frame",
) -> FloorSubtracted:
    """PSNR of a prediction with the noise of the target taken off.

    The target must share no photons with the input: a prediction that holds the noise of the target
    has an error below the floor.

    Parameters
    ----------
    rate : ndarray
        Prediction [count/s/pixel].
    target, exposure, valid, clip_rate, expected, region
        As in `noise_floor`.

    Returns
    -------
    FloorSubtracted
        The standard error is that of photon noise of the target: with d the error of the rate, m
        the rate and T the exposure, the variance of ``(d - noise)^2 - n / T^2`` is
        ``4 d^2 m / T + 2 m^2 / T^2`` in each pixel.
    """
    options = {"clip_rate": clip_rate, "expected": expected, "region": region}
    floor = noise_floor(target, exposure, valid, **options)
    rate, counts, seconds = _live(valid, exposure, rate, target, exposure)
    pixels = np.size(target) if region == "frame" else counts.size
    value = np.clip(rate / clip_rate, 0.0, 1.0)
    unit = clip_rate * seconds  # counts at value 1
    square = (value - np.minimum(counts / unit, 1.0)) ** 2
    seen = np.where(counts > unit, 0.0, counts)
    beyond = square - seen / unit**2
    variance = 4 * beyond * value / unit + 2 * seen * (seen - 1) / unit**4
    plain, error = square.sum() / pixels, np.sqrt(max(variance.sum(), 0.0)) / pixels
    excess = plain - floor
    return FloorSubtracted(
        plain=_decibel(plain),
        ceiling=_decibel(floor),
        psnr=_decibel(max(excess, error)),
        excess=float(excess),
        error=float(error),
    )


def _live(valid: np.ndarray, exposure: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Values in live pixels, float64."""
    shapes = {np.shape(array) for array in (valid, exposure, *arrays)}
    if len(shapes) > 1:
        raise InputError(f"images cannot be scored, expected one shape and got {sorted(shapes)}")
    live = np.asarray(valid, bool) & (np.asarray(exposure) > 0)
    return [np.asarray(array)[live].astype(np.float64) for array in arrays]


def _clipped_variance(mean: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """Expected square of min(n, clip) - min(mean, clip) for a Poisson n."""
    whole, truth = np.floor(clip), np.minimum(mean, clip)

    def below(least: int) -> np.ndarray:
        """P(n <= whole - least)."""
        last = whole - least
        return np.where(last < 0, 0.0, gammaincc(np.maximum(last, 0.0) + 1, mean))

    # Sums of n (n - 1) and n over the law up to the clip are the law shifted by two and by one.
    second, first = mean**2 * below(2), mean * below(1)
    within = second + first - 2 * truth * first + truth**2 * below(0)
    return within + (clip - truth) ** 2 * (1 - below(0))


def _decibel(error: float) -> float:
    return float(-10 * np.log10(error + EPSILON))
