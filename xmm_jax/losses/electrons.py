"""Losses for images in electrons/s, where nothing is normalised (Vojtekova et al. 2021, 3.3.1)."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError
from xmm_jax.losses.divergence import kl
from xmm_jax.losses.perceptual import Extractor, perceptual
from xmm_jax.losses.pixel import l1, l2

Loss = Callable[[jax.Array, jax.Array], jax.Array]

ELECTRON_LOSSES: dict[str, Callable[[Extractor | None], Loss]] = {
    "l1": lambda extractor: l1,
    "l2": lambda extractor: l2,
    "kl": lambda extractor: kl,
    "perceptual": lambda extractor: perceptual(_given(extractor)),
}
"""Losses by name, made from a feature extractor, which only the last one needs."""


@dataclasses.dataclass(frozen=True)
class CombinedElectrons:
    """Sum of ``weight * loss``; made by `combine_electrons`.

    Attributes
    ----------
    weights : dict of str to float
        Factor of each loss.
    losses : dict of str to callable
        The losses, same names.
    """

    weights: dict[str, float]
    losses: dict[str, Loss]

    def __call__(self, prediction: jax.Array, target: jax.Array) -> jax.Array:
        """Loss of each image, prediction and target ``[b, y, x, 1]`` [electron/s] -> ``[b]``."""
        total = jnp.zeros(prediction.shape[0])
        for name, weight in self.weights.items():
            total += weight * self.losses[name](prediction, target)
        return total


def combine_electrons(
    weights: Mapping[str, float], *, extractor: Extractor | None = None
) -> CombinedElectrons:
    """Weighted sum of losses as they are, ``sum(weight * loss)``.

    The paper adds losses and gives no weights: 1 each.

    Parameters
    ----------
    weights : mapping of str to float
        Weight of each loss by its key in `ELECTRON_LOSSES`, positive.
    extractor : callable, optional
        For ``perceptual``: of `xmm_jax.losses.perceptual`.

    Returns
    -------
    CombinedElectrons
        Callable on prediction and target ``[b, y, x, 1]`` [electron/s], giving ``[b]``.

    Raises
    ------
    InputError
        If no loss is named or one is unknown, a weight is not positive, or ``perceptual`` has no
        extractor.
    """
    names = ", ".join(ELECTRON_LOSSES)
    if not weights:
        raise InputError(f"no loss is named; choose from {names}")
    for name, weight in weights.items():
        if name not in ELECTRON_LOSSES:
            raise InputError(f"loss {name!r} is unknown; choose from {names}")
        if not (math.isfinite(weight) and weight > 0):
            raise InputError(f"the weight of loss {name!r} must be positive, got {weight}")
    return CombinedElectrons(
        dict(weights), {name: ELECTRON_LOSSES[name](extractor) for name in weights}
    )


def _given(extractor: Extractor | None) -> Extractor:
    if extractor is None:
        raise InputError("loss 'perceptual' needs an extractor: random_extractor or vgg_extractor")
    return extractor
