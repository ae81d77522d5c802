"""Conditional normalising flow for super-resolution and denoising, after SRFlow.

Lugmayr et al. 2020, ECCV, arXiv:2006.14200. An image is turned, step by step and reversibly, into
as many numbers that are independent and N(0, 1) given the condition, so that its likelihood is
known exactly, and new images are drawn by going back from random numbers.

A level halves the pixels: squeeze, transition (actnorm and 1x1 convolution), steps (actnorm, 1x1
convolution, injector, coupling) and, in all but the last, a split. The condition is any array of
features, such as those of `flow_inputs.rrdb_answer`, brought to the pixels of each level. The
paper takes 3 levels for 4x and 16 steps a level.

Images are ``[b, y, x, c]`` float32 in network units, sides multiples of ``2**levels``; densities
are in nats and per network unit. The shape of the flow is that of its parameters: nested dicts of
``level1``, ``level2``, ..., in which the arrays of all steps of a level are stacked.

Going back is exact only while it is stable: inverses of many layers can grow without bound though
the likelihood looks well (Behrmann et al. 2021, AISTATS, arXiv:2006.09347). Seen here with 3 levels
of 16 steps and every parameter disturbed by 0.02. Watch the largest value of samples, and clip
gradients.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax.models import flow_layers as layers
from xmm_jax.models.flow_inputs import resized
from xmm_jax.models.flow_layers import Params


def init(
    key: jax.Array,
    *,
    condition: int,
    channels: int = 1,
    levels: int = 3,
    steps: int = 16,
    width: int = 64,
) -> Params:
    """Draw the parameters of a flow that is linear at first; `start` should follow.

    Parameters
    ----------
    key : array
        Random key.
    condition, channels : int
        Channels of the features and of the image.
    levels, steps : int
        Levels, and steps in each, at least 1.
    width : int
        Features of the hidden layers of injectors, couplings and splits.

    Returns
    -------
    dict
        Parameters, float32.

    Raises
    ------
    ValueError
        If a number is less than 1.
    """
    if min(condition, channels, levels, steps, width) < 1:
        raise ValueError("condition, channels, levels, steps and width must be at least 1")
    params: Params = {}
    for level in range(1, levels + 1):
        channels = 4 * channels
        key, first, many, last = jax.random.split(key, 4)
        draw = functools.partial(_init_step, channels=channels, condition=condition, width=width)
        params[f"level{level}"] = {
            "transition": _init_transition(first, channels),
            "steps": jax.vmap(draw)(jax.random.split(many, steps)),
        }
        if level < levels:
            split = layers.init_split(last, channels, condition, width)
            params[f"level{level}"]["split"] = split
            channels = channels // 2
    return params


def start(params: Params, target: jax.Array, features: jax.Array) -> Params:
    """Set every actnorm so that its channels have mean 0 and standard deviation 1 in a batch.

    Kingma & Dhariwal 2018, section 3.1. Nothing else changes.

    Parameters
    ----------
    params : dict
        Of `init`.
    target, features : array
        First batch of the training, as of `encode`; a dozen images or more.

    Returns
    -------
    dict
        New parameters.

    Raises
    ------
    ValueError
        As of `encode`.
    """
    _check(params, target.shape, features)
    h, new = target, {}
    for level, own in enumerate(_levels(params), 1):
        h = layers.squeeze(h)
        seen = resized(features, *h.shape[1:3])
        first = own["transition"] | {"actnorm": layers.start_actnorm(h)}
        h, _ = _transition(first, h)
        h, many = _scan(functools.partial(_start_step, seen), h, own["steps"])
        new[f"level{level}"] = own | {"transition": first, "steps": many}
        if "split" in own:
            h, _, _ = layers.split(own["split"], h, seen)
    return new


def encode(
    params: Params, target: jax.Array, features: jax.Array
) -> tuple[list[jax.Array], jax.Array]:
    """Latents of images.

    Parameters
    ----------
    params : dict
        Of `init` or `start`.
    target : array
        Images ``[b, y, x, c]``, network units.
    features : array
        Condition ``[b, y', x', f]``, for `flow_inputs.resized`.

    Returns
    -------
    latents : list of array
        One per level, N(0, 1) where the flow is right.
    log_det : array
        Logarithm of the absolute determinant of the Jacobian [b], nats.

    Raises
    ------
    ValueError
        If shapes do not fit each other or the parameters.
    """
    _check(params, target.shape, features)
    h, log_det, latents = target, jnp.zeros(target.shape[0]), []
    for own in _levels(params):
        h = layers.squeeze(h)
        seen = resized(features, *h.shape[1:3])
        h, more = _transition(own["transition"], h)
        body = functools.partial(_encode_step, seen)
        (h, log_det), _ = _scan(body, (h, log_det + more), own["steps"])
        if "split" in own:
            h, latent, more = layers.split(own["split"], h, seen)
            latents.append(latent)
            log_det = log_det + more
    return [*latents, h], log_det


def decode(params: Params, latents: Sequence[jax.Array], features: jax.Array) -> jax.Array:
    """Images ``[b, y, x, c]`` of latents: undo `encode`, with the same features.

    Raises
    ------
    ValueError
        If shapes do not fit each other or the parameters.
    """
    batch, height, width, _ = latents[0].shape
    shape = (batch, 2 * height, 2 * width, _channels(params))
    _check(params, shape, features)
    found, fitting = [z.shape for z in latents], _latent_shapes(params, shape)
    if found != fitting:
        raise ValueError(f"latents of this flow have the shapes {fitting}, got {found}")
    h = latents[-1]
    for own, latent in zip(_levels(params)[::-1], latents[::-1], strict=True):
        seen = resized(features, *latent.shape[1:3])
        if "split" in own:
            h = layers.split_inverse(own["split"], h, latent, seen)
        h, _ = _scan(functools.partial(_decode_step, seen), h, own["steps"], reverse=True)
        h = layers.squeeze_inverse(_transition_inverse(own["transition"], h))
    return h


def log_likelihood(params: Params, target: jax.Array, features: jax.Array) -> jax.Array:
    """Logarithm of the density of images given the condition [b], nats; arguments of `encode`."""
    latents, log_det = encode(params, target, features)
    energy = sum(jnp.sum(jnp.square(z), (1, 2, 3)) for z in latents) / 2
    return log_det - energy - math.prod(target.shape[1:]) * math.log(2 * math.pi) / 2


def bits_per_dimension(log_likelihood: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Code length per number of an image [bit], of the ``log_likelihood`` [b], nats.

    ``shape`` is that of the images, ``[b, y, x, c]``. What a density per count says of whole counts
    is an upper bound (Theis et al. 2016, ICLR, arXiv:1511.01844): add the log-determinant of
    `flow_inputs.stabilised` first.
    """
    return -log_likelihood / (math.log(2) * math.prod(shape[1:]))


def draw_latents(
    key: jax.Array, params: Params, shape: Sequence[int], temperature: float | jax.Array
) -> list[jax.Array]:
    """Random latents for images ``[b, y, x, c]``, drawn by a key; arguments of `sample`."""
    shapes = _latent_shapes(params, shape)
    keys = jax.random.split(key, len(shapes))
    return [
        temperature * jax.random.normal(own, latent)
        for own, latent in zip(keys, shapes, strict=True)
    ]


def sample(
    key: jax.Array,
    params: Params,
    features: jax.Array,
    shape: Sequence[int],
    temperature: float | jax.Array = 1.0,
) -> jax.Array:
    """Draw one image per condition.

    Parameters
    ----------
    key : array
        Random key.
    params : dict
        Of the trained flow.
    features : array
        Condition ``[b, y', x', f]``, for `flow_inputs.resized`.
    shape : sequence of int
        Of the result, ``[b, y, x, c]``.
    temperature : float
        Standard deviation of the latents: 1 draws from the density learned, 0 always gives the
        same image; the paper takes 0.8 or 0.9.

    Returns
    -------
    array
        Images, network units.

    Raises
    ------
    ValueError
        If shapes do not fit each other or the parameters.
    """
    _check(params, shape, features)
    return decode(params, draw_latents(key, params, shape, temperature), features)


def _levels(params: Params) -> list[Params]:
    # By name: an optimiser returns the keys in alphabetical order.
    return [params[f"level{level}"] for level in range(1, len(params) + 1)]


def _channels(params: Params) -> int:
    """Channels of the image."""
    return params["level1"]["transition"]["actnorm"]["shift"].size // 4


def _latent_shapes(params: Params, shape: Sequence[int]) -> list[tuple[int, ...]]:
    batch, height, width, channels = shape
    shapes = []
    for level in range(1, len(params) + 1):
        rest = 4 * channels
        channels = rest // 2 if level < len(params) else 0
        shapes.append((batch, height // 2**level, width // 2**level, rest - channels))
    return shapes


def _check(params: Params, shape: Sequence[int], features: jax.Array) -> None:
    channels, multiple = _channels(params), 2 ** len(params)
    condition = params["level1"]["steps"]["injector"]["conv1"]["kernel"].shape[-2]
    if len(shape) != 4 or shape[-1] != channels:
        raise ValueError(f"images must be [b, y, x, {channels}], got {tuple(shape)}")
    if shape[1] % multiple or shape[2] % multiple:
        raise ValueError(
            f"sides must be multiples of {multiple} pixels for {len(params)} levels, "
            f"got {shape[1]} x {shape[2]}"
        )
    if features.ndim != 4 or (features.shape[0], features.shape[-1]) != (shape[0], condition):
        raise ValueError(
            f"features must be [{shape[0]}, y, x, {condition}] for these images and parameters, "
            f"got {features.shape}"
        )


def _init_transition(key: jax.Array, channels: int) -> Params:
    return {"actnorm": layers.init_actnorm(channels), "mixing": layers.init_mixing(key, channels)}


def _init_step(key: jax.Array, *, channels: int, condition: int, width: int) -> Params:
    first, second, third = jax.random.split(key, 3)
    return _init_transition(first, channels) | {
        "injector": layers.init_injector(second, channels, condition, width),
        "coupling": layers.init_coupling(third, channels, condition, width),
    }


def _transition(params: Params, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    h, first = layers.actnorm(params["actnorm"], h)
    h, second = layers.mixing(params["mixing"], h)
    return h, first + second


def _transition_inverse(params: Params, h: jax.Array) -> jax.Array:
    return layers.actnorm_inverse(params["actnorm"], layers.mixing_inverse(params["mixing"], h))


def _step(params: Params, h: jax.Array, features: jax.Array) -> tuple[jax.Array, jax.Array]:
    h, first = _transition(params, h)
    h, second = layers.injector(params["injector"], h, features)
    h, third = layers.coupling(params["coupling"], h, features)
    return h, first + second + third


# Bodies of `_scan`: the features come first, to be bound.
def _start_step(features: jax.Array, h: jax.Array, params: Params) -> tuple[jax.Array, Params]:
    params = params | {"actnorm": layers.start_actnorm(h)}
    return _step(params, h, features)[0], params


def _encode_step(
    features: jax.Array, carry: tuple[jax.Array, jax.Array], params: Params
) -> tuple[tuple[jax.Array, jax.Array], None]:
    h, log_det = _step(params, carry[0], features)
    return (h, carry[1] + log_det), None


def _decode_step(features: jax.Array, h: jax.Array, params: Params) -> tuple[jax.Array, None]:
    h = layers.coupling_inverse(params["coupling"], h, features)
    h = layers.injector_inverse(params["injector"], h, features)
    return _transition_inverse(params, h), None


def _scan(body: Callable[..., Any], carry: Any, steps: Params, *, reverse: bool = False) -> Any:
    # XLA runs convolutions in a loop 20 to 30 times slower on a CPU, as for the blocks of RRDB; at
    # least 2, as a loop of one step would stay a loop.
    count = jax.tree.leaves(steps)[0].shape[0]
    unroll = max(count, 2) if jax.default_backend() == "cpu" else 1
    return jax.lax.scan(body, carry, steps, reverse=reverse, unroll=unroll)
