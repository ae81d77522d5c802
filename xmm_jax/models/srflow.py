"""SRFlow: every sky that fits a photon image, by a flow around what an RRDB says of it.

Lugmayr et al. 2020, ECCV, arXiv:2006.14200, for counts. Images are ``[b, y, x, c]`` float32. The
flow (`xmm_jax.models.flow`) has the RRDB's features as its condition, as in the paper. Two things
are ours:

- its target is 2 sqrt(counts + a constant), under which photon noise has one size everywhere;
- of that it learns the distance from the image of the RRDB, in units of the width that the RRDB
  states: a first layer that follows from the condition alone. A new flow then already gives the
  image of the RRDB, which is what makes hours of a CPU enough.

*Network counts* are the squares of network units with the stretch ``counts``: what the input has,
or should have, in a pixel of its own.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax.models import flow
from xmm_jax.models.anscombe import SHIFT
from xmm_jax.models.flow_inputs import resized, rrdb_answer, stabilised, unstabilised
from xmm_jax.models.flow_layers import squeeze
from xmm_jax.models.rrdb import RRDB

# Of the distance from the RRDB, in units of the target, in which the noise of the photons of one
# pixel is 1. The RRDB that comes with the package states 10 where it predicts more than 50 counts
# in a pixel; targets scatter there by 3.6.
LEAST_WIDTH, GREATEST_WIDTH = 0.01, 3.0
# What is drawn is no farther than this many widths from the image of the RRDB: inverses of flows
# can run away. Of live pixels of a simulated target 1 in 1000 is farther: sources not seen.
FARTHEST = 8.0
# The width of a dead pixel, in square roots of counts.
DEAD_WIDTH = 0.1
# As of `xmm_jax.losses.pixel.spread`, by which the second output of the RRDB may have been learned.
LOG_WIDTHS = (-7.0, 3.0)


@dataclasses.dataclass(frozen=True)
class SRFlow:
    """The network, with the face of a flax module: `init` and `apply`; parameters as nested dicts.

    Attributes
    ----------
    filters, blocks, upscale, in_channels, remat, dtype, unshuffle
        Of the RRDB, see `xmm_jax.models.rrdb.RRDB`.
    levels, steps, width : int
        Of the flow, see `xmm_jax.models.flow.init`.
    noise : float
        Width of the uniform noise about the target [count of the target]; 1 for whole counts.
    grain : float
        Standard deviation of the Gaussian noise about the target [width that the RRDB states].
    """

    filters: int
    blocks: int
    upscale: int
    in_channels: int = 2
    remat: bool = False
    dtype: Any = None
    unshuffle: int = 1
    levels: int = 2
    steps: int = 4
    width: int = 32
    noise: float = 0.0
    grain: float = 0.2

    @property
    def trunk(self) -> RRDB:
        """The RRDB, with a second output."""
        return RRDB(
            self.filters,
            self.blocks,
            self.upscale,
            self.in_channels,
            self.remat,
            self.dtype,
            unshuffle=self.unshuffle,
            end="positive",
            outputs=2,
        )

    @property
    def multiple(self) -> int:
        """What the sides of an input should be multiples of [input pixel]."""
        return max(2**self.levels // self.upscale, self.unshuffle)

    @property
    def room(self) -> float:
        """How far network counts may be below 0 for their noise: a pixel is at most 4 of them."""
        return 2 * self.noise

    @property
    def reach(self) -> int:
        """How far the answer at a pixel depends on input and noise [input pixel], or a bit less."""
        # Each coupling, and once in each level the split, sees two pixels of its level.
        own = sum((2 * self.steps + 5) * 2**level for level in range(1, self.levels + 1))
        return self.trunk.reach + -(-own // self.upscale)

    @property
    def bytes_per_pixel(self) -> float:
        """Memory of a prediction per input pixel [byte], estimated: condition and hidden layers."""
        condition = 2 * self.filters + 16
        flow_pixels = self.upscale**2 / 4
        return self.trunk.bytes_per_pixel + 4 * flow_pixels * (condition + 4 * self.width)

    def init(self, key: jax.Array, inputs: jax.Array) -> dict[str, Any]:
        """Draw the parameters by a random key, for inputs of a shape; `start` should follow.

        Returns
        -------
        dict
            ``params``: ``features``, those of the RRDB, and ``flow``.
        """
        first, second = jax.random.split(key)
        # This runs once, so it is compiled as a loop.
        features = self.trunk.clone(unroll=1).init(first, inputs)["params"]
        own = flow.init(
            second,
            condition=self.filters + 8,
            levels=self.levels,
            steps=self.steps,
            width=self.width,
        )
        return {"params": {"features": features, "flow": own}}

    def apply(self, variables: dict[str, Any], inputs: jax.Array) -> jax.Array:
        """The image at temperature 0, network units: ``[b, y, x, c]`` -> ``[b, s*y, s*x, 1]``.

        Of inputs, by variables as of `init`.
        """
        b, y, x, _ = inputs.shape
        return self.draw(
            variables["params"], inputs, jnp.zeros((b, self.upscale * y, self.upscale * x, 1))
        )

    def sample(
        self,
        key: jax.Array,
        params: Any,
        inputs: jax.Array,
        temperature: float | jax.Array = 0.8,
    ) -> jax.Array:
        """Draw one image per input.

        Parameters
        ----------
        key : array
            Random key.
        params : pytree
            Of `init`, trained.
        inputs : array
            ``[b, y, x, in_channels]``, network units.
        temperature : float
            Standard deviation of the latents: 1 draws from the density learned, 0 always gives the
            same image.

        Returns
        -------
        array
            ``[b, s*y, s*x, 1]``, network units.
        """
        b, y, x, _ = inputs.shape
        shape = (b, self.upscale * y, self.upscale * x, 1)
        return self.draw(params, inputs, temperature * jax.random.normal(key, shape))

    def draw(self, params: Any, inputs: jax.Array, noise: jax.Array) -> jax.Array:
        """The image that noise stands for: as `sample`, the latents given.

        The latents are as many numbers as there are pixels. They are taken here from an image,
        those of 2 x 2 pixels and their multiples from the same places, so that windows of an image
        and of its noise give windows of the answer (`xmm_jax.tiling`).

        Parameters
        ----------
        params : pytree
            Weights.
        inputs : array
            ``[b, y, x, in_channels]``, network units, of any sides.
        noise : array
            ``[b, s*y, s*x, 1]``, N(0, temperature^2).

        Returns
        -------
        array
            ``[b, s*y, s*x, 1]``, network units.
        """
        step, s = self.multiple, self.upscale
        _, height, width, _ = noise.shape
        # Written so that it is also seen to fit where the sides are symbols (jax.export).
        sides = [step * ((side + step - 1) // step) for side in inputs.shape[1:3]]
        inputs, noise = _padded(inputs, *sides), _padded(noise, *(s * side for side in sides))
        centre, spread, condition = self._given(params, inputs)
        standard = flow.decode(params["flow"], latents_of(noise, self.levels), condition)
        standard = jnp.clip(standard, -FARTHEST, FARTHEST)
        counts = unstabilised(centre + spread * standard) - self.room
        return jnp.sqrt(jnp.maximum(counts, 0.0))[:, :height, :width]

    def log_likelihood(
        self, params: Any, counts: jax.Array, inputs: jax.Array, blur: jax.Array | float = 0.0
    ) -> jax.Array:
        """Logarithm of the density of images given their inputs.

        Parameters
        ----------
        params : pytree
            Weights.
        counts : array
            Target with its noise [network count], ``[b, s*y, s*x, 1]``, at least ``-room``.
        inputs : array
            ``[b, y, x, in_channels]``, network units, sides multiples of `multiple`.
        blur : array
            Gaussian noise about the target [width of the RRDB], shape of `counts`.

        Returns
        -------
        array
            [b], nats, of a density per network count in each pixel.

        Raises
        ------
        ValueError
            If the sides do not fit.
        """
        standard, log_det, condition = self._standard(params, counts, inputs, blur)
        return flow.log_likelihood(params["flow"], standard, condition) + log_det

    def start(
        self, params: Any, counts: jax.Array, inputs: jax.Array, blur: jax.Array | float = 0.0
    ) -> Any:
        """Weights whose actnorms fit a first batch, see `xmm_jax.models.flow.start`.

        Parameters
        ----------
        params, counts, inputs, blur
            As for `log_likelihood`.
        """
        standard, _, condition = self._standard(params, counts, inputs, blur)
        return params | {"flow": flow.start(params["flow"], standard, condition)}

    def _standard(
        self, params: Any, counts: jax.Array, inputs: jax.Array, blur: jax.Array | float = 0.0
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the flow learns, the log-determinant [b] of what led to it, and the condition."""
        centre, spread, condition = self._given(params, inputs)
        target, log_det = stabilised(jnp.maximum(counts + self.room, 0.0))
        standard = (target - centre) / spread + blur
        return standard, log_det - jnp.sum(jnp.log(spread), (1, 2, 3)), condition

    def _given(self, params: Any, inputs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the RRDB says of the target, its mean and width, and the condition.

        The condition is on the pixels of the first level: features, the four pixels of the mean and
        those of the logarithm of the width.
        """
        outputs, features = rrdb_answer(self.trunk, params["features"], inputs)
        image, log_width = jnp.split(outputs, 2, axis=-1)
        sigma = jnp.exp(jnp.clip(log_width, *LOG_WIDTHS))
        if self.in_channels == 2:
            # What it says of dead pixels nobody taught it; targets hold noise there, and no light.
            live = inputs[..., 1:].repeat(self.upscale, 1).repeat(self.upscale, 2) > 0
            image, sigma = jnp.where(live, image, 0.0), jnp.where(live, sigma, DEAD_WIDTH)
        centre, above = (self._target(units) for units in (image, image + sigma))
        spread = jnp.minimum(LEAST_WIDTH + above - centre, GREATEST_WIDTH)
        height, width = image.shape[1] // 2, image.shape[2] // 2
        parts = (resized(features, height, width), squeeze(image), squeeze(jnp.log(spread)))
        # The brightest source must not lead the small networks of the flow far outside.
        return centre, spread, jnp.arcsinh(jnp.concatenate(parts, axis=-1))

    def _target(self, units: jax.Array) -> jax.Array:
        return 2 * jnp.sqrt(jnp.square(units) + self.room + SHIFT)


def latents_of(noise: jax.Array, levels: int) -> list[jax.Array]:
    """Latents of `xmm_jax.models.flow` from an image of as many numbers, ``[b, y, x, 1]``.

    Parameters
    ----------
    noise : array
        Random numbers [1], sides multiples of ``2**levels``.
    levels : int
        Of the flow.

    Returns
    -------
    list of array
        One per level.
    """
    latents, rest = [], noise
    for _ in range(levels - 1):
        rest = squeeze(rest)
        kept = rest.shape[-1] // 2
        latents.append(rest[..., kept:])
        rest = rest[..., :kept]
    return [*latents, squeeze(rest)]


def _padded(image: jax.Array, height: int, width: int) -> jax.Array:
    """Zeros below and to the right, to these sides."""
    room = ((0, 0), (0, height - image.shape[1]), (0, width - image.shape[2]), (0, 0))
    return jnp.pad(image, room)
