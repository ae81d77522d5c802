"""Losses: prediction and target ``[b, y, x, 1]`` in network units -> one value per image."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError
from xmm_jax.losses.normalization import TABLE, UNCHANGED, Affine
from xmm_jax.losses.pixel import deviance, l1, l2, poisson, psnr, spread
from xmm_jax.losses.ssim import ms_ssim, ssim

Loss = Callable[[jax.Array, jax.Array], jax.Array]

LOSSES: dict[str, Loss] = {
    "l1": l1,
    "l2": l2,
    "poisson": poisson,
    "psnr": psnr,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "deviance": deviance,
    "spread": spread,
}
# The others look at the image alone where the network also says how sure it is.
BOTH_OUTPUTS = ("spread",)


@dataclasses.dataclass(frozen=True)
class Combined:
    """Weighted sum of losses, ``offset + sum(slope * loss)``; made by `combine`.

    Attributes
    ----------
    slopes : dict of str to float
        Factor of each loss, negative for those that grow when things get better.
    offset : float
        Constant, so that the sum is about 0 for the network of the paper.
    """

    slopes: dict[str, float]
    offset: float

    def __call__(self, prediction: jax.Array, target: jax.Array) -> jax.Array:
        """Loss of each image, ``[b]``."""
        total = jnp.full(prediction.shape[0], self.offset)
        for name, slope in self.slopes.items():
            seen = prediction if name in BOTH_OUTPUTS else prediction[..., :1]
            total += slope * LOSSES[name](seen, target)
        return total


def combine(
    weights: Mapping[str, float],
    *,
    stretch: str,
    table: Mapping[str, Mapping[str, Affine]] = TABLE,
) -> Combined:
    """Sum of normalised losses.

    As in the paper, weights are divided by their sum and multiply the slopes
    only; offsets are added as they are. PSNR and MS-SSIM in the sqrt stretch give
    ``5.433 - 0.0609 PSNR - 1.508 MS_SSIM``. A loss without a row for any stretch, one of your own,
    is taken as it is.

    Parameters
    ----------
    weights : mapping of str to float
        Weight of each loss by its key in `LOSSES`.
    stretch : str
        Stretch of prediction and target, which decides the normalisation.
    table : mapping, optional
        Normalisation by stretch and loss; that of the paper by default.

    Returns
    -------
    Combined
        Callable on prediction and target.

    Raises
    ------
    InputError
        If a loss is unknown or is normalised for other stretches only, or weights are not positive.
    """
    for name, weight in weights.items():
        if name not in LOSSES:
            raise InputError(f"loss {name!r} is unknown; choose from {', '.join(LOSSES)}")
        if name not in table.get(stretch, {}) and any(name in rows for rows in table.values()):
            raise InputError(
                f"loss {name!r} has no normalisation for the stretch {stretch!r}; choose another"
            )
        if not (math.isfinite(weight) and weight > 0):
            raise InputError(f"the weight of loss {name!r} must be positive, got {weight}")
    if not weights:
        raise InputError(f"no loss is named; choose from {', '.join(LOSSES)}")
    total = sum(weights.values())
    maps = {name: table.get(stretch, {}).get(name, UNCHANGED) for name in weights}
    slopes = {name: maps[name].slope * w / total for name, w in weights.items()}
    return Combined(slopes, sum(affine.offset for affine in maps.values()))
