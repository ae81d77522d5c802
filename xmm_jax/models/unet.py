"""U-net of Vojtekova et al. 2021 (Astro U-net) for optical images in electrons/s.

After Ronneberger et al. 2015 and Chen et al. 2018 (CVPR, "Learning to see in the dark"). Four
levels of two 3x3 convolutions and a 2x2 maximum, two convolutions at the bottom, four levels up of
a 2x2 transposed convolution, the skip beside it and two 3x3 convolutions; a linear 1x1 convolution
at the end. The exposure ratio is one constant channel at the first level up, whose convolution
takes 256 + 256 + 1 channels: 7,761,345 parameters (figure 4 of the paper and the published code,
whose transposed convolutions have no biases).

First weights are Xavier uniform (Glorot & Bengio 2010), the default of the layers of TF-slim with
which the published code is written, those of transposed convolutions normal with a width of 0.02,
cut at two widths, as in that code; biases are 0.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from xmm_jax.models.transposed import Doubled

LEVELS = 4
STEP = 2**LEVELS
"""Side of the input squares that share one pixel of the bottom [pixel]."""

REACH = 112
"""How far an output pixel depends on the input [pixel]: 107, rounded up to a multiple of `STEP`.

Seen backwards from a pixel, two convolutions of 3x3 widen its interval by 2 pixels of their level
on both sides, going down a level halves its ends, going up a level doubles them. Exact only for
windows that start at multiples of `STEP`.
"""

SLOPE = 0.2
"""Of leaky ReLU in the published code; the paper prints 0.02 (below its equation 10)."""

TRANSPOSED_WIDTH = 0.02
"""Of the first weights of transposed convolutions in the published code."""

PRELU_SLOPE = 0.25
"""First slope of PReLU (He et al. 2015, arXiv:1502.01852, section 2.1)."""

RATIOS = ("bottom", "input", "none")
"""Where the exposure ratio comes in; experiment 6 of the paper has ``input``, 1 to 5 ``none``."""


class PReLU(nn.Module):
    """Leaky ReLU with a learned slope per channel (He et al. 2015)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[b, y, x, c]`` -> the same shape."""
        slope = self.param("slope", nn.initializers.constant(PRELU_SLOPE), (x.shape[-1],))
        return jnp.where(x > 0, x, x * slope[None, None, None, :])


def _leaky(x: jax.Array, slope: float, name: str) -> jax.Array:
    return nn.leaky_relu(x, slope)


def _relu(x: jax.Array, slope: float, name: str) -> jax.Array:
    return nn.relu(x)


def _prelu(x: jax.Array, slope: float, name: str) -> jax.Array:
    return PReLU(name=name)(x)


def _swish(x: jax.Array, slope: float, name: str) -> jax.Array:
    return nn.swish(x)


ACTIVATIONS: dict[str, Callable[[jax.Array, float, str], jax.Array]] = {
    "leaky": _leaky,
    "relu": _relu,
    "prelu": _prelu,
    "swish": _swish,
}
"""Experiments 1 and 9 to 11 of the paper; swish with beta = 1."""


class UNet(nn.Module):
    """The network: ``[b, y, x, in_channels]`` [electron/s] -> ``[b, y, x, 1]`` [electron/s].

    Sides that are no multiple of 16 are filled up at their ends with zeros, which are cut off
    again; a pixel near such an end sees the zeros as it sees those beyond every other edge.

    Attributes
    ----------
    filters : int
        Features of the finest level; twice as many on each level below.
    activation : str
        Key of `ACTIVATIONS`: ``leaky``, ``relu``, ``prelu`` (one slope per channel of each layer)
        or ``swish``.
    slope : float
        Of ``leaky`` for negative values: 0.2 in the published code, 0.02 in the paper.
    ratio : str
        ``bottom``: a constant channel at the first level up. ``input``: the first channel of the
        input is multiplied by the ratio (experiment 6). ``none``: the network is not told.
    in_channels : int
        1; 2 for two filters (experiment 5) or image and segmentation (experiment 7).
    """

    filters: int = 32
    activation: str = "leaky"
    slope: float = SLOPE
    ratio: str = "bottom"
    in_channels: int = 1

    @property
    def reach(self) -> int:
        """How far the answer at a pixel depends on the input [pixel], rounded up; see `REACH`."""
        return REACH

    @nn.compact
    def __call__(self, inputs: jax.Array, ratio: jax.Array | None = None) -> jax.Array:
        """Apply the network.

        Parameters
        ----------
        inputs : array
            ``[b, y, x, in_channels]`` [electron/s].
        ratio : array, optional
            Exposure time of the answer over that of the input, ``[b]``; not read with ``none``.

        Returns
        -------
        array
            ``[b, y, x, 1]`` [electron/s], not clipped.

        Raises
        ------
        ValueError
            If a setting is unknown, channels do not fit or the ratio is missing.
        """
        self._check(inputs, ratio)
        height, width = inputs.shape[1:3]
        # Written so that it is also seen to fit where the sizes are symbols (jax.export).
        sides = [STEP * ((side + STEP - 1) // STEP) for side in (height, width)]
        room = ((0, 0), (0, sides[0] - height), (0, sides[1] - width), (0, 0))
        y = jnp.pad(inputs, room)
        if self.ratio == "input" and ratio is not None:
            y = jnp.concatenate([y[..., :1] * ratio[:, None, None, None], y[..., 1:]], axis=-1)
        skips = []
        for level in range(LEVELS):
            skips.append(self._pair(y, self.filters * 2**level, f"down{level + 1}"))
            y = nn.max_pool(skips[-1], (2, 2), (2, 2))
        y = self._pair(y, self.filters * STEP, "bottom")
        for level in reversed(range(LEVELS)):
            filters = self.filters * 2**level
            parts = [self._finer(y, filters, f"up{level + 1}"), skips[level]]
            if self.ratio == "bottom" and level == LEVELS - 1 and ratio is not None:
                shape = (*parts[0].shape[:-1], 1)
                parts.append(jnp.broadcast_to(ratio[:, None, None, None], shape).astype(y.dtype))
            y = self._pair(jnp.concatenate(parts, axis=-1), filters, f"up{level + 1}")
        return _conv(1, (1, 1), name="last")(y)[:, :height, :width]

    def _pair(self, y: jax.Array, filters: int, name: str) -> jax.Array:
        """Two convolutions of 3x3, each with its activation."""
        for i in (1, 2):
            y = _conv(filters, (3, 3), name=f"{name}_conv{i}")(y)
            y = ACTIVATIONS[self.activation](y, self.slope, f"{name}_prelu{i}")
        return y

    def _finer(self, y: jax.Array, filters: int, name: str) -> jax.Array:
        """Transposed convolution of 2x2: pixel (i, j) gives (2 i + a, 2 j + b) by kernel[a, b]."""
        start = nn.initializers.truncated_normal(TRANSPOSED_WIDTH)
        name = f"{name}_transposed"
        return Doubled(filters, side=2, use_bias=False, kernel_init=start, name=name)(y)

    def _check(self, inputs: jax.Array, ratio: jax.Array | None) -> None:
        if self.activation not in ACTIVATIONS or self.ratio not in RATIOS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}; "
                f"ratio one of {', '.join(RATIOS)}, got {self.ratio!r}"
            )
        if inputs.shape[-1] != self.in_channels:
            raise ValueError(
                f"the last axis of the input must hold {self.in_channels} channels, "
                f"got {inputs.shape}"
            )
        if self.ratio != "none" and (ratio is None or ratio.shape != inputs.shape[:1]):
            raise ValueError(f"a ratio [b] is needed for each of {inputs.shape[0]} images")


_conv = functools.partial(nn.Conv, kernel_init=nn.initializers.xavier_uniform())
