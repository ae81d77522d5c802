"""Fields as WFC3/UVIS sees them, with the truth: crowded clusters, sparse stars, galaxies, nebulae.

The kinds imitate the choice of images of Vojtekova et al. 2021, who name "objects of various
scales". How many of what, how bright and how often are guesses, made so that a field looks like an
archive image and stars do not saturate; none of them is a measured number of the sky.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.psf import add_stamps
from xmm_jax.simulator.extended import clouds, sersic, sersic_stamp
from xmm_jax.simulator.hstpsf import FINE, HALF_WIDTH, image_of
from xmm_jax.simulator.wfc3 import expose

KINDS = ("cluster", "sparse", "galaxies", "nebula")
CHANCES = (0.35, 0.2, 0.25, 0.2)
# All guesses; a row per kind, log-uniform between two ends unless said otherwise.
STARS = ((600.0, 6000.0), (20.0, 200.0), (5.0, 60.0), (30.0, 600.0))  # on 640 x 640 pixels
GALAXIES = ((0.0, 2.0), (0.0, 6.0), (8.0, 30.0), (0.0, 3.0))  # likewise, uniform
MOST_STARS, MOST_GALAXIES = 6000, 30
STAR_SLOPE = 1.7  # dN/dF as F to the minus this
STAR_FLUX = (0.2, 400.0)  # [electron/s]; 400 puts 31000 electrons in a pixel in 500 s
GALAXY_SLOPE, GALAXY_FLUX = 1.6, (2.0, 300.0)
GALAXY_RADIUS = (3.0, 14.0)  # effective radius [pixel]
LARGE_FLUX, LARGE_RADIUS = (300.0, 10000.0), (25.0, 120.0)  # one large galaxy in a third of them
NEBULA_RATE = (0.01, 0.4)  # mean [electron/s/pixel]
EXPOSURE_S = (500.0, 5000.0)
SUB_EXPOSURE_S = 500.0  # typical length of one sub-exposure, of which there are two or more
SKY_RATE = (0.02, 0.08)  # [electron/s/pixel]
GAP = 31.0  # width of the gap between the two detectors [pixel] (Vojtekova et al. 2021, section 2)
DEAD_BORDER, DEAD_GAP = 0.2, 0.1  # shares of the fields


class Stars(NamedTuple):
    """Stars of a field, padded.

    Attributes
    ----------
    x, y : array
        Positions [pixel] as [star], pixel centres at integers.
    flux : array
        Expected rates [electron/s]; 0 for padding and for stars outside of the field, whose wings
        are in it nevertheless.
    """

    x: jax.Array
    y: jax.Array
    flux: jax.Array


class Field(NamedTuple):
    """A field and one observation of it.

    Attributes
    ----------
    truth : array
        What is on the sky behind the optics, without noise and sky [electron/s/pixel], [y, x];
        dead pixels have one too.
    rate : array
        Observed long exposure, sky subtracted [electron/s/pixel], [y, x]; 0 in dead pixels.
    valid : array
        True where there is a measurement, bool [y, x].
    stars : Stars
        Its stars.
    exposure_s : array
        Exposure [s], scalar.
    band : array
        Index in `hstpsf.FILTERS`, int32 scalar.
    sky_rate : array
        Sky that was subtracted [electron/s/pixel], scalar.
    kind : array
        Index in `KINDS`, int32 scalar.
    """

    truth: jax.Array
    rate: jax.Array
    valid: jax.Array
    stars: Stars
    exposure_s: jax.Array
    band: jax.Array
    sky_rate: jax.Array
    kind: jax.Array


@partial(jax.jit, static_argnames=("side",))
def draw_field(key: jax.Array, *, side: int = 512, band: jax.Array | int = 0) -> Field:
    """Draw a field: its kind, what is in it, and a long exposure.

    Parameters
    ----------
    key : array
        Random key.
    side : int
        Side [pixel of 0.04 arcsec].
    band : array or int
        Filter, index in `hstpsf.FILTERS`. It changes the image of a point, not fluxes.

    Returns
    -------
    Field
        A pure function of the arguments. ``jax.vmap`` over keys draws several.
    """
    kind_key, star_key, galaxy_key, cloud_key, time_key, noise_key, dead_key = jax.random.split(
        key, 7
    )
    canvas = side + 2 * HALF_WIDTH  # so that light from outside comes in and none wraps around
    kind = jax.random.choice(kind_key, len(KINDS), p=np.array(CHANCES, np.float32))
    stars = _draw_stars(star_key, kind, canvas)
    light = _draw_galaxies(galaxy_key, kind, canvas)
    image = image_of(*stars, light, band) + _draw_clouds(cloud_key, kind, canvas)
    # The transforms in float32 leave about 1e-6 of the brightest star either side of 0.
    truth = jnp.maximum(image[HALF_WIDTH:-HALF_WIDTH, HALF_WIDTH:-HALF_WIDTH], 0.0)

    uniform = jax.random.uniform(time_key, (2,))
    exposure_s, sky_rate = _between(EXPOSURE_S, uniform[0]), _between(SKY_RATE, uniform[1])
    exposures = jnp.maximum(jnp.round(exposure_s / SUB_EXPOSURE_S), 2.0)
    valid = _draw_valid(dead_key, side)
    rate = expose(noise_key, truth, sky_rate, exposure_s, exposures=exposures)
    return Field(
        truth=truth,
        rate=jnp.where(valid, rate, 0.0),
        valid=valid,
        stars=_inside(stars, side),
        exposure_s=exposure_s,
        band=jnp.asarray(band, jnp.int32),
        sky_rate=sky_rate,
        kind=kind.astype(jnp.int32),
    )


def most_stars(side: int) -> int:
    """Length of the padded list of stars.

    Parameters
    ----------
    side : int
        Side of the field [pixel].

    Returns
    -------
    int
        At the highest density; 6000 for a side of 512.
    """
    return round(MOST_STARS * _share(side + 2 * HALF_WIDTH))


def _share(canvas: int) -> float:
    """Area of a canvas in units of that for which numbers are given."""
    return canvas**2 / 640.0**2


def _between(ends: tuple | jax.Array, uniform: jax.Array) -> jax.Array:
    """Log-uniform between two ends."""
    return ends[0] * (ends[1] / ends[0]) ** uniform


def _power_law(ends: tuple[float, float], slope: float, uniform: jax.Array) -> jax.Array:
    """Draws of dN/dF as F to the minus slope between two ends."""
    low, high = (end ** (1.0 - slope) for end in ends)
    return (low + (high - low) * uniform) ** (1.0 / (1.0 - slope))


def _draw_stars(key: jax.Array, kind: jax.Array, canvas: int) -> Stars:
    """Stars on the canvas; those of a cluster crowd about its centre.

    A share of 0.3 to 1 of a cluster follows a Plummer profile, N(<R) as R^2 / (R^2 + a^2), with a
    core a of 50 to 300 pixels and a centre anywhere on the canvas; the rest lies evenly.
    """
    total = round(MOST_STARS * _share(canvas))
    place_key, flux_key, number_key = jax.random.split(key, 3)
    uniform = jax.random.uniform(place_key, (5, total))
    count_at, core_at, share, *centre = jax.random.uniform(number_key, (5,))
    number = _between(jnp.asarray(STARS)[kind], count_at) * _share(canvas)

    even = uniform[:2] * canvas - 0.5
    part = jnp.minimum(uniform[2], 0.9999)
    distance = _between((50.0, 300.0), core_at) * jnp.sqrt(part / (1.0 - part))
    angle = 2.0 * np.pi * uniform[3]
    crowded = jnp.stack([jnp.cos(angle), jnp.sin(angle)]) * distance[None, :]
    crowded = crowded + canvas * jnp.stack(centre)[:, None]
    in_cluster = (kind == KINDS.index("cluster")) & (uniform[4] < 0.3 + 0.7 * share)
    x, y = jnp.where(in_cluster[None, :], crowded, even)

    flux = _power_law(STAR_FLUX, STAR_SLOPE, jax.random.uniform(flux_key, (total,)))
    return Stars(x, y, jnp.where(jnp.arange(total) < number, flux, 0.0))


def _inside(stars: Stars, side: int) -> Stars:
    """Stars in the coordinates of the field, dark outside of it."""
    x, y = stars.x - HALF_WIDTH, stars.y - HALF_WIDTH
    inside = (jnp.minimum(x, y) >= -0.5) & (jnp.maximum(x, y) < side - 0.5)
    return Stars(x, y, jnp.where(inside, stars.flux, 0.0))


def _draw_galaxies(key: jax.Array, kind: jax.Array, canvas: int) -> jax.Array:
    """Light of galaxies before the optics, on the grid of `hstpsf.image_of`.

    Sersic profiles with n of 0.5 to 4 and ratios of the axes of 0.25 to 1.
    """
    small_key, large_key = jax.random.split(key)
    most = max(round(MOST_GALAXIES * _share(canvas)), 1)
    uniform = jax.random.uniform(small_key, (7, most))
    place = FINE * canvas * uniform[:2]
    corner = jnp.floor(place)
    part = place - corner - 0.5
    radius = FINE * _between(GALAXY_RADIUS, uniform[2])
    index, ratio, turn = _between((0.5, 4.0), uniform[3]), 0.25 + 0.75 * uniform[4], uniform[5]
    stamp = jax.vmap(partial(sersic_stamp, half_width=FINE * HALF_WIDTH))(
        part[0], part[1], radius, index, ratio, np.pi * turn
    )
    flux = _power_law(GALAXY_FLUX, GALAXY_SLOPE, uniform[6])
    few, many = jnp.asarray(GALAXIES)[kind]
    count_key, large_key = jax.random.split(large_key)
    number = (few + (many - few) * jax.random.uniform(count_key)) * _share(canvas)
    flux = jnp.where(jnp.arange(most) < number, flux, 0.0)
    column, row = corner.astype(jnp.int32)
    dark = jnp.zeros((FINE * canvas, FINE * canvas), jnp.float32)
    light = add_stamps(dark, stamp * flux[:, None, None], column, row)
    return light + _draw_large(large_key, kind, FINE * canvas)


def _draw_large(key: jax.Array, kind: jax.Array, size: int) -> jax.Array:
    """One galaxy larger than a stamp in a third of the fields of galaxies."""
    uniform = jax.random.uniform(key, (8,))
    flux = _between(LARGE_FLUX, uniform[0])
    radius = FINE * _between(LARGE_RADIUS, uniform[1])
    index, ratio = _between((0.7, 4.0), uniform[2]), 0.3 + 0.7 * uniform[3]
    axis = np.arange(size, dtype=np.float32)
    dx = jnp.broadcast_to((axis - size * uniform[4])[None, :], (size, size))
    dy = jnp.broadcast_to((axis - size * uniform[5])[:, None], (size, size))
    there = (kind == KINDS.index("galaxies")) & (uniform[6] < 1.0 / 3.0)
    return sersic(dx, dy, radius, index, ratio, np.pi * uniform[7]) * jnp.where(there, flux, 0.0)


def _draw_clouds(key: jax.Array, kind: jax.Array, canvas: int) -> jax.Array:
    """Nebulosity [electron/s/pixel] in fields of nebulae, 0 in others."""
    field_key, number_key = jax.random.split(key)
    uniform = jax.random.uniform(number_key, (4,))
    slope, outer = 2.8 + 1.0 * uniform[0], _between((100.0, 1000.0), uniform[1])
    light = clouds(field_key, canvas, slope, outer, 0.4 + 0.8 * uniform[2])
    mean = _between(NEBULA_RATE, uniform[3])
    return light * jnp.where(kind == KINDS.index("nebula"), mean, 0.0)


def _draw_valid(key: jax.Array, side: int) -> jax.Array:
    """Where the field was observed: some have a straight border, some the gap across them."""
    uniform = jax.random.uniform(key, (5,))
    angle = 2.0 * np.pi * uniform[0]
    axis = np.arange(side, dtype=np.float32) - side / 2.0
    along = jnp.cos(angle) * axis[None, :] + jnp.sin(angle) * axis[:, None]
    border = (along > (0.2 + 0.4 * uniform[2]) * side) & (uniform[1] < DEAD_BORDER)
    across = jnp.cos(angle) * axis[:, None] - jnp.sin(angle) * axis[None, :]
    gap = (jnp.abs(across - 0.7 * side * (uniform[4] - 0.5)) < GAP / 2.0) & (uniform[3] < DEAD_GAP)
    return ~(border | gap)
