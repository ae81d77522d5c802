"""What a conditional flow is given: counts whose noise is made equal, and its condition.

Images and features are ``[b, y, x, c]``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xmm_jax.models.anscombe import SHIFT


def stabilised(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Anscombe transform and its log-determinant.

    Parameters
    ----------
    values : array
        Counts, with noise about them [count], ``[b, y, x, c]``, not negative.

    Returns
    -------
    target : array
        2 sqrt(values + 3/8), of standard deviation near 1 for Poisson counts (Anscombe 1948,
        Biometrika 35, 246).
    log_det : array
        Sum of log(1 / sqrt(values + 3/8)) [b], nats.
    """
    shifted = values + SHIFT
    return 2 * jnp.sqrt(shifted), -jnp.sum(jnp.log(shifted), (1, 2, 3)) / 2


def unstabilised(target: jax.Array) -> jax.Array:
    """Undo `stabilised`: counts with noise about them [count] of a target.

    A flow may draw what no count is transformed to; below the transform of 0 this is 0.
    """
    return jnp.maximum(jnp.square(jnp.maximum(target, 0)) / 4 - SHIFT, 0)


def resized(features: jax.Array, height: int, width: int) -> jax.Array:
    """Features on other pixels.

    Parameters
    ----------
    features : array
        ``[b, y, x, f]``.
    height, width : int
        Sides asked for; each a multiple of that of the features, which are then repeated, or a
        divisor of it, and squares of pixels are averaged.

    Returns
    -------
    array
        ``[b, height, width, f]``.

    Raises
    ------
    ValueError
        If the sides do not divide each other.
    """
    y = features
    for axis, side in ((1, height), (2, width)):
        had = y.shape[axis]
        if side % had == 0:
            y = jnp.repeat(y, side // had, axis)
        elif had % side == 0:
            shape = (*y.shape[:axis], side, had // side, *y.shape[axis + 1 :])
            y = jnp.mean(y.reshape(shape), axis + 1)
        else:
            raise ValueError(
                f"features of {features.shape[1]} x {features.shape[2]} pixels cannot be brought "
                f"to {height} x {width}: the sides must divide each other"
            )
    return y


def rrdb_answer(network: nn.Module, params: Any, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What an `xmm_jax.models.rrdb.RRDB` says, and its features before the head.

    Parameters
    ----------
    network : flax module
        The network, trained or new; the SRFlow paper trains it first as one.
    params : pytree
        Its weights.
    inputs : array
        ``[b, y, x, in_channels]``, network units.

    Returns
    -------
    outputs, features : array
        As of the network; ``[b, y/s, x/s, filters]`` float32 before its head, s its ``unshuffle``.
    """
    names = ("conv_first", "trunk_conv")
    outputs, state = network.apply(
        {"params": params},
        inputs,
        capture_intermediates=lambda module, _: module.name in names,
        mutable=["intermediates"],
    )
    seen: Any = state["intermediates"]
    first, trunk = (seen[name]["__call__"][0] for name in names)
    return outputs, (first + trunk).astype(jnp.float32)
