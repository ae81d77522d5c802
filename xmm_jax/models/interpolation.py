"""Finer pixels without anything added, and images with dead pixels.

Arrays are numpy images [y, x]. A pixel is live where it is valid and has exposure. Weights of a
kernel at a sub-pixel and at its mirror image add up to the same for every pixel, and the image is
reflected at its edges, so interpolation keeps the sum; light that crosses onto dead pixels is
replaced by as much from the filled-in ones.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from xmm_jax.errors import InputError


def _nearest(x: np.ndarray) -> np.ndarray:
    return (np.abs(x) < 0.5).astype(float)


def _linear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1.0, ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nearest": _nearest,
    "bilinear": _linear,
    "bicubic": _cubic,  # Keys 1981, IEEE Trans. ASSP 29, 1153, equation 15
    "lanczos": _lanczos,  # Duchon 1979, J. Appl. Meteorol. 18, 1016; three lobes
}
"""Weight of a pixel by its distance [pixel]."""
REACH = 3


def live_pixels(exposure: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Pixels that say something about the sky.

    Parameters
    ----------
    exposure : ndarray
        Live time [s].
    valid : ndarray of bool
        True = use.

    Returns
    -------
    ndarray of bool
        Valid and exposed.
    """
    return np.asarray(valid, bool) & (np.asarray(exposure) > 0)


def count_rate(counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Counts per second.

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use.

    Returns
    -------
    ndarray
        Rate [count/s/pixel], 0 where dead.
    """
    live = live_pixels(exposure, valid)
    return np.where(live, counts, 0) / np.where(live, exposure, 1.0)


def fill_dead(image: np.ndarray, live: np.ndarray, *, sigma: float = 2.0) -> np.ndarray:
    """Put what the neighbours say into dead pixels.

    Parameters
    ----------
    image : ndarray
        Any unit, [y, x].
    live : ndarray of bool
        Pixels to believe.
    sigma : float
        Width of the neighbourhood [pixel].

    Returns
    -------
    ndarray
        `image` where live; elsewhere the Gaussian mean of the live neighbours, or of those of the
        nearest live pixel where there are none. All 0 if no pixel is live.
    """
    if not live.any():
        return np.zeros(np.shape(image))
    weight = ndimage.gaussian_filter(live.astype(float), sigma)
    mean = ndimage.gaussian_filter(np.where(live, image, 0.0), sigma) / np.maximum(weight, 1e-30)
    near = np.zeros((2, *live.shape), np.int32)
    ndimage.distance_transform_edt(
        weight < 0.05, return_distances=False, return_indices=True, indices=near
    )
    return np.where(live, image, mean[near[0], near[1]])


def enlarge(image: np.ndarray, upscale: int, *, kernel: str = "bicubic") -> np.ndarray:
    """Spread every pixel over upscale x upscale finer ones.

    Parameters
    ----------
    image : ndarray
        Any unit per pixel, [y, x].
    upscale : int
        Finer pixels per pixel and side.
    kernel : str
        Key of `KERNELS`.

    Returns
    -------
    ndarray
        The same unit per finer pixel, [s y, s x]; same sum. May be negative beside a bright pixel
        with the cubic and the Lanczos kernel.

    Raises
    ------
    InputError
        For an unknown kernel.
    """
    if kernel not in KERNELS:
        raise InputError(f"kernel {kernel!r} is unknown; choose one of {', '.join(KERNELS)}")
    rows, columns = (_weights(size, upscale, KERNELS[kernel]) for size in image.shape)
    return rows @ image @ columns.T / upscale**2


def finish(
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    kernel: str = "bicubic",
) -> np.ndarray:
    """Last step of every method: finer pixels, nothing on dead ones, the light that came in.

    Parameters
    ----------
    rate : ndarray
        What a method says [count/s/pixel], on the grid of the counts or already on the finer one.
    counts, exposure, valid : ndarray
        What it said it of [count], [s], True = use.
    upscale : int
        Pixels of the result per pixel of `counts` and side.
    kernel : str
        Key of `KERNELS`.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x], 0 where dead, with the total rate of
        the live pixels of the observation.
    """
    live = live_pixels(exposure, valid)
    if rate.shape == live.shape:
        rate = enlarge(fill_dead(rate, live), upscale, kernel=kernel)
    rate = np.where(live.repeat(upscale, 0).repeat(upscale, 1), rate, 0.0)
    total = rate.sum()
    came = count_rate(counts, exposure, valid).sum()
    return (rate * (came / total if total > 0 else 0.0)).astype(np.float32)


def interpolate(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    kernel: str = "nearest",
) -> np.ndarray:
    """The observation itself on finer pixels.

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side.
    kernel : str
        Key of `KERNELS`.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    rate = count_rate(counts, exposure, valid)
    return finish(rate, counts, exposure, valid, upscale=upscale, kernel=kernel)


def _weights(size: int, upscale: int, kernel: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Weight of every pixel in every finer one along an axis, [s size, size]; rows sum to 1."""
    place = (np.arange(upscale * size) + 0.5) / upscale - 0.5
    pixel = np.floor(place).astype(int)[:, None] + np.arange(1 - REACH, 1 + REACH)
    weight = kernel(place[:, None] - pixel)
    weight /= weight.sum(axis=1, keepdims=True)
    inside = np.mod(pixel, 2 * size)
    inside = np.where(inside < size, inside, 2 * size - 1 - inside)
    table = np.zeros((upscale * size, size))
    np.add.at(table, (np.arange(upscale * size)[:, None], inside), weight)
    return table
