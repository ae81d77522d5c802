"""Haar wavelet-based perceptual similarity.

Reisenhofer, Bosse, Kutyniok & Wiegand 2018, Signal Processing: Image Communication 61, 33, grey
images.
"""

import jax
import jax.numpy as jnp

from xmm_jax.metrics import local

CONSTANT = 30.0  # C and alpha of the paper
ALPHA = 4.2
SIZES = (2, 4, 8)  # of the filters [pixel]; the two finest compare, the coarsest weighs


@jax.jit
def haarpsi(prediction: jax.Array, target: jax.Array, live: jax.Array | None = None) -> jax.Array:
    """Haar wavelet-based perceptual similarity index.

    Parameters
    ----------
    prediction, target : array
        Values in [0, 1], ``[b, y, x, 1]``.
    live : array of bool, optional
        Where to compare, same shape.

    Returns
    -------
    array
        ``[b]``; 1 is best, and 1 where neither image has a feature.
    """
    a, b, live = (
        local.pool(image, 2, centred=True) for image in local.unpack(prediction, target, live)
    )
    live = jnp.where(live > 0, 1.0, 0.0)
    total = weights = jnp.zeros(len(a))
    for turned in (False, True):
        (fine_a, mid_a, coarse_a), (fine_b, mid_b, coarse_b) = (
            haar(local.GREY_LEVELS * image, turned=turned) for image in (a, b)
        )
        alike = local.similarity(fine_a, fine_b, CONSTANT)
        alike = (alike + local.similarity(mid_a, mid_b, CONSTANT)) / 2
        weight = jnp.maximum(coarse_a, coarse_b) * live
        total += jnp.sum(jax.nn.sigmoid(ALPHA * alike) * weight, axis=(1, 2))
        weights += jnp.sum(weight, axis=(1, 2))
    featureless = weights <= 0
    share = jnp.where(featureless, 0.5, total / jnp.where(featureless, 1.0, weights))
    index = jnp.square(jnp.log(share / (1 - share)) / ALPHA)
    return jnp.where(featureless, 1.0, index)


def haar(image: jax.Array, *, turned: bool) -> list[jax.Array]:
    """Sizes of the Haar wavelet coefficients at three scales, zeros outside the image.

    Parameters
    ----------
    image : array
        ``[b, y, x]``.
    turned : bool
        Differences along x; otherwise along y.

    Returns
    -------
    list of array
        Finest first, each of the shape of the image; the filter of side n has entries +-1/n.
    """
    along, across = (2, 1) if turned else (1, 2)
    maps = []
    for size in SIZES:
        half = size // 2
        # The filter reaches from size / 2 - 1 pixels before a place to size / 2 after it.
        padding = [(0, 0), (half - 1, half), (half - 1, half)]
        padded = jnp.pad(image, padding)
        summed = _window(_window(padded, size, across), half, along)
        length = image.shape[along]
        first, second = (
            jax.lax.slice_in_dim(summed, start, start + length, axis=along) for start in (0, half)
        )
        maps.append(jnp.abs(first - second) / size)
    return maps


def _window(image: jax.Array, size: int, axis: int) -> jax.Array:
    """Sums of a power of two of neighbours, windows inside the image only."""
    reach = 1
    while reach < size:
        length = image.shape[axis] - reach
        image = jax.lax.slice_in_dim(image, 0, length, axis=axis) + jax.lax.slice_in_dim(
            image, reach, reach + length, axis=axis
        )
        reach *= 2
    return image
