"""Losses that compare pixel by pixel, in network units (values in [0, 1]).

Each takes ``prediction`` and ``target`` ``[b, y, x, 1]`` and returns one value per image ``[b]``.
Definitions as in the published code of Sweere et al. 2022, which uses PyTorch and piq 0.6.0.
"""

import math

import jax
import jax.numpy as jnp

# Keeps logarithms finite: the default of PyTorch's PoissonNLLLoss and of piq's psnr.
EPSILON = 1e-8
# Counts below which it does not matter how wrong a prediction is.
FAINTEST = 1e-5
# Of a width in square roots of counts: 0.001 to 20.
LOG_WIDTHS = (-7.0, 3.0)


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
        Observed values t, same unit and shape.

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


def deviance(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean Poisson deviance of square roots of counts: 2 [m - k + k ln(k / m)], m = p^2, k = t^2.

    It is least where m is the mean of k, be k counts or expected counts, and near 4 (p - t)^2 if
    they differ little, so that faint and bright pixels weigh alike.

    Parameters
    ----------
    prediction, target : array
        Square roots of counts, not negative, ``[b, y, x, 1]``.

    Returns
    -------
    array
        ``[b]``.
    """
    m, k = (jnp.square(image) + FAINTEST for image in (prediction, target))
    return _mean(2 * (m - k + k * jnp.log(k / m)))


def spread(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean negative log likelihood of a normal law about the prediction, for its width alone.

    Parameters
    ----------
    prediction : array
        Mean and logarithm of the standard deviation, ``[b, y, x, 2]``. The mean learns nothing
        from this loss, or it would give up where it is unsure.
    target : array
        ``[b, y, x, 1]``.

    Returns
    -------
    array
        ``[b]``.
    """
    mean, log_width = jnp.split(prediction, 2, axis=-1)
    log_width = jnp.clip(log_width, *LOG_WIDTHS)
    error = target - jax.lax.stop_gradient(mean)
    return _mean(log_width + jnp.square(error * jnp.exp(-log_width)) / 2)


def stated_width(log_width: jax.typing.ArrayLike) -> jax.Array:
    """Width in square roots of counts of a second output of a network, ``log_width``, any shape."""
    return jnp.exp(jnp.clip(log_width, *LOG_WIDTHS))


def _mean(image: jax.Array) -> jax.Array:
    return jnp.mean(image, axis=(1, 2, 3))
