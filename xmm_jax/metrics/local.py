"""What measures of image quality have in common: neighbourhoods, gradients, means over live pixels.

Images are ``[b, y, x]`` here. With ``live`` given, a place counts if its pixel is live (after the
measure's own down-sampling: if a live pixel is in its block); windows see zeros where dead.
"""

import jax
import jax.numpy as jnp

PREWITT = (1 / 3, 1 / 3, 1 / 3)
SCHARR = (3 / 16, 10 / 16, 3 / 16)
GREY_LEVELS = 255.0  # constants of the papers are for values from 0 to 255


def unpack(
    prediction: jax.Array, target: jax.Array, live: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Drop the channel axis; everything is live where nothing is said.

    Parameters
    ----------
    prediction, target : array
        ``[b, y, x, 1]``.
    live : array of bool or None
        Same shape.

    Returns
    -------
    tuple of array
        Prediction, target and live (0 or 1, float32), ``[b, y, x]``.
    """
    live = jnp.ones_like(target) if live is None else live
    return prediction[..., 0], target[..., 0], live[..., 0].astype(jnp.float32)


def pool(image: jax.Array, factor: int, *, centred: bool = False) -> jax.Array:
    """Mean of blocks of pixels.

    Parameters
    ----------
    image : array
        ``[b, y, x]``.
    factor : int
        Side of a block [pixel].
    centred : bool
        Centre blocks on every factor-th pixel, with zeros outside the image (a filter followed by
        thinning out); otherwise start at the first pixel and drop what does not fill a block.

    Returns
    -------
    array
        ``[b, y // factor, x // factor]``, rounded up if centred.
    """
    if factor == 1:
        return image
    batch, *sides = image.shape
    height, width = (-(-side // factor) if centred else side // factor for side in sides)
    low = (factor - 1) // 2 if centred else 0
    margins = [
        (low, count * factor - side - low, 0)
        for side, count in zip(sides, (height, width), strict=True)
    ]
    image = jax.lax.pad(image, jnp.zeros((), image.dtype), [(0, 0, 0), *margins])
    return image.reshape(batch, height, factor, width, factor).mean(axis=(2, 4))


def coarseness(image: jax.Array) -> int:
    """Side of the blocks that make the smaller side of an image about 256 pixels.

    Images are seen from the distance for which the constants were tuned (Zhang et al. 2011, IEEE
    TIP 20, 2378).
    """
    return max(1, round(min(image.shape[1:]) / 256))


def gradient(image: jax.Array, across: tuple[float, float, float]) -> jax.Array:
    """Size of the gradient by central differences, zeros outside the image.

    Parameters
    ----------
    image : array
        ``[b, y, x]``.
    across : tuple of float
        Weights of three neighbours across the direction of the difference: `PREWITT` or `SCHARR`.

    Returns
    -------
    array
        Same shape.
    """
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1)))
    height, width = image.shape[1:]
    zero = jnp.zeros((), image.dtype)
    rows = sum((w * padded[:, i : i + height] for i, w in enumerate(across)), start=zero)
    columns = sum((w * padded[:, :, i : i + width] for i, w in enumerate(across)), start=zero)
    return jnp.hypot(rows[:, :, 2:] - rows[:, :, :-2], columns[:, 2:] - columns[:, :-2])


def similarity(a: jax.Array, b: jax.Array, constant: float) -> jax.Array:
    """Likeness of maps a, b >= 0, c constant: (2 a b + c) / (a^2 + b^2 + c), 1 where equal."""
    return (2 * a * b + constant) / (a * a + b * b + constant)


def mean(image: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted mean of each image, ``[b]``; 0 where there is no weight."""
    total = jnp.sum(weight, axis=(1, 2))
    return jnp.sum(image * weight, axis=(1, 2)) / jnp.where(total > 0, total, 1.0)
