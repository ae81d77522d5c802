"""Residual-in-residual dense network of Sweere et al. 2022, after ESRGAN (Wang et al. 2018).

3x3 convolutions throughout. `RRDB` with ``upscale=2`` ends in a pixel shuffle (XMM-SuperRes), with
``upscale=1`` in a residual on the image channel of the input (XMM-DeNoise). What the paper leaves
open (slopes, order of concatenation, clamp, first weights) is as in the published code.

Three things are ours: a trunk on coarser pixels, as in Real-ESRGAN (Wang et al. 2021), a smooth
positive end in place of the clamp, and a second output.
"""

import math
from collections.abc import Callable
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
from flax import linen as nn

from xmm_jax.models.convolution import convolve

SIZES = {"tiny": (8, 1), "small": (16, 2), "medium": (32, 2), "base": (32, 4), "large": (64, 8)}
"""Filters and blocks; base is the published network."""

RESIDUAL = 0.2
SLOPE = 0.2
# PyTorch's default, which the published code left in place behind the upsampling convolution.
UPSAMPLING_SLOPE = 0.01
# In square roots of counts: an empty pixel may go down to 0.0025 counts without effort.
ROUNDING = 0.05
# What a new network says of every pixel: learning this first would disturb the image.
LOG_WIDTH = -2.5


@jax.custom_jvp
def clamp(x: jax.Array) -> jax.Array:
    """Clip to [0, 1], passing gradients as if it were not there.

    The published clamp has no gradient outside of [0, 1], and some seeds start with every pixel
    outside (7 of 60 for super-resolution on a 96 x 96 crop): they never learn. Values are the same.
    """
    return jnp.clip(x, 0.0, 1.0)


@clamp.defjvp
def _clamp_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return clamp(*primals), tangents[0]


def squareplus(x: jax.Array) -> jax.Array:
    """Smooth positive part, ``(x + sqrt(x**2 + 4 b**2)) / 2`` with b = 0.05: b at 0, x far above.

    Network units, any shape. Barron 2021, arXiv:2112.11687.
    """
    return (x + jnp.sqrt(jnp.square(x) + 4 * ROUNDING**2)) / 2


ENDS: dict[str, Callable[[jax.Array], jax.Array]] = {"clamp": clamp, "positive": squareplus}


def _uniform(low: float, high: float) -> Any:
    def draw(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, low, high)

    return draw


def conv(filters: int, inputs: int, *, name: str, dtype: Any = None, last: bool = False) -> nn.Conv:
    """3x3 convolution, initialised as published.

    Weights and biases are uniform within 1/sqrt(9 inputs), PyTorch's default; those of the last
    layer in [-s, 1.01 s] with s = 1/sqrt(inputs).

    Parameters
    ----------
    filters, inputs : int
        Channels that come out and go in.
    name : str
        Of its weights.
    dtype : dtype, optional
        Precision, see `RRDB`.
    last : bool
        Whether it is the last layer.
    """
    bound = 1 / math.sqrt(inputs if last else 9 * inputs)
    init = _uniform(-bound, 1.01 * bound if last else bound)
    return nn.Conv(
        filters,
        (3, 3),
        dtype=dtype,
        kernel_init=init,
        bias_init=init,
        conv_general_dilated=convolve,
        name=name,
    )


class DenseBlock(nn.Module):
    """Five convolutions, each seeing the outputs of all before it; residual scaled by 0.2.

    ``filters`` and ``dtype`` as in `RRDB`.
    """

    filters: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[b, y, x, filters]`` -> the same shape."""
        seen = x
        for i in range(1, 5):
            y = conv(self.filters, i * self.filters, name=f"conv{i}", dtype=self.dtype)(seen)
            seen = beside(seen, nn.leaky_relu(y, SLOPE))
        y = conv(self.filters, 5 * self.filters, name="conv5", dtype=self.dtype)(seen)
        return x + RESIDUAL * y


def beside(maps: jax.Array, added: jax.Array) -> jax.Array:
    """Channels of both, ``maps`` [b, y, x, k n] and ``added`` [b, y, x, n]: [b, y, x, (k + 1) n].

    XLA:CPU joins the last axis on one core, and any other on all of them, twice as fast on two.
    """
    if jax.default_backend() != "cpu":
        return jnp.concatenate([maps, added], -1)
    parts = [part.reshape(*part.shape[:3], -1, added.shape[-1]) for part in (maps, added)]
    return jnp.concatenate(parts, 3).reshape(*maps.shape[:3], -1)


class Block(nn.Module):
    """Three dense blocks in one residual: body of a scan; ``filters``, ``dtype`` as in `RRDB`."""

    filters: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        """``[b, y, x, filters]`` -> the same shape."""
        y = x
        for i in range(1, 4):
            y = DenseBlock(self.filters, self.dtype, name=f"RDB{i}")(y)
        return x + RESIDUAL * y, None


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """Channels to pixels in PyTorch's order: channel c*f*f + f*dy + dx goes to sub-pixel (dy, dx).

    ``[b, y, x, f*f*c]`` -> ``[b, f*y, f*x, c]``, f the factor.
    """
    b, y, w, channels = x.shape
    c = channels // factor**2
    # dm_pix keeps the channels of one output pixel last: (dy, dx, c) instead of (c, dy, dx).
    x = x.reshape(b, y, w, c, factor**2).swapaxes(-1, -2).reshape(b, y, w, channels)
    return jnp.asarray(dm_pix.depth_to_space(x, factor))


class RRDB(nn.Module):
    """The network: ``[b, y, x, in_channels]`` -> ``[b, s*y, s*x, outputs]``, network units.

    Attributes
    ----------
    filters, blocks : int
        Width and number of RRDB blocks.
    upscale : int
        2: pixel shuffle head. 1: image channel of the input added at the end.
    in_channels : int
        1 or 2.
    remat : bool
        Recompute blocks in the backward pass: less memory, more time. XLA:CPU saves nothing unless
        the blocks run in a loop, ``unroll=1``.
    dtype : dtype, optional
        Precision of all layers but the last (bfloat16 on accelerators); weights, last layer and
        output stay float32.
    unroll : int, optional
        Blocks per turn of the scan; by default all on a CPU, where XLA runs convolutions in a loop
        20 to 30 times slower, and one elsewhere. The weights are the same.
    unshuffle : int
        Side of the squares of input pixels that become channels of one pixel of the trunk, 1 or 2.
    end : str
        Key of `ENDS`, what keeps the image in its range: ``clamp`` to [0, 1] or ``positive``.
    outputs : int
        1: the image. 2: also the logarithm of its standard deviation, free.
    """

    filters: int
    blocks: int
    upscale: int
    in_channels: int = 2
    remat: bool = False
    dtype: Any = None
    unroll: int | None = None
    unshuffle: int = 1
    end: str = "clamp"
    outputs: int = 1

    @property
    def reach(self) -> int:
        """How far the answer at a pixel depends on the input [input pixel], or a little less."""
        trunk = 15 * self.blocks + 2
        # Head: one or two convolutions on the way to the finer pixels, two on these.
        return self.unshuffle * (trunk + 2) + 2

    @property
    def bytes_per_pixel(self) -> float:
        """Memory of a prediction per input pixel [byte].

        Measured with XLA:CPU for four networks to 4 %: 13 features of the trunk or 2 of the head.
        """
        return 4.0 * self.filters * max(13 / self.unshuffle**2, 2 * self.upscale**2)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the network to ``x``, ``[b, y, x, c]`` -> ``[b, s*y, s*x, outputs]``.

        Raises
        ------
        ValueError
            If `upscale` or the channels of ``x`` are not those of a network.
        """
        if self.upscale not in (1, 2) or x.shape[-1] != self.in_channels:
            raise ValueError(
                f"upscale must be 1 or 2, got {self.upscale}; the last axis of the input must hold "
                f"{self.in_channels} channels, got {x.shape}"
            )
        n, step = self.filters, self.unshuffle
        height, width = x.shape[1:3]
        given = x
        if step > 1:
            # Written so that it is also seen to fit where the sizes are symbols (jax.export).
            sides = [step * ((side + step - 1) // step) for side in (height, width)]
            room = ((0, 0), (0, sides[0] - height), (0, sides[1] - width), (0, 0))
            x = jnp.pad(x, room)
            x = jnp.asarray(dm_pix.space_to_depth(x, step))
        first = conv(n, x.shape[-1], name="conv_first", dtype=self.dtype)(x)
        trunk = conv(n, n, name="trunk_conv", dtype=self.dtype)(self._blocks(first))
        y = self._finer(first + trunk, self.upscale * step)
        y = conv(self.outputs, n, name="conv_last", last=True)(y.astype(jnp.float32))
        y = y[:, : self.upscale * height, : self.upscale * width]
        image = y[..., :1] + given[..., :1] if self.upscale == 1 else y[..., :1]
        return jnp.concatenate([ENDS[self.end](image), y[..., 1:] + LOG_WIDTH], axis=-1)

    def _finer(self, y: jax.Array, factor: int) -> jax.Array:
        """Features on pixels that are 1, 2 or 4 times finer."""
        if factor == 1:
            return y
        n = self.filters
        for name in ("upsampling", "upsampling2")[: factor // 2]:
            y = conv(4 * n, n, name=name, dtype=self.dtype)(y)
            y = pixel_shuffle(nn.leaky_relu(y, UPSAMPLING_SLOPE), 2)
        return nn.leaky_relu(conv(n, n, name="HRconv", dtype=self.dtype)(y), SLOPE)

    def _blocks(self, x: jax.Array) -> jax.Array:
        unroll = self.unroll
        if unroll is None:
            # At least 2: a scan of one block would stay a loop.
            unroll = max(self.blocks, 2) if jax.default_backend() == "cpu" else 1
        # Outside of a loop the compiler would merge the recomputation with the first computation.
        body = nn.remat(Block, prevent_cse=unroll > 1) if self.remat else Block
        scan = nn.scan(
            body,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.blocks,
            unroll=unroll,
        )
        y, _ = scan(self.filters, self.dtype, name="RRDB_trunk")(x, None)
        return y
