"""Generator of GalaxyGAN without its adversary, for Herschel/SPIRE images made sharper.

Lauritsen et al. ("Super-resolving Herschel imaging: a proof of concept using Deep Neural Networks")
take the generator of GalaxyGAN (Schawinski et al. 2017, MNRAS 467, L110), which is that of pix2pix
(Isola et al. 2017, CVPR; arXiv:1611.07004, section 6.1.1), drop the discriminator, end in a sigmoid
instead of tanh and use leaky ReLU on the way up as well.

On the way down `depth` convolutions of 4x4 with steps of 2 and 64, 128, 256, 512, 512, ...
features; on the way up as many transposed convolutions of 4x4 with steps of 2, beside each but the
last the skip of its size. Batch normalisation follows every convolution except

- the first and the last, as in pix2pix and GalaxyGAN (the slides draw one before the sigmoid: see
  `GalaxyGAN.last_norm`);
- the one at the bottom. GalaxyGAN and the first pix2pix have it; where the bottom is one pixel of
  one image it makes every feature its own mean, 0, and the layer is lost: the errata of the third
  version of the paper, after which the public code of pix2pix has none there.

Dropout, leaky ReLU and concatenation stand in another order in those codes, which changes nothing:
dropout keeps signs, and leaky ReLU of features side by side is that of each.

A convolution has a bias where no batch normalisation takes it away again, as in the pix2pix of
PyTorch: 54,410,433 parameters for three bands.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from xmm_jax.models.transposed import Doubled

SLOPE = 0.2
"""Of leaky ReLU for negative values (pix2pix, section 6.1.1)."""

WIDTH = 0.02
"""Standard deviation of the first weights, of mean 0 (pix2pix, section 6.2).

That of the factors of batch normalisation as well, of mean 1, as in the codes of pix2pix.
"""

WIDEST = 8
"""Most features of a layer in units of `filters` (pix2pix, section 6.1.1)."""

DROPPED = 3
"""Levels up with dropout, from the bottom (pix2pix, section 6.1.1)."""

MOMENTUM = 0.9
"""Of the running means and variances; Torch and PyTorch call it 0.1, the default in pix2pix."""

EPSILON = 1e-5
"""Added to variances: the default of Torch and PyTorch, with which pix2pix is written."""


class GalaxyGAN(nn.Module):
    """The network: ``[b, y, x, bands]`` -> ``[b, y, x, 1]`` in (0, 1), both in network units.

    Needs the collections ``params`` and ``batch_stats`` and, in training, random numbers named
    ``dropout``. In training images are normalised by the means and variances of their batch, and
    ``batch_stats`` must be ``mutable``; otherwise by the running ones, so that an answer depends on
    its own image alone. (pix2pix drops out and normalises by the batch at test time too.)

    Attributes
    ----------
    filters : int
        Features of the first convolution.
    depth : int
        Convolutions on the way down, at least 2; 8 take 256 pixels to one.
    bands : int
        Channels of the input: 3 for 250, 350 and 500 um.
    dropout : float
        Part of the features set to 0 in the first three levels up, in training.
    axis_name : str, optional
        Axis of `jax.pmap` or `jax.shard_map` over whose devices the statistics of a batch are
        taken. None: of each device alone or, under `jax.jit`, of the whole sharded batch.
    last_norm : bool
        Batch normalisation before the sigmoid, as the slides have it and pix2pix has not; the last
        convolution then has no bias.
    """

    filters: int = 64
    depth: int = 8
    bands: int = 3
    dropout: float = 0.5
    axis_name: str | None = None
    last_norm: bool = False

    @property
    def step(self) -> int:
        """What sides are multiples of: 2**depth [pixel]."""
        return 2**self.depth

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Apply the network.

        Parameters
        ----------
        inputs : array
            ``[b, y, x, bands]``, network units; sides multiples of `step`.
        train : bool
            Normalise by the batch, update the running statistics and drop out.

        Returns
        -------
        array
            ``[b, y, x, 1]`` in (0, 1).

        Raises
        ------
        ValueError
            If channels or sides do not fit, or `depth` is less than 2.
        """
        self._check(inputs)
        features = [self.filters * min(2**level, WIDEST) for level in range(self.depth)]
        y, skips = inputs, []
        for level, count in enumerate(features):
            plain = level in (0, self.depth - 1)
            y = _conv(count, plain, f"down{level + 1}")(y)
            if not plain:
                y = self._norm(y, train, f"down{level + 1}_norm")
            y = nn.leaky_relu(y, SLOPE)
            skips.append(y)
        y = skips.pop()
        for level in reversed(range(1, self.depth)):
            y = _transposed(features[level - 1], False, f"up{level + 1}")(y)
            y = self._norm(y, train, f"up{level + 1}_norm")
            if level >= self.depth - DROPPED:
                y = nn.Dropout(self.dropout, deterministic=not train)(y)
            y = jnp.concatenate([nn.leaky_relu(y, SLOPE), skips.pop()], axis=-1)
        y = _transposed(1, not self.last_norm, "up1")(y)
        if self.last_norm:
            y = self._norm(y, train, "up1_norm")
        return nn.sigmoid(y)

    def _norm(self, y: jax.Array, train: bool, name: str) -> jax.Array:
        """Batch normalisation (Ioffe & Szegedy 2015) over all images and pixels."""
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=MOMENTUM,
            epsilon=EPSILON,
            scale_init=_about_one,
            axis_name=self.axis_name,
            use_fast_variance=False,  # E[x^2] - E[x]^2 loses digits in float32
            name=name,
        )(y)

    def _check(self, inputs: jax.Array) -> None:
        if self.depth < 2:
            raise ValueError(f"depth must be at least 2, got {self.depth}")
        if inputs.ndim != 4 or inputs.shape[-1] != self.bands:
            raise ValueError(f"the input must be [b, y, x, {self.bands}], got {inputs.shape}")
        if inputs.shape[1] % self.step or inputs.shape[2] % self.step:
            raise ValueError(
                f"sides must be multiples of {self.step} pixels for depth {self.depth}, "
                f"got {inputs.shape[1]} x {inputs.shape[2]}"
            )


def _about_one(key: jax.Array, *shape_and_type) -> jax.Array:
    return 1 + nn.initializers.normal(WIDTH)(key, *shape_and_type)


def _conv(features: int, use_bias: bool, name: str) -> nn.Conv:
    return nn.Conv(
        features,
        (4, 4),
        strides=(2, 2),
        padding=((1, 1), (1, 1)),
        use_bias=use_bias,
        kernel_init=nn.initializers.normal(WIDTH),
        name=name,
    )


def _transposed(features: int, use_bias: bool, name: str) -> Doubled:
    """Pixel i adds kernel[a] to 2 i - 1 + a along both axes: the transpose of `_conv`."""
    start = nn.initializers.normal(WIDTH)
    return Doubled(features, side=4, use_bias=use_bias, kernel_init=start, name=name)
