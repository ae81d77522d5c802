"""Structural similarity as a measure: of the frame, of live pixels, or as torchmetrics has it.

The windows and constants are those of the loss, `xmm_jax.losses.ssim`, which has to be
differentiated; without that SSIM and MS-SSIM share their finest scale and cost half. In
torchmetrics 1.9 a sigma of 2.5 makes 19 taps, whatever kernel_size says, and images are mirrored at
their edges.
"""

import functools

import jax
import jax.numpy as jnp

from xmm_jax.losses.ssim import SCALE_WEIGHTS, window
from xmm_jax.metrics import local

TAPS, SIGMA = 13, 2.5  # of the paper's window [pixel]
ROOTS = (0.01, 0.05)  # K1 and K2
TORCHMETRICS_TAPS = 19


@functools.partial(jax.jit, static_argnames=("taps", "mirror"))
def ssim(
    prediction: jax.Array,
    target: jax.Array,
    live: jax.Array | None = None,
    *,
    taps: int = TAPS,
    mirror: bool = False,
) -> jax.Array:
    """Mean structural similarity (Wang et al. 2004, IEEE TIP 13, 600).

    Parameters
    ----------
    prediction, target : array
        Values in [0, 1], ``[b, y, x, 1]``.
    live : array of bool, optional
        Where to compare, same shape.
    taps : int
        Width of the Gaussian window of sigma 2.5 [pixel], odd.
    mirror : bool
        One window per pixel of the image mirrored at its edges; otherwise only windows inside.

    Returns
    -------
    array
        ``[b]``; 1 is best.

    Raises
    ------
    InputError
        If the image is smaller than the window.
    """
    local.check_size(prediction, taps, "SSIM")
    a, b, live = local.unpack(prediction, target, live)
    return _similarity(a, b, live, taps, mirror)


@functools.partial(jax.jit, static_argnames=("taps", "mirror"))
def ms_ssim(
    prediction: jax.Array,
    target: jax.Array,
    live: jax.Array | None = None,
    *,
    taps: int = TAPS,
    mirror: bool = False,
) -> jax.Array:
    """Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003, Asilomar, 1398).

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
    local.check_size(prediction, 16 * (taps - 1) + 1, "MS-SSIM")
    a, b, live = local.unpack(prediction, target, live)
    product = jnp.ones(len(prediction))
    for weight in SCALE_WEIGHTS[:-1]:
        _, contrast = _maps(a, b, taps)
        product *= jax.nn.relu(local.mean(contrast, _inside(live, taps))) ** weight
        a, b, live = _halve(a), _halve(b), _halve(live)
    similarity = _similarity(a, b, live, taps, mirror)
    return product * jax.nn.relu(similarity) ** SCALE_WEIGHTS[-1]


def _similarity(a: jax.Array, b: jax.Array, live: jax.Array, taps: int, mirror: bool) -> jax.Array:
    """Mean similarity of each image."""
    if mirror:
        half = taps // 2
        margin = ((0, 0), (half, half), (half, half))
        a, b, live = (jnp.pad(image, margin, mode="reflect") for image in (a, b, live))
    similarity, _ = _maps(a, b, taps)
    return local.mean(similarity, _inside(live, taps))


def _maps(a: jax.Array, b: jax.Array, taps: int) -> tuple[jax.Array, jax.Array]:
    """Similarity, and its part that is contrast and structure, of windows inside the image."""
    moments = local.blur(jnp.stack([a, b, a * a, b * b, a * b]), window(taps, SIGMA))
    mean_a, mean_b, square_a, square_b, product = moments
    first, second = (root**2 for root in ROOTS)
    variances = square_a - mean_a**2 + square_b - mean_b**2
    contrast = (2 * (product - mean_a * mean_b) + second) / (variances + second)
    return contrast * local.similarity(mean_a, mean_b, first), contrast


def _inside(live: jax.Array, taps: int) -> jax.Array:
    """Where the centres of the windows are live."""
    half = taps // 2
    return jnp.where(live[:, half:-half, half:-half] > 0, 1.0, 0.0)


def _halve(image: jax.Array) -> jax.Array:
    """Mean of 2 x 2 pixels, an odd side after a row of zeros, as in the paper's measure."""
    _, height, width = image.shape
    return local.pool(jnp.pad(image, ((0, 0), (height % 2, 0), (width % 2, 0))), 2)
