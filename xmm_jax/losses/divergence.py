"""Kullback-Leibler divergence between images taken as distributions of light."""

import jax
import jax.numpy as jnp

EPSILON = 1e-4
"""Least value of a pixel [electron/s], so that logarithms and slopes stay finite: ours.

About 1 % of the noise of a pixel of WFC3/UVIS in 500 s (3 e- of read noise, some 15 e- of sky).
"""


def kl(prediction: jax.Array, target: jax.Array, *, epsilon: float = EPSILON) -> jax.Array:
    """Sum of p ln(p / q) of Vojtekova et al. 2021, equation 9: p the target, q the prediction.

    Both are clipped below and divided by their sums, so that the loss knows how the light is spread
    and not how much there is. Written as the sum of p ln(p / q) - p + q, which is the same since
    both sums are 1: bright and faint pixels no longer cancel, and in float32 some 1e-8 is lost.

    Parameters
    ----------
    prediction, target : array
        ``[b, y, x, 1]`` [electron/s].
    epsilon : float
        Least value of a pixel, same unit, positive.

    Returns
    -------
    array
        ``[b]`` [nat]; 0 where both images are proportional.
    """
    p, q = (_distribution(image, epsilon) for image in (target, prediction))
    return jnp.sum(p * jnp.log(p / q) - p + q, axis=(1, 2, 3))


def _distribution(image: jax.Array, epsilon: float) -> jax.Array:
    above = jnp.maximum(image, epsilon)
    return above / jnp.sum(above, axis=(1, 2, 3), keepdims=True)
