"""Bring the light of an enhanced image into agreement with the counts it was made from.

A network that keeps every source can still be some percent off in the sum over a large region. The
residual of the input is averaged over the scales at which that matters, from the whole field down
to a few PSFs; where it is more than the Poisson noise of the average, the image is multiplied by
what is missing, as in the method of Richardson and Lucy. Averages that noise explains change
nothing, so the noise of the input does not come back. numpy, one image ``[y, x]``.
"""

from dataclasses import dataclass

import numpy as np

from xmm_jax.instrument.camera import PN, Camera
from xmm_jax.metrics.consistency import LEAST, Consistency, c_statistic, consistency
from xmm_jax.residual import check_sizes, expectation, live_parts, weighted_counts

SCALES_ARCSEC = (np.inf, 128.0, 64.0, 32.0, 16.0, 8.0)  # sigmas of the averages
NOISE_SIGMA = 3.0  # up to which an average is left as it is
WORST_SIGMA = 4.5  # up to which the worst of some thousand averages is noise
STEPS = 5
LARGEST = 2.0  # factor on a pixel in one step


@dataclass(frozen=True, eq=False)
class Conserved:
    """A corrected image and what was gained.

    Attributes
    ----------
    rate : ndarray
        Corrected image [count/s/pixel], ``[s*y, s*x]`` float32, 0 where dead.
    before, after : Consistency
        Comparison of the input with what the image predicts, before and after.
    worst_before, worst_after : float
        Largest significance of an average, without sign [sigma].
    expected_before, expected_after : float
        Counts that it predicts in the whole input [count].
    steps : int
        Steps that were made; 0 if the image agreed as it was.
    """

    rate: np.ndarray
    before: Consistency
    after: Consistency
    worst_before: float
    worst_after: float
    expected_before: float
    expected_after: float
    steps: int


def conserve(
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    with_background: bool,
    background: np.ndarray | None = None,
    steps: int = STEPS,
    camera: Camera = PN,
) -> Conserved:
    """Correct an image where averages of the input contradict it.

    Parameters
    ----------
    rate : ndarray
        Enhanced image [count/s/pixel], ``[s*y, s*x]``; s is 1 or 2.
    counts, exposure, valid : ndarray
        Input: counts, live time [s], True = use; ``[y, x]``.
    with_background : bool
        Whether the image has background.
    background : ndarray, optional
        As for `xmm_jax.residual.expectation`.
    steps : int
        At most so many rounds over all scales; fewer where no average is more than 4.5 sigma off.
    camera : Camera
        The camera.

    Returns
    -------
    Conserved

    Raises
    ------
    InputError
        As `xmm_jax.residual.expectation`.
    """
    upscale = check_sizes(rate, counts)
    image, given = live_parts(rate, counts, exposure, valid)
    image, live = image.astype(np.float32), given[-1]
    options = {"with_background": with_background, "background": background, "camera": camera}
    first = seen = expectation(image, *given, **options)
    factor, worst = correction(seen.counts, seen.background, given[0], live, camera=camera)
    worst_before, done = worst, 0
    while worst > WORST_SIGMA and done < steps:
        image = image * factor.repeat(upscale, 0).repeat(upscale, 1)
        seen = expectation(image, *given, **options)
        factor, worst = correction(seen.counts, seen.background, given[0], live, camera=camera)
        done += 1
    return Conserved(
        rate=image,
        before=consistency(first.counts, given[0], live),
        after=consistency(seen.counts, given[0], live),
        worst_before=worst_before,
        worst_after=worst,
        expected_before=float(first.counts.sum()),
        expected_after=float(seen.counts.sum()),
        steps=done,
    )


def correction(
    expected: np.ndarray,
    background: np.ndarray,
    counts: np.ndarray,
    valid: np.ndarray,
    *,
    camera: Camera = PN,
) -> tuple[np.ndarray, float]:
    """Factor on an image that brings averages of what it predicts within their noise.

    Parameters
    ----------
    expected, background : ndarray
        Expected counts, and those of them that are not of the image [count], ``[y, x]``.
    counts : ndarray
        Counts [count], same shape.
    valid : ndarray of bool
        Live pixels, same shape.
    camera : Camera
        For the size of a pixel.

    Returns
    -------
    factor : ndarray
        ``[y, x]`` float32.
    worst : float
        Largest significance of an average, without sign, before the factor is applied [sigma].
    """
    own = np.where(valid, np.maximum(expected - background, 0.0), 0.0)
    factor, worst = np.ones(own.shape, np.float32), 0.0
    for scale in SCALES_ARCSEC:
        sigma = scale / camera.pixel_arcsec
        worst = max(worst, _worst(expected, counts, valid, sigma))
        mean = factor * own + background
        seen, wanted, given = _averages(mean, background, counts, valid, sigma)
        # What is surely missing: nothing below 3 sigma, nearly all of it far above.
        squared = np.maximum(c_statistic(wanted, seen), 1e-9)
        sure = np.maximum(1.0 - NOISE_SIGMA**2 / squared, 0.0)
        change = 1.0 + sure * (seen - wanted) / np.maximum(wanted - given, LEAST)
        factor = factor * np.clip(change, 1.0 / LARGEST, LARGEST).astype(np.float32)
    return factor, worst


def _worst(expected, counts, valid, sigma: float) -> float:
    """Largest significance, without sign, of averages under a Gaussian [pixel]."""
    seen, wanted, _ = _averages(expected, np.zeros(counts.shape), counts, valid, sigma)
    return float(np.sqrt(np.max(c_statistic(wanted, seen), where=valid, initial=0.0)))


def _averages(mean, background, counts, valid, sigma: float) -> tuple[np.ndarray, ...]:
    """Counts, expected ones and background under a Gaussian [pixel], or in all of the field."""
    if np.isinf(sigma):
        sums = (np.full(mean.shape, one[valid].sum()) for one in (counts, mean, background))
        seen, wanted, given = sums
        return seen, np.maximum(wanted, LEAST), given
    seen, wanted = weighted_counts(mean, counts, valid, sigma=sigma)
    given, _ = weighted_counts(mean, background, valid, sigma=sigma)
    return seen, wanted, given
