"""Mean deviation similarity index.

Nafchi, Shahkolaei, Hedjam & Cheriet 2016, IEEE Access 4, 5579, of grey images taken as colour
images with three equal channels.
"""

import math

import jax
import jax.numpy as jnp

from xmm_jax.metrics import local

# C1, C2 and C3 of the paper: two images, image and fusion, chromaticity.
PAIR_CONSTANT, FUSED_CONSTANT, COLOUR_CONSTANT = 140.0, 55.0, 550.0
GRADIENT_SHARE = 0.6
POWER = 0.25
# Opponent channels H = 0.30 R + 0.04 G - 0.35 B and M = 0.34 R - 0.6 G + 0.17 B, with R = G = B.
COLOURS = (0.30 + 0.04 - 0.35, 0.34 - 0.6 + 0.17)
LUMINANCE = 0.2989 + 0.5870 + 0.1140


@jax.jit
def mdsi(prediction: jax.Array, target: jax.Array, live: jax.Array | None = None) -> jax.Array:
    """Mean deviation of the similarity of gradients and colours.

    Parameters
    ----------
    prediction, target : array
        Values in [0, 1], ``[b, y, x, 1]``.
    live : array of bool, optional
        Where to compare, same shape.

    Returns
    -------
    array
        ``[b]``; 0 is best.
    """
    a, b, live = local.unpack(prediction, target, live)
    factor = local.coarseness(a)
    a, b, live = (local.pool(image, factor, centred=True) for image in (a, b, live))
    live = jnp.where(live > 0, 1.0, 0.0)
    a, b = local.GREY_LEVELS * a, local.GREY_LEVELS * b
    one, two, fused = (
        local.gradient(LUMINANCE * image, local.PREWITT) for image in (b, a, (a + b) / 2)
    )
    alike = local.similarity(one, two, PAIR_CONSTANT)
    alike += local.similarity(two, fused, FUSED_CONSTANT)
    alike -= local.similarity(one, fused, FUSED_CONSTANT)
    strength = math.hypot(*COLOURS)
    colours = local.similarity(strength * a, strength * b, COLOUR_CONSTANT)
    alike = GRADIENT_SHARE * alike + (1 - GRADIENT_SHARE) * colours
    # Where it is negative the root is complex, and so is its deviation.
    size = jnp.abs(alike) ** POWER
    angle = jnp.where(alike < 0, math.pi * POWER, 0.0)
    parts = [size * jnp.cos(angle), size * jnp.sin(angle)]
    offsets = [part - local.mean(part, live)[:, None, None] for part in parts]
    return local.mean(jnp.hypot(*offsets), live) ** POWER
