"""Transposed convolutions that double an image, computed as convolutions of the small one.

The same numbers as `flax.linen.ConvTranspose` with steps of 2, with the same weights. XLA takes the
slope of that one in its kernel slowly on CPUs: `benchmarks/bench_transposed.py`.

Of the two outputs beside each other that a small pixel becomes, the first sees other rows of the
kernel than the second (Shi et al. 2016, CVPR, arXiv:1609.05158): both are features of an ordinary
convolution, laid out afterwards.
"""

from collections.abc import Callable
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

ROWS = {
    2: np.array([[0], [1]]),
    # Pixel i adds row a to pixel 2 i - 1 + a: the neighbour before, itself, the one after; row 4
    # is a row of zeros.
    4: np.array([[3, 1, 4], [4, 2, 0]]),
}
"""By side of the kernel: the rows with which an even, an odd output sees the small pixels."""


def doubled(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution with steps of 2.

    Parameters
    ----------
    inputs : array
        ``[b, y, x, in]``.
    kernel : array
        ``[side, side, out, in]``, side 2 or 4: pixel i adds ``kernel[a]`` to pixel 2 i + a of the
        result, with a side of 4 to 2 i - 1 + a, along both axes.

    Returns
    -------
    array
        ``[b, 2 y, 2 x, out]``.
    """
    rows = ROWS[kernel.shape[0]]
    wide = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    taps = wide[rows[:, :, None, None], rows]  # [even or odd, tap] of y, the same of x, out, in
    taps = jnp.transpose(taps, (1, 3, 5, 0, 2, 4))
    near, _, channels, _, _, features = taps.shape
    y = jax.lax.conv_general_dilated(
        inputs,
        taps.reshape(near, near, channels, 4 * features),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return jnp.asarray(dm_pix.depth_to_space(y, 2))


class Doubled(nn.Module):
    """`doubled` with weights of its own, named and shaped as those of `nn.ConvTranspose`.

    Attributes
    ----------
    features : int
        Channels of the result.
    side : int
        Of the kernel, 2 or 4.
    use_bias : bool
        Whether a number is added to each feature.
    kernel_init : callable
        Draws the kernel, ``[side, side, out, in]``, as in TensorFlow.
    """

    features: int
    side: int
    use_bias: bool
    kernel_init: Callable[..., Any]

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Apply it to inputs: ``[b, y, x, in]`` -> ``[b, 2 y, 2 x, features]``."""
        shape = (self.side, self.side, self.features, inputs.shape[-1])
        y = doubled(inputs, self.param("kernel", self.kernel_init, shape))
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return y + bias[None, None, None, :]
