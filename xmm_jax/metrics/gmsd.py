"""Gradient magnitude similarity deviation, at one scale and at four.

Xue, Zhang, Mou & Bovik 2014, IEEE TIP 23, 684; Zhang, Sander & Bermak 2017, IEEE ICASSP, 1253 (its
grey part).
"""

import jax
import jax.numpy as jnp

from xmm_jax.metrics import local

CONSTANT = 170.0 / local.GREY_LEVELS**2
MASKING = 0.5  # alpha of the multi-scale measure
SCALE_WEIGHTS = (0.096, 0.596, 0.289, 0.019)  # finest first


@jax.jit
def gmsd(prediction: jax.Array, target: jax.Array, live: jax.Array | None = None) -> jax.Array:
    """Standard deviation of the similarity of gradients, of the image at half its size.

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
    images = (local.pool(x, 2, centred=True) for x in local.unpack(prediction, target, live))
    return jnp.sqrt(_variance(*images, masking=0.0))


@jax.jit
def ms_gmsd(prediction: jax.Array, target: jax.Array, live: jax.Array | None = None) -> jax.Array:
    """Gradient similarity deviation over four scales, of the full image and three halvings.

    Parameters
    ----------
    prediction, target, live
        As in `gmsd`.

    Returns
    -------
    array
        ``[b]``; 0 is best.
    """
    images = local.unpack(prediction, target, live)
    total = jnp.zeros(len(prediction))
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale > 0:
            images = tuple(local.pool(x, 2, centred=True) for x in images)
        total += weight * _variance(*images, masking=MASKING)
    return jnp.sqrt(total)


def _variance(a: jax.Array, b: jax.Array, live: jax.Array, *, masking: float) -> jax.Array:
    """Variance of the similarity of gradients over each image."""
    live = jnp.where(live > 0, 1.0, 0.0)
    a, b = (local.gradient(image, local.PREWITT) for image in (a, b))
    product, squares = a * b, a * a + b * b
    alike = ((2 - masking) * product + CONSTANT) / (squares - masking * product + CONSTANT)
    offset = alike - local.mean(alike, live)[:, None, None]
    return local.mean(offset**2, live)
