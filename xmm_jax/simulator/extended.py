"""Extended light in optical images: Sersic profiles of galaxies, and clouds of a nebula."""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.simulator.textures import draw_fields, lognormal


def sersic_b(index: jax.Array) -> jax.Array:
    """Constant b of a Sersic profile, whose effective radius holds half of the light.

    Parameters
    ----------
    index : array
        Sersic index n, 0.5 to 10.

    Returns
    -------
    array
        The expansion of Ciotti & Bertin 1999 (A&A 352, 447, equation 18) to the third order in
        1 / n: 0.2 % at n = 0.5, 1e-4 from n = 1.
    """
    n = 1.0 / index
    series = 4.0 / 405.0 + n * (46.0 / 25515.0 + n * (131.0 / 1148175.0))
    return 2.0 * index - 1.0 / 3.0 + n * series


def sersic(
    dx: jax.Array,
    dy: jax.Array,
    radius: jax.Array,
    index: jax.Array,
    ratio: jax.Array,
    turn: jax.Array,
) -> jax.Array:
    """Elliptical Sersic profile of total flux 1.

    Parameters
    ----------
    dx, dy : array
        Offsets from the centre [pixel], of one shape.
    radius : array
        Effective radius along the major axis [pixel], a scalar like the next three; 1 or more.
    index : array
        Sersic index n.
    ratio : array
        Minor over major axis.
    turn : array
        Angle from the x axis to the major axis [rad].

    Returns
    -------
    array
        Flux per pixel, sampled at its centre. Light of all the plane is 1 (Ciotti & Bertin 1999,
        equation 4). Squared radii grow by 0.05 pixel2, which softens the cusp: wherever the centre
        lies in its pixel, the pixels of a grid sum to 1 within 5 % for n up to 4 and radii of 5
        pixels or more, within 15 % at 2 pixels.
    """
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    along, across = cos * dx + sin * dy, (cos * dy - sin * dx) / ratio
    square = (jnp.square(along) + jnp.square(across) + 0.05 / ratio) / jnp.square(radius)
    b = sersic_b(index)
    # log of 2 pi n b^(-2 n) Gamma(2 n) r^2 q, the integral of exp(-b (r / r_e)^(1 / n))
    total = jnp.log(2.0 * np.pi * index) - 2.0 * index * jnp.log(b)
    total += jax.scipy.special.gammaln(2.0 * index) + jnp.log(jnp.square(radius) * ratio)
    return jnp.exp(-b * jnp.power(square, 0.5 / index) - total)


def sersic_stamp(
    part_x: jax.Array,
    part_y: jax.Array,
    radius: jax.Array,
    index: jax.Array,
    ratio: jax.Array,
    turn: jax.Array,
    *,
    half_width: int,
) -> jax.Array:
    """Sersic profile on a stamp, fading to 0 at the inscribed circle.

    Parameters
    ----------
    part_x, part_y : array
        Centre from the middle of the middle pixel [pixel], scalar; `jax.vmap` for many.
    radius, index, ratio, turn : array
        See `sersic`.
    half_width : int
        The stamp has 2 half_width + 1 pixels a side.

    Returns
    -------
    array
        Flux per pixel [y, x], of sum 1: light outside of the stamp, 11 % for n = 4 at four
        effective radii, is spread over what is inside.
    """
    axis = np.arange(-half_width, half_width + 1, dtype=np.float32)
    side = len(axis)
    dx = jnp.broadcast_to((axis - part_x)[None, :], (side, side))
    dy = jnp.broadcast_to((axis - part_y)[:, None], (side, side))
    fade = 1.0 - (np.square(axis)[:, None] + np.square(axis)[None, :]) / (half_width + 0.5) ** 2
    light = sersic(dx, dy, radius, index, ratio, turn) * np.square(np.maximum(fade, 0.0))
    return light / jnp.sum(light)


def clouds(
    key: jax.Array, size: int, slope: jax.Array, outer: jax.Array, strength: jax.Array
) -> jax.Array:
    """Smooth nebulosity: the exponential of a Gaussian random field.

    Parameters
    ----------
    key : array
        Random key.
    size : int
        Side [pixel].
    slope : array
        Power falls as wave number to the minus this; 2.5 to 4 look like clouds.
    outer : array
        Scale beyond which the power is flat [pixel].
    strength : array
        Standard deviation of the logarithm.

    Returns
    -------
    array
        Brightness [size, size], positive, mean about 1, periodic, smoothed by a Gaussian of about
        1 pixel, which stands for the optics.
    """
    # In units of two pixels, in which `draw_fields` smooths by half a unit.
    field, _ = draw_fields(key, size, 0.5, slope, 0.5 * outer)
    return lognormal(field, strength)
