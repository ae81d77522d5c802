"""Visual information fidelity in pixels.

Sheikh & Bovik 2006, IEEE TIP 15, 430, in the pixel-domain form its authors published: four scales,
windows of 17, 9, 5 and 3 pixels, noise of the visual system of variance 2.
"""

import jax
import jax.numpy as jnp

from xmm_jax.losses.ssim import blur, check_size, window
from xmm_jax.metrics import local

TAPS = (17, 9, 5, 3)  # of the window of each scale, finest first; sigma is a fifth
LEAST_SIDE = 41  # that leaves a window at the coarsest scale [pixel]
VISUAL_NOISE = 2.0  # variance, of values from 0 to 255
EPSILON = 1e-8


@jax.jit
def vifp(prediction: jax.Array, target: jax.Array, live: jax.Array | None = None) -> jax.Array:
    """Information about the target that is left in the prediction, of that in the target.

    Parameters
    ----------
    prediction, target : array
        Values in [0, 1], ``[b, y, x, 1]``; at least 41 pixels on each side. The two do not play
        the same part.
    live : array of bool, optional
        Where to compare, same shape.

    Returns
    -------
    array
        ``[b]``; 1 for the target itself, above 1 where contrast is enhanced.

    Raises
    ------
    InputError
        If the image is smaller than that.
    """
    check_size(prediction, LEAST_SIDE, "VIFp")
    a, b, live = local.unpack(prediction, target, live)
    images = local.GREY_LEVELS * jnp.stack([a, b])
    seen = known = jnp.zeros(len(a))
    for scale, taps in enumerate(TAPS):
        weights, half = window(taps, taps / 5), taps // 2
        if scale > 0:
            images = blur(images, weights)[..., ::2, ::2]
            live = live[:, half:-half:2, half:-half:2]
        gain, power, noise = _channel(images, weights)
        inside = live[:, half:-half, half:-half]
        seen += jnp.sum(inside * jnp.log1p(gain**2 * power / (noise + VISUAL_NOISE)), axis=(1, 2))
        known += jnp.sum(inside * jnp.log1p(power / VISUAL_NOISE), axis=(1, 2))
    return (seen + EPSILON) / (known + EPSILON)


def _channel(
    images: jax.Array, weights: tuple[float, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gain from target to prediction, power of the target, noise added, in each window.

    ``prediction = gain * target + noise`` in least squares; a negative gain counts as noise.
    """
    a, b = images
    moments = blur(jnp.stack([a, b, a * a, b * b, a * b]), weights)
    mean_a, mean_b, square_a, square_b, product = moments
    power_a = jnp.maximum(square_a - mean_a**2, 0.0)
    power_b = jnp.maximum(square_b - mean_b**2, 0.0)
    covariance = product - mean_a * mean_b
    flat = (power_a < EPSILON) | (power_b < EPSILON)
    gain = jnp.where(flat, 0.0, jnp.maximum(covariance, 0.0) / (power_b + EPSILON))
    noise = jnp.maximum(power_a - gain * covariance, EPSILON)
    return gain, jnp.where(power_b < EPSILON, 0.0, power_b), noise
