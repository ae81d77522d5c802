"""What an enhanced image leaves unexplained of the counts it was made from.

The image is seen by the telescope once more (`xmm_jax.metrics.response`) and compared with the
input. numpy, one image ``[y, x]``, no truth needed.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.instrument.background import background_shapes
from xmm_jax.instrument.camera import PN, Camera
from xmm_jax.metrics.consistency import LEAST, c_statistic, expected_counts
from xmm_jax.metrics.response import UPSCALE, instrument_response
from xmm_jax.models.background import block_sums
from xmm_jax.models.interpolation import live_pixels

SMOOTHING_ARCSEC = 4.0  # sigma of the Gaussian under which residuals are added up: the detector's
ROUNDS = 200  # of the fit of two levels

Response = Callable[[np.ndarray], np.ndarray]


class Expectation(NamedTuple):
    """What an image says about the counts of the input.

    Attributes
    ----------
    counts : ndarray
        Expected counts [count], ``[y, x]``, 0 where dead.
    background : ndarray
        Counts of these that the image leaves out [count], ``[y, x]``; 0 where it has background.
    response : callable or None
        From the image to the input, as for `xmm_jax.metrics.consistency.expected_counts`.
    """

    counts: np.ndarray
    background: np.ndarray
    response: Response | None


def expectation(
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    with_background: bool,
    background: np.ndarray | None = None,
    camera: Camera = PN,
) -> Expectation:
    """Counts of the input that an enhanced image predicts.

    Parameters
    ----------
    rate : ndarray
        Enhanced image [count/s/pixel], ``[s*y, s*x]``; s is 1 (the PSF of the camera) or 2 (half of
        it).
    counts, exposure, valid : ndarray
        Input: counts, live time [s], True = use; ``[y, x]``.
    with_background : bool
        Whether the image has background.
    background : ndarray, optional
        Counts of the background that an image without it leaves out [count], ``[y, x]``; by default
        the levels of a flat and a vignetted one are fitted to what the image leaves over.
    camera : Camera
        The camera.

    Returns
    -------
    Expectation

    Raises
    ------
    InputError
        If the image has another size than 1 or 2 times the input, or what is needed of the camera
        is only known for its native frame and the input is not that.
    """
    upscale = check_sizes(rate, counts)
    if counts.shape != camera.shape and not (with_background and upscale == 1):
        raise InputError(
            f"an input of {counts.shape} pixels (y, x): the blur and the background of "
            f"{camera.name} are known for the whole frame of {camera.shape}; give that"
        )
    live, response = live_pixels(exposure, valid), _response(camera) if upscale > 1 else None
    seen = expected_counts(np.maximum(rate, 0.0), exposure, live, response=response)
    if with_background:
        left_out = np.zeros(counts.shape)
    elif background is not None:
        left_out = np.where(live, background, 0.0)
    else:
        left_out = fit_background(seen, counts, exposure, live, camera=camera)
    return Expectation(seen + left_out, left_out, response)


def check_sizes(rate: np.ndarray, counts: np.ndarray) -> int:
    """How many times finer the grid of a rate is than that of counts.

    Raises
    ------
    InputError
        If it is neither 1 nor 2 times.
    """
    for upscale in (1, UPSCALE):
        if rate.shape == tuple(upscale * side for side in counts.shape):
            return upscale
    raise InputError(
        f"an image of {rate.shape} pixels and an input of {counts.shape}: it must have 1 or "
        f"{UPSCALE} times as many on each side"
    )


def live_parts(
    rate: np.ndarray, counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """An image and its input without what is dead or negative.

    Parameters
    ----------
    rate, counts, exposure, valid : ndarray
        As for `expectation`.

    Returns
    -------
    rate : ndarray
        0 where dead, nowhere negative.
    given : tuple of ndarray
        Counts and exposure, 0 where dead, and the live pixels.
    """
    upscale, live = check_sizes(rate, counts), live_pixels(exposure, valid)
    grid = live.repeat(upscale, 0).repeat(upscale, 1)
    given = np.where(live, counts, 0), np.where(live, exposure, 0.0), live
    return np.where(grid, np.maximum(rate, 0.0), 0.0), given


def fit_background(
    seen: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    camera: Camera = PN,
) -> np.ndarray:
    """Background that, with what an image predicts, explains counts best.

    Parameters
    ----------
    seen : ndarray
        Counts that the image predicts [count], ``[y, x]``.
    counts, exposure, valid : ndarray
        Input: counts, live time [s], True = use; ``[y, x]``.
    camera : Camera
        The camera; the images are its native frame.

    Returns
    -------
    ndarray
        Counts of the background [count], ``[y, x]``: a flat and a vignetted one, at the levels of
        greatest Poisson likelihood in blocks of 16 pixels.
    """
    shapes = [np.where(valid, one * exposure, 0.0) for one in background_shapes(camera)]
    parts = np.stack([block_sums(one) for one in shapes])
    live = parts.sum(axis=0) > 0
    parts = parts[:, live]
    found, known = (block_sums(np.where(valid, one, 0.0))[live] for one in (counts, seen))
    share = parts.sum(axis=1)
    level = np.full(len(parts), max(found.sum(), 1.0) / share.sum() / len(parts))
    for _ in range(ROUNDS):
        # Expectation maximisation: each step raises the likelihood and keeps levels positive.
        level = level * (parts @ (found / np.maximum(known + level @ parts, LEAST))) / share
    return np.tensordot(level, np.stack(shapes), 1)


def residual_map(
    expected: np.ndarray,
    counts: np.ndarray,
    valid: np.ndarray,
    *,
    sigma_arcsec: float = SMOOTHING_ARCSEC,
    camera: Camera = PN,
) -> np.ndarray:
    """Significance of counts beyond (above 0) or short of (below 0) what was expected.

    Parameters
    ----------
    expected, counts : ndarray
        Expected and seen counts [count], ``[y, x]``.
    valid : ndarray of bool
        Live pixels, same shape.
    sigma_arcsec : float
        Of the Gaussian that weighs the pixels around each [arcsec].
    camera : Camera
        For the size of a pixel.

    Returns
    -------
    ndarray
        [sigma], ``[y, x]`` float32, 0 where dead: signed root of the C statistic, twice the log
        likelihood ratio of the Poisson law (Cash 1979, ApJ 228, 939), of the weighted sums.
    """
    seen, wanted = weighted_counts(
        expected, counts, valid, sigma=sigma_arcsec / camera.pixel_arcsec
    )
    size = np.sqrt(np.maximum(c_statistic(wanted, seen), 0.0))
    return np.where(valid, np.sign(seen - wanted) * size, 0.0).astype(np.float32)


def weighted_counts(
    expected: np.ndarray, counts: np.ndarray, valid: np.ndarray, *, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Seen and expected counts under a Gaussian, as whole counts that scatter as much.

    Parameters
    ----------
    expected, counts, valid : ndarray
        As for `residual_map`.
    sigma : float
        Of the Gaussian [pixel].

    Returns
    -------
    seen, wanted : ndarray
        Weighted sums, divided by the ratio of their variance and mean, so that they obey the
        Poisson law in mean and variance (Fay & Feuer 1997, Stat. Med. 16, 791); ``[y, x]``.
    """
    from scipy.ndimage import gaussian_filter

    def blur(image: np.ndarray, width: float) -> np.ndarray:
        filled = np.where(valid, image, 0.0).astype(np.float32)
        return np.maximum(gaussian_filter(filled, width, truncate=4.0, mode="constant"), 0.0)

    mean = blur(np.maximum(expected, LEAST), sigma)
    # The square of a Gaussian is one again, narrower by the root of two.
    spread = blur(np.maximum(expected, LEAST), sigma / 2**0.5) / (4 * np.pi * sigma**2)
    scale = mean.astype(float) / np.maximum(spread, 1e-30)
    return blur(counts, sigma) * scale, np.maximum(mean * scale, LEAST)


@functools.lru_cache(maxsize=2)
def _response(camera: Camera) -> Response:
    return instrument_response(camera=camera)
