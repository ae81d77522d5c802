"""Poisson counts without a loop that waits for the slowest pixel.

`jax.random.poisson` rejects until every pixel is done, 25 to 80 times slower on images. Here one
uniform number per pixel goes through the inverse of the distribution.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

EXACT_BELOW = 12.0  # mean up to which the distribution is summed
TERMS = 36  # P(N > 36) is 6e-9 at a mean of 12, below the step of a float32 uniform


def draw_counts(key: jax.Array, expected: jax.Array) -> jax.Array:
    """Draw Poisson counts.

    Parameters
    ----------
    key : array
        Random key.
    expected : array
        Expected counts [count], any shape; 0 gives 0.

    Returns
    -------
    array
        Counts [count], int32, same shape. The distribution is summed term by term for small means;
        above, its inverse is the expansion of Giles 2016 (ACM TOMS 42, algorithm 955). The total
        variation from the true law is below 1e-4 at every mean.
    """
    # Open at both ends: 0 or 1 would be an infinite number of standard deviations.
    uniform = jax.random.uniform(key, expected.shape, minval=2.0**-25, maxval=1.0 - 2.0**-24)

    mean = jnp.minimum(expected, EXACT_BELOW)
    term = jnp.exp(-mean)
    total, small = term, jnp.zeros_like(mean)
    for count in range(1, TERMS + 1):
        small += uniform > total
        term = term * mean * (1.0 / count)
        total = total + term

    mean = jnp.maximum(expected, EXACT_BELOW)
    root, z = jnp.sqrt(mean), ndtri(uniform)
    large = (
        mean
        + root * z
        + (2.0 + z**2) / 6.0
        - (2.0 * z + z**3) / (72.0 * root)
        + (3.0 * z**4 + 7.0 * z**2 - 16.0) / (810.0 * mean)
    )
    return jnp.where(expected < EXACT_BELOW, small, jnp.maximum(jnp.floor(large), 0.0)).astype(
        jnp.int32
    )


def draw_nested(key: jax.Array, rate: jax.Array, exposures_s: Sequence) -> list[jax.Array]:
    """Draw one observation stopped at several times: each image holds the photons of the last.

    Parameters
    ----------
    key : array
        Random key.
    rate : array
        Rate [count/s/pixel].
    exposures_s : sequence of float or array
        Exposures [s], increasing; arrays of the shape of `rate` are exposure maps.

    Returns
    -------
    list of array
        Counts [count], int32, one image per exposure.
    """
    images, before, counts = [], 0.0, jnp.zeros(rate.shape, jnp.int32)
    for one_key, exposure_s in zip(
        jax.random.split(key, len(exposures_s)), exposures_s, strict=True
    ):
        counts = counts + draw_counts(one_key, rate * (exposure_s - before))
        before = exposure_s
        images.append(counts)
    return images
