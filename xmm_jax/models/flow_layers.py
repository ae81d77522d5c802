"""Layers of a conditional normalising flow: each one invertible, with its log-determinant.

A layer is a pair of functions and a third that draws its parameters, a dict of float32 arrays.
``layer(params, h, ...)`` takes ``h`` [b, y, x, c] from the image to the latents and returns the new
``h`` and, per image, the logarithm of the absolute determinant of its Jacobian [b], in nats;
``layer_inverse(params, h, ...)`` takes ``h`` back. ``features`` [b, y, x, f] is the condition, on
the pixels of ``h``. Everything is in network units. First parameters are drawn by a random ``key``
for so many ``channels`` of ``h`` and of the ``condition``; ``width`` is that of hidden layers.

Actnorm, 1x1 convolution and coupling are those of Glow (Kingma & Dhariwal 2018, NeurIPS,
arXiv:1807.03039); injector and condition those of SRFlow (Lugmayr et al. 2020, ECCV,
arXiv:2006.14200). Written from the papers; the published code was not used.
"""

import math
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp

Params = dict[str, Any]

BOUND = 0.5
"""Largest logarithm of a factor that depends on the data, so that no layer can run away."""

SMALLEST = 1e-3
"""What the standard deviation of a channel is taken for at least when actnorm is started."""


def squeeze(h: jax.Array) -> jax.Array:
    """2x2 pixels to channels: ``[b, 2y, 2x, c]`` -> ``[b, y, x, 4c]``; the determinant is 1."""
    return jnp.asarray(dm_pix.space_to_depth(h, 2))


def squeeze_inverse(h: jax.Array) -> jax.Array:
    """Channels to 2x2 pixels: ``[b, y, x, 4c]`` -> ``[b, 2y, 2x, c]``."""
    return jnp.asarray(dm_pix.depth_to_space(h, 2))


def init_actnorm(channels: int) -> Params:
    """Parameters of an actnorm that changes nothing."""
    return {"log_scale": jnp.zeros(channels), "shift": jnp.zeros(channels)}


def start_actnorm(h: jax.Array) -> Params:
    """Parameters with which `actnorm` brings each channel of a batch to mean 0 and deviation 1."""
    axes = (0, 1, 2)
    deviation = jnp.maximum(jnp.std(h, axes), SMALLEST)
    return {"log_scale": -jnp.log(deviation), "shift": -jnp.mean(h, axes)}


def actnorm(params: Params, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shift, then scale each channel by numbers of its own: ``(h + shift) exp(log_scale)``."""
    scaled = (h + _row(params["shift"])) * jnp.exp(_row(params["log_scale"]))
    return scaled, _everywhere(h, jnp.sum(params["log_scale"]))


def actnorm_inverse(params: Params, h: jax.Array) -> jax.Array:
    """Undo `actnorm`."""
    return h * jnp.exp(-_row(params["log_scale"])) - _row(params["shift"])


def init_mixing(key: jax.Array, channels: int) -> Params:
    """Parameters of a `mixing` that turns the channels by a random rotation, up to reflections.

    A drawn rotation is P L U, with P of its own and diagonal elements of U of both signs. Orders
    and signs of the rows go into P, which is then replaced by the fixed one: what is left is still
    orthogonal, and nothing has to be kept beside the parameters.
    """
    turn, _ = jnp.linalg.qr(jax.random.normal(key, (channels, channels)))
    _, lower, upper = jax.scipy.linalg.lu(turn)
    diagonal = jnp.diagonal(upper)
    signs = jnp.sign(diagonal)
    return {
        "lower": jnp.tril(signs[:, None] * lower * signs[None, :], -1),
        "upper": jnp.triu(signs[:, None] * upper, 1),
        "log_diagonal": jnp.log(jnp.abs(diagonal)),
    }


def mixing(params: Params, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """1x1 convolution by the matrix P L U (Kingma & Dhariwal 2018, equation 10).

    L has ones on its diagonal, U ``exp(log_diagonal)``; P reverses the channels. Of ``lower`` and
    ``upper`` only what is below and above the diagonal counts.
    """
    lower, upper = _triangles(params)
    matrix = jnp.flip(jnp.matmul(lower, upper, precision="highest"), 0)
    return _mix(matrix, h), _everywhere(h, jnp.sum(params["log_diagonal"]))


def mixing_inverse(params: Params, h: jax.Array) -> jax.Array:
    """Undo `mixing`."""
    lower, upper = _triangles(params)
    solve = jax.scipy.linalg.solve_triangular
    # Not a product of two inverses, which loses digits: first L, then U.
    ordered = jnp.flip(jnp.eye(h.shape[-1]), 0)
    matrix = solve(upper, solve(lower, ordered, lower=True, unit_diagonal=True))
    return _mix(matrix, h)


def init_injector(key: jax.Array, channels: int, condition: int, width: int) -> Params:
    """Parameters of an injector that changes nothing yet.

    Parameters
    ----------
    key : array
        Random key.
    channels, condition : int
        Of ``h`` and of ``features``.
    width : int
        Features of the hidden layers.
    """
    return _init_net(key, condition, width, 2 * channels)


def injector(params: Params, h: jax.Array, features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scale and shift every number of ``h`` as the condition alone says."""
    return _affine(h, _net(params, features))


def injector_inverse(params: Params, h: jax.Array, features: jax.Array) -> jax.Array:
    """Undo `injector`."""
    return _affine_inverse(h, _net(params, features))


def init_coupling(key: jax.Array, channels: int, condition: int, width: int) -> Params:
    """Parameters of a coupling that changes nothing yet; arguments as of `init_injector`."""
    kept = channels // 2
    return _init_net(key, kept + condition, width, 2 * (channels - kept))


def coupling(params: Params, h: jax.Array, features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scale and shift the second half of the channels as the first half and the condition say."""
    kept, rest = _halves(h)
    rest, log_det = _affine(rest, _net(params, jnp.concatenate([kept, features], axis=-1)))
    return jnp.concatenate([kept, rest], axis=-1), log_det


def coupling_inverse(params: Params, h: jax.Array, features: jax.Array) -> jax.Array:
    """Undo `coupling`."""
    kept, rest = _halves(h)
    rest = _affine_inverse(rest, _net(params, jnp.concatenate([kept, features], axis=-1)))
    return jnp.concatenate([kept, rest], axis=-1)


def init_split(key: jax.Array, channels: int, condition: int, width: int) -> Params:
    """Parameters of a split with the prior N(0, 1); arguments as of `init_injector`."""
    return init_coupling(key, channels, condition, width)


def split(
    params: Params, h: jax.Array, features: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Take half of the channels out as latents.

    Their prior is a Gaussian whose mean and width follow from the other half and the condition. By
    these the latents are standardised, which makes the prior a layer like the others: latents of
    all levels are N(0, 1).

    Returns
    -------
    kept, latent, log_det : array
        ``[b, y, x, c // 2]``, ``[b, y, x, c - c // 2]`` and [b].
    """
    kept, latent = _halves(h)
    latent, log_det = _affine(latent, _net(params, jnp.concatenate([kept, features], axis=-1)))
    return kept, latent, log_det


def split_inverse(
    params: Params, kept: jax.Array, latent: jax.Array, features: jax.Array
) -> jax.Array:
    """Undo `split`: ``h`` [b, y, x, c] from what was kept and the latent."""
    raw = _net(params, jnp.concatenate([kept, features], axis=-1))
    return jnp.concatenate([kept, _affine_inverse(latent, raw)], axis=-1)


def _row(numbers: jax.Array) -> jax.Array:
    """One number per channel, to go with ``[b, y, x, c]``."""
    return numbers[None, None, None, :]


def _everywhere(h: jax.Array, log_det: jax.Array) -> jax.Array:
    """Log-determinant per image of what happens alike at every pixel."""
    return jnp.full(h.shape[0], h.shape[1] * h.shape[2] * log_det)


def _halves(h: jax.Array) -> tuple[jax.Array, jax.Array]:
    kept = h.shape[-1] // 2
    return h[..., :kept], h[..., kept:]


def _triangles(params: Params) -> tuple[jax.Array, jax.Array]:
    diagonal = jnp.exp(params["log_diagonal"])
    lower = jnp.tril(params["lower"], -1) + jnp.eye(diagonal.size)
    return lower, jnp.triu(params["upper"], 1) + jnp.diag(diagonal)


def _mix(matrix: jax.Array, h: jax.Array) -> jax.Array:
    # Accelerators round factors of products to 10 bits by default: too few to be undone.
    return jnp.einsum("byxc,dc->byxd", h, matrix, precision="highest")


def _scale_and_shift(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Bounded logarithm of the scale, as in Real NVP (Dinh et al. 2017), and the shift."""
    log_scale, shift = _halves(raw)
    return BOUND * jnp.tanh(log_scale / BOUND), shift


def _affine(h: jax.Array, raw: jax.Array) -> tuple[jax.Array, jax.Array]:
    log_scale, shift = _scale_and_shift(raw)
    return h * jnp.exp(log_scale) + shift, jnp.sum(log_scale, (1, 2, 3))


def _affine_inverse(h: jax.Array, raw: jax.Array) -> jax.Array:
    log_scale, shift = _scale_and_shift(raw)
    return (h - shift) * jnp.exp(-log_scale)


def _init_net(key: jax.Array, inputs: int, width: int, outputs: int) -> Params:
    first, second = jax.random.split(key)
    return {
        "conv1": _init_conv(first, 3, inputs, width),
        "conv2": _init_conv(second, 1, width, width),
        # Zero, so that a new flow is linear and starts stably (Kingma & Dhariwal 2018, 3.3).
        "conv3": {"kernel": jnp.zeros((3, 3, width, outputs)), "bias": jnp.zeros(outputs)},
    }


def _init_conv(key: jax.Array, side: int, inputs: int, outputs: int) -> Params:
    """He et al. 2015, for the ReLU behind it."""
    width = math.sqrt(2 / (side**2 * inputs))
    kernel = width * jax.random.normal(key, (side, side, inputs, outputs))
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def _net(params: Params, inputs: jax.Array) -> jax.Array:
    """3x3, 1x1 and 3x3 convolutions with ReLU between them."""
    y = jax.nn.relu(_conv(params["conv1"], inputs))
    y = jax.nn.relu(_conv(params["conv2"], y))
    return _conv(params["conv3"], y)


def _conv(params: Params, inputs: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        inputs, params["kernel"], (1, 1), "SAME", dimension_numbers=layout
    )
    return y + _row(params["bias"])
