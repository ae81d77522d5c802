"""Quality of images in the convention of the paper's tables 4 and 5, one value per image.

Rates are divided by the clip rate of the target and clamped to [0, 1]; the tables take no stretch,
count dead pixels as zero on both sides and include the padding (Sweere et al. 2022 and the
published code).
"""

import jax
import jax.numpy as jnp

from xmm_jax.losses import LOSSES
from xmm_jax.models.stretch import normalise

METRICS = {"L1": "l1", "L2": "l2", "PSNR": "psnr", "Poisson": "poisson", "SSIM": "ssim"}
# More than 192 pixels on each side are needed for the coarsest scale, as in the published code.
MULTI_SCALE = {"MS_SSIM": "ms_ssim"}
MULTI_SCALE_SIDE = 192


def compare(
    rate: jax.Array, truth: jax.Array, *, clip_rate: float, stretch: str = "linear"
) -> dict[str, jax.Array]:
    """Figures of images against the truth.

    Parameters
    ----------
    rate, truth : array
        Rates [count/s/pixel] on the same grid, ``[b, y, x, 1]``, 0 where dead.
    clip_rate : float
        Rate at value 1 [count/s/pixel]: the clip rate of the target.
    stretch : str
        Stretch under which to compare; the paper's tables take linear.

    Returns
    -------
    dict of str to array
        ``L1 L2 PSNR Poisson SSIM MS_SSIM``, each ``[b]``; MS_SSIM only for images of more than 192
        pixels on each side.
    """
    prediction, target = (normalise(x, clip_rate, stretch) for x in (rate, truth))
    large = min(target.shape[1:3]) > MULTI_SCALE_SIDE
    named = METRICS | MULTI_SCALE if large else METRICS
    return {name: LOSSES[loss](prediction, target) for name, loss in named.items()}


def upsample_input(rate: jax.Array, upscale: int) -> jax.Array:
    """Bring the input to the grid of the target without adding anything.

    Parameters
    ----------
    rate : array
        Rate [count/s/pixel], ``[b, y, x, 1]``.
    upscale : int
        Target pixels per pixel along each axis.

    Returns
    -------
    array
        Rate [count/s/pixel of the target], ``[b, s*y, s*x, 1]``: each pixel spread evenly.
    """
    return jnp.repeat(jnp.repeat(rate, upscale, axis=1), upscale, axis=2) / upscale**2
