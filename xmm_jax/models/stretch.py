"""Network units: the only place that turns counts and exposure into what a network sees.

A rate is clipped to [0, clip rate], divided by the clip rate and stretched; backwards the other way
(Sweere et al. 2022 and its published code). The stretch ``counts`` is another kind of unit, without
a clip: square roots of counts, as many as the *input* has or should have in each of its pixels.
Noise then has the same size everywhere and at every exposure (Anscombe 1948, Biometrika 35, 246).
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError

ASINH_A = 0.02
LOG_A = 1000.0
# Exposure that the exposure channel calls 1 [s]; 20 ks is 0.2, as in the published networks.
EXPOSURE_UNIT_S = 100_000.0

Map = Callable[[jax.Array], jax.Array]

STRETCHES: dict[str, tuple[Map, Map]] = {
    "linear": (lambda u: u, lambda v: v),
    "sqrt": (jnp.sqrt, jnp.square),
    "asinh": (
        lambda u: jnp.asinh(u / ASINH_A) / math.asinh(1 / ASINH_A),
        lambda v: ASINH_A * jnp.sinh(v * math.asinh(1 / ASINH_A)),
    ),
    "log": (
        lambda u: jnp.log1p(LOG_A * u) / math.log(LOG_A),
        lambda v: jnp.expm1(v * math.log(LOG_A)) / LOG_A,
    ),
}
"""Stretch and its inverse by name, between [0, 1] and [0, 1]."""

COUNTS = "counts"
ANSCOMBE_SHIFT = 3 / 8
# The exposure channel of ``counts`` is log2(1 + exposure / 5 ks) / 4: 0 where dead, 0.25 at 5 ks,
# 0.58 at 20 ks, 1.1 at 100 ks.
EXPOSURE_KNEE_S, EXPOSURE_DOUBLINGS = 5_000.0, 4.0


@dataclasses.dataclass(frozen=True)
class Scale:
    """Units of a network.

    Attributes
    ----------
    stretch : str
        Key of `STRETCHES`, or ``counts``.
    clip_rate, target_clip_rate : float
        Rates at network value 1 [count/s/pixel], per input pixel and per target pixel. The paper
        takes 200 times the background at the boresight per 4" pixel, 0.0022336, and a quarter of
        it per 2" pixel, 0.0005584. With ``counts`` only figures are quoted at them.
    in_channels : int
        1: stretched rate; 2: also exposure.
    upscale : int
        Target pixels per input pixel along each axis.

    Raises
    ------
    InputError
        If the stretch is unknown or a number is impossible.
    """

    stretch: str
    clip_rate: float
    target_clip_rate: float
    in_channels: int
    upscale: int

    @property
    def clips(self) -> bool:
        """Whether bright pixels saturate."""
        return self.stretch != COUNTS

    def __post_init__(self) -> None:
        if self.clips:
            maps(self.stretch)
        if not (self.clip_rate > 0 and self.target_clip_rate > 0):
            raise InputError(
                f"clip rates must be positive, got {self.clip_rate} and {self.target_clip_rate}"
            )
        if self.in_channels not in (1, 2) or self.upscale < 1:
            raise InputError(
                f"in_channels must be 1 or 2 and upscale at least 1, got {self.in_channels} and "
                f"{self.upscale}"
            )


def to_inputs(scale: Scale, counts: jax.Array, exposure: jax.Array, valid: jax.Array) -> jax.Array:
    """What the network sees of an observation.

    Parameters
    ----------
    scale : Scale
        Units.
    counts : array
        Counts [count], ``[b, y, x, 1]``.
    exposure : array
        Live time [s], same shape.
    valid : array of bool
        True = use, same shape.

    Returns
    -------
    array
        ``[b, y, x, c]`` float32: the stretched rate in [0, 1] and, with two channels, the exposure
        in units of 100 ks; with ``counts`` ``sqrt(counts + 3/8) - sqrt(3/8)`` and the logarithm of
        the exposure. Both are 0 where the pixel is dead.
    """
    if not scale.clips:
        return _root_inputs(scale, counts, exposure, valid)
    image = normalise(rate(counts, exposure, valid), scale.clip_rate, scale.stretch)
    if scale.in_channels == 1:
        return image
    live = jnp.where(valid, exposure, 0.0) / EXPOSURE_UNIT_S
    return jnp.concatenate([image, live.astype(jnp.float32)], axis=-1)


def to_target(
    scale: Scale,
    target: jax.Array,
    target_exposure: jax.Array,
    target_valid: jax.Array,
    exposure: jax.Array,
) -> jax.Array:
    """What the network should say: the stretched target rate.

    Parameters
    ----------
    scale : Scale
        Units.
    target : array
        Counts or expected counts [count], ``[b, s*y, s*x, 1]``.
    target_exposure : array
        Live time [s], same shape.
    target_valid : array of bool
        True = use, same shape.
    exposure : array
        Live time of the input [s], ``[b, y, x, 1]``.

    Returns
    -------
    array
        ``[b, s*y, s*x, 1]`` float32, in [0, 1] or square roots of counts; 0 where dead.
    """
    seen = rate(target, target_exposure, target_valid)
    if not scale.clips:
        return jnp.sqrt(seen * _seconds(scale, exposure))
    return normalise(seen, scale.target_clip_rate, scale.stretch)


def to_rate(scale: Scale, outputs: jax.Array, exposure: jax.Array) -> jax.Array:
    """Rate that the outputs of a network mean.

    Parameters
    ----------
    scale : Scale
        Units.
    outputs : array
        Network units, ``[b, s*y, s*x, 1]``.
    exposure : array
        Live time of the input [s], ``[b, y, x, 1]``.

    Returns
    -------
    array
        Rate [count/s/pixel of the target grid]; with ``counts`` 0 where the input is dead, else
        between 0 and the target clip rate.
    """
    if not scale.clips:
        seconds = _seconds(scale, exposure)
        return jnp.where(seconds > 0, jnp.square(outputs) / jnp.maximum(seconds, 1.0), 0.0)
    _, inverse = maps(scale.stretch)
    return scale.target_clip_rate * jnp.clip(inverse(outputs), 0.0, 1.0)


def _root_inputs(
    scale: Scale, counts: jax.Array, exposure: jax.Array, valid: jax.Array
) -> jax.Array:
    live = valid & (exposure > 0)
    shifted = jnp.where(live, counts, 0).astype(jnp.float32) + ANSCOMBE_SHIFT
    image = jnp.sqrt(shifted) - math.sqrt(ANSCOMBE_SHIFT)
    if scale.in_channels == 1:
        return image
    knees = jnp.where(live, exposure, 0.0).astype(jnp.float32) / EXPOSURE_KNEE_S
    return jnp.concatenate([image, jnp.log2(1 + knees) / EXPOSURE_DOUBLINGS], axis=-1)


def _seconds(scale: Scale, exposure: jax.Array) -> jax.Array:
    """Exposure times target pixels per input pixel, on the target grid [s]."""
    s = scale.upscale
    seconds = jnp.where(exposure > 0, exposure, 0.0).astype(jnp.float32)
    return s**2 * jnp.repeat(jnp.repeat(seconds, s, axis=-3), s, axis=-2)


def rate(counts: jax.Array, exposure: jax.Array, valid: jax.Array) -> jax.Array:
    """Counts per second, 0 where the pixel is dead.

    Parameters
    ----------
    counts : array
        Counts [count].
    exposure : array
        Live time [s].
    valid : array of bool
        True = use.

    Returns
    -------
    array
        Rate [count/s/pixel], float32.
    """
    live = valid & (exposure > 0)
    seconds = jnp.where(live, exposure, 1.0).astype(jnp.float32)
    return jnp.where(live, counts.astype(jnp.float32) / seconds, 0.0)


def normalise(rate: jax.Array, clip_rate: float, stretch: str) -> jax.Array:
    """Clip a rate, divide it by the clip rate, stretch it.

    Parameters
    ----------
    rate : array
        Rate [count/s/pixel].
    clip_rate : float
        Rate at network value 1 [count/s/pixel].
    stretch : str
        Key of `STRETCHES`.

    Returns
    -------
    array
        Values in [0, 1].
    """
    forward, _ = maps(stretch)
    # The published log stretch ends at 1.0001, not at 1, hence the second clip.
    return jnp.clip(forward(jnp.clip(rate, 0.0, clip_rate) / clip_rate), 0.0, 1.0)


def maps(stretch: str) -> tuple[Map, Map]:
    """Stretch of a name and its inverse.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if stretch not in STRETCHES:
        known = ", ".join([*STRETCHES, COUNTS])
        raise InputError(f"stretch {stretch!r} is unknown; choose one of {known}")
    return STRETCHES[stretch]
