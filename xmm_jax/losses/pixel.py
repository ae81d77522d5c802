"""Losses that compare pixel by pixel, in network units (values in [0, 1]).

Each takes ``prediction`` and ``target`` ``[b, y, x, 1]`` and returns one value per image ``[b]``.
Definitions as in the published code of Sweere et al. 2022, which uses PyTorch and piq 0.6.0.
"""

import math

import jax
import jax.numpy as jnp

# Keeps logarithms finite: the default of PyTorch's PoissonNLLLoss and of piq's psnr.
EPSILON = 1e-8


def l1(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute difference."""
    return _mean(jnp.abs(prediction - target))


def l2(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared difference."""
    return _mean(jnp.square(prediction - target))


def poisson(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean negative log likelihood of a Poisson law without its constant, p - t ln(p + 1e-8).

    Parameters
    ----------
    prediction : array
        Expected values p >= 0, ``[b, y, x, 1]``.
    target : array
        Observed values t, same shape.

    Returns
    -------
    array
        ``[b]``.
    """
    return _mean(prediction - target * jnp.log(prediction + EPSILON))


def psnr(prediction: jax.Array, target: jax.Array, *, data_range: float = 1.0) -> jax.Array:
    """Peak signal to noise ratio [dB], at most 80 because of an epsilon in the squared error.

    Parameters
    ----------
    prediction, target : array
        ``[b, y, x, 1]``.
    data_range : float
        Largest possible difference.

    Returns
    -------
    array
        ``[b]``; larger is better.
    """
    error = l2(prediction, target) / data_range**2
    return -10 / math.log(10) * jnp.log(error + EPSILON)


def _mean(image: jax.Array) -> jax.Array:
    return jnp.mean(image, axis=(1, 2, 3))
