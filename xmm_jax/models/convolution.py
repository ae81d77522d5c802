"""A convolution of which a CPU also finds the gradient of the weights quickly.

XLA:CPU takes that gradient as a convolution of two large images with a result of 3 x 3 pixels. From
208 x 208 pixels on it runs at an eighth of the speed of the other convolutions of a layer, and
takes three quarters of a training step (Intel Xeon; benchmarks/README.md). Here it is a sum of
matrix products over strips of rows, each of one image with shifted copies of the other.
Accelerators keep their own way.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

STRIP = 512
"""Pixels of a strip, of all images of a batch together: its copies fit into the cache of a core."""
AXES = ("NHWC", "HWIO", "NHWC")


def convolve(
    images: jax.Array,
    weights: jax.Array,
    strides: Any = (1, 1),
    padding: Any = "SAME",
    **others: Any,
) -> jax.Array:
    """Convolution for layers of flax, in place of ``lax.conv_general_dilated``.

    Parameters
    ----------
    images : array
        [b, y, x, i].
    weights : array
        [k, k, i, o], k odd.
    strides, padding
        As flax passes them on; only those given here are known.
    **others
        Likewise, and not looked at: dilations and groups of one, the order of axes.

    Returns
    -------
    array
        [b, y, x, o], the same as from XLA. Derivatives are taken backwards only.

    Raises
    ------
    ValueError
        For other strides, paddings or even sides.
    """
    if (tuple(strides), padding) != ((1, 1), "SAME") or not weights.shape[0] % 2:
        raise ValueError(
            f"strides {strides}, padding {padding}, weights {weights.shape}: not known"
        )
    return _convolve(images, weights)


@jax.custom_vjp
def _convolve(images: jax.Array, weights: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(images, weights, (1, 1), "SAME", dimension_numbers=AXES)


def _forward(images: jax.Array, weights: jax.Array) -> tuple[jax.Array, tuple]:
    return _convolve(images, weights), (images, weights)


def _backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    images, weights = kept
    of_weights = lax.platform_dependent(
        images,
        weights,
        slope,
        cpu=lambda images, _, slope: slope_of_weights(images, slope, weights.shape[0]),
        default=_slope_by_convolution,
    )
    return _convolve(slope, weights[::-1, ::-1].swapaxes(-1, -2)), of_weights


_convolve.defvjp(_forward, _backward)


def _slope_by_convolution(images: jax.Array, weights: jax.Array, slope: jax.Array) -> jax.Array:
    def of(weights: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(images, weights, (1, 1), "SAME", dimension_numbers=AXES)

    return jax.vjp(of, weights)[1](slope)[0]


def slope_of_weights(images: jax.Array, slope: jax.Array, side: int = 3) -> jax.Array:
    """Gradient of the weights of a convolution, by matrix products.

    Parameters
    ----------
    images : array
        What was convolved, [b, y, x, i].
    slope : array
        Gradient of the result, [b, y, x, o].
    side : int
        Of the weights, odd.

    Returns
    -------
    array
        [side, side, i, o], of the type of `images`; summed in float32.
    """
    # The copies are made of the image with fewer channels.
    if slope.shape[-1] < images.shape[-1]:
        found = _correlate(images, slope, side)[::-1, ::-1]
    else:
        found = _correlate(slope, images, side).swapaxes(-1, -2)
    return found.astype(images.dtype)


def _correlate(one: jax.Array, other: jax.Array, side: int) -> jax.Array:
    """Sum over pixels p of one[p] other[p + d]: [b, y, x, m], [b, y, x, n] -> [dy, dx, m, n]."""
    batch, height, width, channels = one.shape
    rows = min(max(STRIP // (batch * width), 1), height)
    strips = -(-height // rows)
    rest, edge = strips * rows - height, side // 2
    one = jnp.pad(one, ((0, 0), (0, rest), (0, 0), (0, 0)))
    other = jnp.pad(other, ((0, 0), (edge, edge + rest), (edge, edge), (0, 0)))

    def add(total: jax.Array, strip: jax.Array) -> tuple[jax.Array, None]:
        here = lax.dynamic_slice_in_dim(one, strip * rows, rows, 1)
        near = lax.dynamic_slice_in_dim(other, strip * rows, rows + side - 1, 1)
        copies = [near[:, y : y + rows, x : x + width] for y in range(side) for x in range(side)]
        beside = jnp.concatenate(copies, -1).reshape(batch * rows * width, -1)
        product = lax.dot(here.reshape(-1, channels).T, beside, preferred_element_type=jnp.float32)
        return total + product, None

    start = jnp.zeros((channels, side**2 * other.shape[-1]), jnp.float32)
    total, _ = lax.scan(add, start, jnp.arange(strips))
    return total.reshape(channels, side, side, -1).transpose(1, 2, 0, 3)
