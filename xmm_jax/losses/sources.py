"""Sources in images in mJy/beam, all within a compiled step: finding them, fluxes in apertures."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError

RADIUS = 4.0
"""Of an aperture [pixel]: half the width of the beam, FWHM 7.9" on pixels of 1" (slides)."""

SEPARATION = 4
"""Pixels to either side of a source found that are no brighter; as far as an aperture reaches."""

MOST = 64
"""Most sources found in one image."""

THRESHOLD = 4.0
"""Of a source found [mJy/beam]: four times the noise of 1 mJy/beam at 450 um (slides)."""


class Catalogue(NamedTuple):
    """Sources of each image, filled up to a common number.

    Attributes
    ----------
    x, y : array
        Position, ``[b, n]`` [pixel], 0-based, pixel centres at integers.
    weight : array
        ``[b, n]``: 1 for a source, 0 for filling, whose position is not read.
    """

    x: jax.Array
    y: jax.Array
    weight: jax.Array


def apertures(image: jax.Array, catalogue: Catalogue, *, radius_pixel: float = RADIUS) -> jax.Array:
    """Mean values in circles about sources, which are fluxes up to one factor for all.

    A pixel at distance d of the source weighs ``clip(radius + 1/2 - d, 0, 1)``, near the part of
    its area in the circle, so that a value is continuous in the position. Weighted values are
    summed and divided by the sum of the weights. Beyond the edge the image is 0: a source there
    loses what is not seen. The flux in mJy is a value times the area of the aperture, pi
    (radius^2 + 1/12), over that of the beam.

    Parameters
    ----------
    image : array
        ``[b, y, x, 1]`` [mJy/beam].
    catalogue : Catalogue
        Sources, ``[b, n]`` [pixel]; no slope is taken in their positions.
    radius_pixel : float
        Radius [pixel], known when compiled.

    Returns
    -------
    array
        ``[b, n]`` [mJy/beam], 0 for filling.

    Raises
    ------
    InputError
        If the radius is less than half a pixel, which may meet no pixel.
    """
    if not (math.isfinite(radius_pixel) and radius_pixel >= 0.5):
        raise InputError(
            f"the radius of an aperture must be at least 0.5 pixels, got {radius_pixel}"
        )
    used = catalogue.weight > 0
    # Filling may hold anything, not-a-number included, which must not reach a sum or a slope.
    x, y = (
        jax.lax.stop_gradient(jnp.where(used, place, 0)) for place in (catalogue.x, catalogue.y)
    )
    reach = math.ceil(radius_pixel)
    side = 2 * reach + 1
    height, width = image.shape[1:3]
    # So much room that a source outside finds zeros, however far away.
    room = ((0, 0), (side, side), (side, side))
    padded = jnp.pad(image[..., 0], room)

    def one(plane: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        near_x, near_y = jnp.floor(x + 0.5), jnp.floor(y + 0.5)
        corner = (_start(near_y, reach, height), _start(near_x, reach, width))
        weights = _disc(x - near_x, y - near_y, radius_pixel, reach)
        window = jax.lax.dynamic_slice(plane, corner, (side, side))
        return jnp.sum(weights * window) / jnp.sum(weights)

    values = jax.vmap(jax.vmap(one, in_axes=(None, 0, 0)))(padded, x, y)
    return jnp.where(used, values, 0)


def _start(near: jax.Array, reach: int, length: int) -> jax.Array:
    """First pixel of a window about pixel `near`, counted in the padded image."""
    inside = jnp.clip(near, -reach - 1, length + reach)  # at the ends nothing but zeros
    return inside.astype(jnp.int32) + reach + 1


def _disc(x: jax.Array, y: jax.Array, radius: float, reach: int) -> jax.Array:
    """Weights about a source at (x, y) from the middle of the window, both within 1/2 [pixel]."""
    places = jnp.arange(-reach, reach + 1, dtype=jnp.float32)
    distance = jnp.hypot((places - x)[None, :], (places - y)[:, None])
    return jnp.clip(radius + 0.5 - distance, 0, 1)


def find_sources(
    image: jax.Array,
    *,
    threshold: float | jax.Array = THRESHOLD,
    most: int = MOST,
    radius: int = SEPARATION,
) -> Catalogue:
    """Brightest local maxima; made for generated images, which have no noise, and for compiling.

    A source is a pixel above the threshold and as bright as any of the ``2 radius + 1`` square
    about it; of equally bright ones in a square only the last one (a saturated source is one
    source). Positions are those of pixels. No slope passes.

    Parameters
    ----------
    image : array
        ``[b, y, x, 1]`` [mJy/beam].
    threshold : float
        Least value, exclusive [mJy/beam].
    most : int
        Sources kept of each image, the brightest; n of the catalogue.
    radius : int
        Half side of the square, without its middle [pixel].

    Returns
    -------
    Catalogue
        ``[b, most]``, brightest first, filled up with weight 0 at (0, 0).

    Raises
    ------
    InputError
        If `most` or `radius` is less than 1 or there are fewer pixels than `most`.
    """
    count, height, width = image.shape[:3]
    if not 1 <= most <= height * width or radius < 1:
        raise InputError(
            f"most must be 1 to {height * width}, the pixels of an image, and radius at least 1; "
            f"got {most} and {radius}"
        )
    plane = jax.lax.stop_gradient(image[..., 0])
    peak = (plane == _greatest(plane, radius, least=-jnp.inf)) & (plane > threshold)
    order = jnp.arange(1, height * width + 1, dtype=jnp.int32).reshape(1, height, width)
    order = jnp.where(peak, order, 0)
    peak &= order == _greatest(order, radius, least=jnp.iinfo(jnp.int32).min)
    values = jnp.where(peak, plane, -jnp.inf).reshape(count, -1)
    values, places = jax.lax.top_k(values, most)
    used = jnp.isfinite(values)
    places = jnp.where(used, places, 0)
    x, y = (place.astype(jnp.float32) for place in (places % width, places // width))
    return Catalogue(x, y, used.astype(jnp.float32))


def _greatest(plane: jax.Array, radius: int, *, least: float) -> jax.Array:
    """Greatest value of the square about each pixel: ``[b, y, x]`` -> the same shape."""
    side = 2 * radius + 1  # `least` is plain and the least of its type: XLA's own maximum
    return jax.lax.reduce_window(plane, least, jax.lax.max, (1, side, side), (1, 1, 1), "SAME")
