"""Discriminator of SRGAN and ESRGAN: tells images of the sky from those of a network.

A network like VGG (Ledig et al. 2017, CVPR; arXiv:1609.04802, figure 4): pairs of convolutions with
64, 128, 256 and 512 features, the second of each pair with steps of 2, batch normalisation behind
all but the first, leaky ReLU of slope 0.2 behind each, then two dense layers. ESRGAN (Wang et al.
2018, ECCV workshops; arXiv:1809.00219) takes it over. Here it is as in the code of ESRGAN
(Discriminator_VGG_128 of BasicSR), which differs from the paper of SRGAN: the convolutions with
steps have 4x4 pixels, not 3x3, there are five pairs, the last again with 512 features, the first
dense layer has 100 features, not 1024, and there is no sigmoid at the end, as the relativistic
losses (`xmm_jax.losses.adversarial`) take differences before it.

A convolution has a bias where no batch normalisation takes it away again: 14,499,401 parameters for
128 x 128 pixels of three colours, 14,498,249 for one channel.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

SLOPE = 0.2
"""Of leaky ReLU for negative values (SRGAN, section 2.1)."""

WIDEST = 8
"""Most features of a layer in units of `filters` (SRGAN, section 2.1)."""

HIDDEN = 100
"""Features of the first dense layer (code of ESRGAN)."""

MOMENTUM = 0.9
"""Of the running means and variances; PyTorch calls it 0.1, its default."""

EPSILON = 1e-5
"""Added to variances: the default of PyTorch."""


class VGGDiscriminator(nn.Module):
    """The network: ``[b, y, x, channels]`` in network units -> logits ``[b]``.

    The larger the logit, the more an image looks real. Needs the collections ``params`` and
    ``batch_stats``. In training images are normalised by the means and variances of their batch,
    and ``batch_stats`` must be ``mutable``; otherwise by the running ones, so that an answer
    depends on its own image alone. As in the code of ESRGAN, give it real images and those of the
    generator one after the other, not in one batch, so that each kind has its own statistics.

    Attributes
    ----------
    sides : tuple of int
        Height and width of the images [pixel], multiples of `step`. The dense layers know them:
        weights for one size fit no other.
    filters : int
        Features of the first two convolutions.
    halvings : int
        Pairs of convolutions, at least 1; 5 take 128 pixels to 4.
    channels : int
        Of the images.
    axis_name : str, optional
        Axis of `jax.pmap` or `jax.shard_map` over whose devices the statistics of a batch are
        taken. None: of each device alone or, under `jax.jit`, of the whole sharded batch.
    """

    sides: tuple[int, int] = (128, 128)
    filters: int = 64
    halvings: int = 5
    channels: int = 1
    axis_name: str | None = None

    @property
    def step(self) -> int:
        """What sides are multiples of: 2**halvings [pixel]."""
        return 2**self.halvings

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Apply the network.

        Parameters
        ----------
        images : array
            ``[b, y, x, channels]``, network units, y and x as in `sides`.
        train : bool
            Normalise by the batch and update the running statistics.

        Returns
        -------
        array
            Logits, ``[b]``.

        Raises
        ------
        ValueError
            If images do not have the sides and channels of the network, sides are no multiples of
            `step`, or `halvings` is less than 1.
        """
        self._check(images)
        y = images
        for level in range(self.halvings):
            features = self.filters * min(2**level, WIDEST)
            for side, stride in ((3, 1), (4, 2)):
                name, first = f"conv{level}_{stride - 1}", level == 0 and stride == 1
                y = _conv(features, side, stride, first, y.shape[-1], name)(y)
                if not first:
                    y = self._norm(y, train, f"{name}_norm")
                y = nn.leaky_relu(y, SLOPE)
        y = y.reshape(len(y), -1)
        y = nn.leaky_relu(_dense(HIDDEN, y.shape[-1], "dense1")(y), SLOPE)
        return _dense(1, HIDDEN, "dense2")(y)[:, 0]

    def _norm(self, y: jax.Array, train: bool, name: str) -> jax.Array:
        """Batch normalisation (Ioffe & Szegedy 2015) over all images and pixels."""
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=MOMENTUM,
            epsilon=EPSILON,
            axis_name=self.axis_name,
            use_fast_variance=False,  # E[x^2] - E[x]^2 loses digits in float32
            name=name,
        )(y)

    def _check(self, images: jax.Array) -> None:
        if self.halvings < 1:
            raise ValueError(f"halvings must be at least 1, got {self.halvings}")
        if any(side < 1 or side % self.step for side in self.sides):
            raise ValueError(
                f"sides must be multiples of {self.step} pixels for {self.halvings} halvings, "
                f"got {self.sides[0]} x {self.sides[1]}"
            )
        if images.ndim != 4 or images.shape[1:] != (*self.sides, self.channels):
            raise ValueError(
                f"images must be [b, {self.sides[0]}, {self.sides[1]}, {self.channels}], "
                f"got {images.shape}"
            )


def _start(fan_in: int) -> Any:
    """First weights and biases, uniform within 1/sqrt(inputs): PyTorch's default, as in ESRGAN."""
    bound = 1 / math.sqrt(fan_in)

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def _conv(features: int, side: int, stride: int, use_bias: bool, inputs: int, name: str) -> nn.Conv:
    start = _start(side**2 * inputs)
    return nn.Conv(
        features,
        (side, side),
        strides=(stride, stride),
        padding=((1, 1), (1, 1)),
        use_bias=use_bias,
        kernel_init=start,
        bias_init=start,
        name=name,
    )


def _dense(features: int, inputs: int, name: str) -> nn.Dense:
    start = _start(inputs)
    return nn.Dense(features, kernel_init=start, bias_init=start, name=name)
