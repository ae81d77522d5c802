"""Losses that compare fluxes of images in mJy/beam (Lauritsen et al., Herschel super-resolution).

L1, differences of mean and of median flux, and fluxes in apertures about sources: for simulated
images those of the target's catalogue, for real ones those found in the prediction as well, each
averaged over its own number of sources, so that false sources cost. The slides name the terms and
the aperture one's formula; weights, radius and edge of the aperture and the finder are ours.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError
from xmm_jax.losses.pixel import l1
from xmm_jax.losses.sources import (
    MOST,
    RADIUS,
    SEPARATION,
    THRESHOLD,
    Catalogue,
    apertures,
    find_sources,
)


class Sources(NamedTuple):
    """What apertures are laid about.

    Attributes
    ----------
    target : Catalogue
        Of the target.
    found : Catalogue
        Of the prediction.
    both : array
        ``[b]``: 1 for a real image, where `found` counts too, 0 for a simulated one.
    """

    target: Catalogue
    found: Catalogue
    both: jax.Array


def mean_flux(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Absolute difference of mean values: ``[b, y, x, 1]`` [mJy/beam] both -> ``[b]``."""
    return jnp.abs(jnp.mean(prediction - target, axis=(1, 2, 3)))


def median_flux(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Absolute difference of medians: ``[b, y, x, 1]`` [mJy/beam] both -> ``[b]``.

    Its slope is that of the one or two pixels in the middle.
    """
    medians = [
        jnp.median(image.reshape(image.shape[0], -1), axis=1) for image in (prediction, target)
    ]
    return jnp.abs(medians[0] - medians[1])


def aperture_flux(
    prediction: jax.Array,
    target: jax.Array,
    catalogue: Catalogue,
    *,
    radius_pixel: float = RADIUS,
) -> jax.Array:
    """Mean absolute difference of fluxes in apertures, ``sum(|f_target - f_generated|) / N``.

    The formula of the slides for simulated images.

    Parameters
    ----------
    prediction, target : array
        ``[b, y, x, 1]`` [mJy/beam].
    catalogue : Catalogue
        Sources of each image.
    radius_pixel : float
        See `apertures`.

    Returns
    -------
    array
        ``[b]`` [mJy/beam]; 0 for an image without sources.

    Raises
    ------
    InputError
        If the radius is less than half a pixel.
    """
    # Apertures are linear: that of the difference is the difference of both.
    apart = apertures(prediction - target, catalogue, radius_pixel=radius_pixel)
    total = jnp.sum(catalogue.weight * jnp.abs(apart), axis=1)
    return total / jnp.maximum(jnp.sum(catalogue.weight, axis=1), 1)


def aperture_flux_both(
    prediction: jax.Array,
    target: jax.Array,
    target_catalogue: Catalogue,
    found_catalogue: Catalogue,
    *,
    radius_pixel: float = RADIUS,
) -> jax.Array:
    """Sum of `aperture_flux` about the target's sources and about those of the prediction.

    The formula of the slides for real images: a false source of the prediction is in the second
    mean, and so costs its flux.

    Parameters
    ----------
    prediction, target : array
        ``[b, y, x, 1]`` [mJy/beam].
    target_catalogue, found_catalogue : Catalogue
        Sources of the target and of the prediction, see `find_sources`.
    radius_pixel : float
        See `apertures`.

    Returns
    -------
    array
        ``[b]`` [mJy/beam].

    Raises
    ------
    InputError
        If the radius is less than half a pixel.
    """
    sources = Sources(target_catalogue, found_catalogue, jnp.ones(prediction.shape[0]))
    return _aperture(prediction, target, sources, radius_pixel)


def _aperture(
    prediction: jax.Array, target: jax.Array, sources: Sources, radius_pixel: float
) -> jax.Array:
    """`aperture_flux` or, where `both` is 1, `aperture_flux_both`."""
    first, second = (
        aperture_flux(prediction, target, catalogue, radius_pixel=radius_pixel)
        for catalogue in (sources.target, sources.found)
    )
    return first + sources.both * second


FluxLoss = Callable[[jax.Array, jax.Array, Sources, float], jax.Array]

FLUX_LOSSES: dict[str, FluxLoss] = {
    "l1": lambda prediction, target, sources, radius: l1(prediction, target),
    "mean_flux": lambda prediction, target, sources, radius: mean_flux(prediction, target),
    "median_flux": lambda prediction, target, sources, radius: median_flux(prediction, target),
    "aperture": _aperture,
}
"""Losses of the slides by name: of prediction, target, sources and radius [pixel]; ``[b]``."""


@dataclasses.dataclass(frozen=True, eq=False)  # so that it can be given to jax.jit
class CombinedFlux:
    """Sum of ``weight * loss``; made by `combine_flux`.

    Attributes
    ----------
    weights : dict of str to float
        Factor of each loss.
    radius_pixel : float
        Of the apertures [pixel].
    most, separation : int
        For `find_sources`.
    """

    weights: dict[str, float]
    radius_pixel: float
    most: int
    separation: int

    def __call__(
        self,
        prediction: jax.Array,
        target: jax.Array,
        target_catalogue: Catalogue,
        *,
        both: jax.Array,
        threshold: float | jax.Array = THRESHOLD,
    ) -> jax.Array:
        """Loss of each image.

        Parameters
        ----------
        prediction, target : array
            ``[b, y, x, 1]`` [mJy/beam].
        target_catalogue : Catalogue
            Sources of the target.
        both : array
            ``[b]``, bool or 0 and 1: whether sources found in the prediction count too (real
            images).
        threshold : float
            Of those [mJy/beam].

        Returns
        -------
        array
            ``[b]`` [mJy/beam].
        """
        found = target_catalogue  # not read unless apertures are wanted
        if "aperture" in self.weights:
            found = find_sources(
                prediction, threshold=threshold, most=self.most, radius=self.separation
            )
        sources = Sources(target_catalogue, found, jnp.asarray(both, prediction.dtype))
        total = jnp.zeros(prediction.shape[0])
        for name, weight in self.weights.items():
            total += weight * FLUX_LOSSES[name](prediction, target, sources, self.radius_pixel)
        return total


def combine_flux(
    weights: Mapping[str, float],
    *,
    radius_pixel: float = RADIUS,
    most: int = MOST,
    separation: int = SEPARATION,
) -> CombinedFlux:
    """Weighted sum of losses as they are, ``sum(weight * loss)``, all in mJy/beam.

    The slides combine four and give no weights: 1 each.

    Parameters
    ----------
    weights : mapping of str to float
        Weight of each loss by its key in `FLUX_LOSSES`, positive.
    radius_pixel : float
        Of the apertures [pixel].
    most, separation : int
        Sources found in a prediction, and the `radius` of `find_sources` [pixel].

    Returns
    -------
    CombinedFlux
        Callable on prediction, target and the target's catalogue, giving ``[b]``.

    Raises
    ------
    InputError
        If no loss is named or one is unknown, or a weight is not positive.
    """
    names = ", ".join(FLUX_LOSSES)
    if not weights:
        raise InputError(f"no loss is named; choose from {names}")
    for name, weight in weights.items():
        if name not in FLUX_LOSSES:
            raise InputError(f"loss {name!r} is unknown; choose from {names}")
        if not (math.isfinite(weight) and weight > 0):
            raise InputError(f"the weight of loss {name!r} must be positive, got {weight}")
    return CombinedFlux(dict(weights), radius_pixel, most, separation)
