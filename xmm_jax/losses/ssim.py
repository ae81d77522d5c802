"""Structural similarity, at one scale and at five: loss and measure alike.

Wang et al. 2004 (IEEE TIP 13, 600) and Wang, Simoncelli & Bovik 2003 (Asilomar, 1398), with the
window and constants of the published code of Sweere et al. 2022: 13 taps, sigma 2.5,
K = (0.01, 0.05), no padding. "SSIM" of other codes is another number: torchmetrics 1.9 derives the
number of taps from sigma (2.5 gives 19, whatever kernel_size says) and mirrors images at their
edges. Convolutions are sums of shifted images, on CPU the fastest way measured, in both directions.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.errors import InputError

TAPS, SIGMA = 13, 2.5  # of the window [pixel]
K1, K2 = 0.01, 0.05  # times the range of values, 1
TORCHMETRICS_TAPS = 19
# Weights of the five scales, finest first (Wang, Simoncelli & Bovik 2003, section 3.2).
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


# Compiled as a whole also when called on its own: dozens of small operations otherwise.
@functools.partial(jax.jit, static_argnames=("taps", "mirror"))
def ssim(
    prediction: jax.Array,
    target: jax.Array,
    live: jax.Array | None = None,
    *,
    taps: int = TAPS,
    mirror: bool = False,
) -> jax.Array:
    """Mean structural similarity.

    Parameters
    ----------
    prediction, target : array
        Values in [0, 1], ``[b, y, x, 1]``.
    live : array of bool, optional
        Pixels whose windows count, same shape.
    taps : int
        Width of the Gaussian window of sigma 2.5 [pixel], odd.
    mirror : bool
        One window per pixel of the image mirrored about its edge pixels; otherwise only windows
        inside the image.

    Returns
    -------
    array
        ``[b]``; 1 is best.

    Raises
    ------
    InputError
        If the image is smaller than the window.
    """
    check_size(prediction, taps, "SSIM")
    return _similarity(*_unpack(prediction, target, live), taps, mirror)


@functools.partial(jax.jit, static_argnames=("taps", "mirror"))
def ms_ssim(
    prediction: jax.Array,
    target: jax.Array,
    live: jax.Array | None = None,
    *,
    taps: int = TAPS,
    mirror: bool = False,
) -> jax.Array:
    """Multi-scale structural similarity.

    Negative terms count as 0. Between scales 2 x 2 pixels are averaged, an odd side after a
    row of zeros at its low end.

    Parameters
    ----------
    prediction, target, live, taps
        As in `ssim`; more than ``16 * (taps - 1)`` pixels on each side.
    mirror : bool
        Mirror the coarsest scale, the only one whose luminance counts.

    Returns
    -------
    array
        ``[b]``; 1 is best.

    Raises
    ------
    InputError
        If the image is too small for the coarsest scale.
    """
    check_size(prediction, (taps - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1, "MS-SSIM")
    a, b, inside = _unpack(prediction, target, live)
    product = jnp.ones((), prediction.dtype)
    for weight in SCALE_WEIGHTS[:-1]:
        _, contrast = _maps(a, b, taps)
        product = product * _power(_mean(contrast, inside, taps), weight)
        a, b, inside = _halve(a), _halve(b), None if inside is None else _halve(inside)
    return product * _power(_similarity(a, b, inside, taps, mirror), SCALE_WEIGHTS[-1])


def window(taps: int, sigma: float) -> tuple[float, ...]:
    """Gaussian window of a number of taps, centred, of sum 1."""
    offset = np.arange(taps) - (taps - 1) / 2
    weight = np.exp(-0.5 * (offset / sigma) ** 2)
    return tuple((weight / weight.sum()).tolist())


def blur(image: jax.Array, weights: tuple[float, ...]) -> jax.Array:
    """Weighted mean with the same weights along y and x, windows inside the image only.

    Parameters
    ----------
    image : array
        ``[..., y, x]``.
    weights : tuple of float
        Weights along one axis, ``[taps]``.

    Returns
    -------
    array
        ``[..., y - taps + 1, x - taps + 1]``.
    """
    return _blur(image, weights)


def _passes(image: jax.Array, weights: tuple[float, ...]) -> jax.Array:
    # The row of zeros keeps XLA:CPU from fusing the two passes into one of taps x taps.
    rows = _margin(_slide(image, weights, image.ndim - 2), (0, 1), (0, 0))
    return _slide(rows, weights, image.ndim - 1)[..., :-1, :]


def _transpose(weights: tuple[float, ...], _: None, slope: jax.Array) -> tuple[jax.Array]:
    # The transpose of a blur is a blur; what XLA makes of dozens of shifts is 10 times slower.
    side = (len(weights) - 1,) * 2
    return (blur(_margin(slope, side, side), weights[::-1]),)


_blur = jax.custom_vjp(_passes, nondiff_argnums=(1,))
_blur.defvjp(lambda image, weights: (_passes(image, weights), None), _transpose)


def _slide(image: jax.Array, weights: tuple[float, ...], axis: int) -> jax.Array:
    """Weighted sum of shifted images along one axis."""
    length = image.shape[axis] - len(weights) + 1
    parts = (
        weight * jax.lax.slice_in_dim(image, i, i + length, axis=axis)
        for i, weight in enumerate(weights)
    )
    return sum(parts, start=jnp.zeros((), image.dtype))


def _margin(image: jax.Array, y: Sequence[int], x: Sequence[int], **how: str) -> jax.Array:
    return jnp.pad(image, [(0, 0)] * (image.ndim - 2) + [y, x], **how)  # type: ignore[arg-type]


def _unpack(
    prediction: jax.Array, target: jax.Array, live: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Drop the channel axis, with which XLA:CPU has nothing to vectorise over."""
    return prediction[..., 0], target[..., 0], None if live is None else live[..., 0] * 1.0


def _similarity(
    a: jax.Array, b: jax.Array, live: jax.Array | None, taps: int, mirror: bool
) -> jax.Array:
    """Mean similarity of each image."""
    if mirror:
        side = (taps // 2,) * 2
        a, b = (_margin(image, side, side, mode="reflect") for image in (a, b))
        live = None if live is None else _margin(live, side, side, mode="reflect")
    luminance, contrast = _maps(a, b, taps)
    return _mean(luminance * contrast, live, taps)


def _maps(a: jax.Array, b: jax.Array, taps: int) -> tuple[jax.Array, jax.Array]:
    """Luminance term, and that of contrast and structure, of windows inside the image."""
    # One by one, not stacked: the slope of what is unstacked costs as much as the blur.
    mean_a, mean_b, squares, product = (
        blur(moment, window(taps, SIGMA)) for moment in (a, b, a * a + b * b, a * b)
    )
    means = mean_a**2 + mean_b**2
    contrast = (2 * (product - mean_a * mean_b) + K2**2) / (squares - means + K2**2)
    return (2 * mean_a * mean_b + K1**2) / (means + K1**2), contrast


def _mean(term: jax.Array, live: jax.Array | None, taps: int) -> jax.Array:
    """Mean over all windows or over those with a live centre, 0 where there is none; ``[b]``."""
    if live is None:
        return jnp.mean(term, axis=(1, 2))
    half = taps // 2
    inside = live[:, half:-half, half:-half] > 0
    number = jnp.sum(inside, axis=(1, 2))
    return jnp.sum(jnp.where(inside, term, 0.0), axis=(1, 2)) / jnp.maximum(number, 1)


def _halve(image: jax.Array) -> jax.Array:
    # The published code pads an odd side with zeros at both ends; the high one is never used.
    image = _margin(image, (image.shape[1] % 2, 0), (image.shape[2] % 2, 0))
    b, y, x = image.shape
    return image.reshape(b, y // 2, 2, x // 2, 2).mean(axis=(2, 4))


def _power(base: jax.Array, exponent: float, *, floor: float = 1e-6) -> jax.Array:
    """Power of max(base, 0), with a finite slope at 0: below the floor a straight line."""
    above = jnp.maximum(base, floor) ** exponent
    return jnp.where(base > floor, above, jax.nn.relu(base) * floor ** (exponent - 1))


def check_size(image: jax.Array, least: int, name: str) -> None:
    """Refuse an image that is too small for the measure of a name.

    Raises
    ------
    InputError
        If a side of ``[b, y, x, 1]`` is shorter than the least.
    """
    height, width = image.shape[1:3]
    if min(height, width) < least:
        raise InputError(
            f"{name} needs an image of {least} pixels or more on each side, got {height} x {width}"
        )
