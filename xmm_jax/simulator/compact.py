"""Small parts of an extended source: satellite galaxies, knots, jets with lobes."""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.camera import Camera
from xmm_jax.instrument.psf import add_stamps
from xmm_jax.simulator.envelopes import beta_model
from xmm_jax.simulator.families import Recipe
from xmm_jax.simulator.frame import Frame, Patches, cut_patches

SATELLITES, KNOTS, JET_KNOTS = 8, 60, 10
SMALL, MEDIUM, LARGE = 8, 24, 48  # half width of patches [sky pixel]


def add_compact(
    key: jax.Array, recipe: Recipe, frame: Frame, camera: Camera, light: jax.Array, host: jax.Array
) -> jax.Array:
    """Add satellites, knots and jets to a source.

    Parameters
    ----------
    key : array
        Random key.
    recipe : Recipe
        The recipe.
    frame : Frame
        Frame of the source.
    camera : Camera
        The camera.
    light : array
        Brightness of the source [y, x].
    host : array
        Light of its middle [unit of `light`], in which the parts are measured.

    Returns
    -------
    array
        Brightness with them.
    """
    satellite_key, knot_key, jet_key = jax.random.split(key, 3)
    light = _add_satellites(satellite_key, recipe, frame, camera, light, host)
    light = _add_knots(knot_key, recipe, frame, camera, light, host)
    return _add_jet(jet_key, recipe, frame, camera, light, host)


def _add_satellites(key, recipe, frame, camera, light, host):
    """One to eight small beta models at 1 to 8 arcmin with 0.1 to 3 % of the light each."""
    uniform = jax.random.uniform(key, (4, SATELLITES))
    distance, angle = 60.0 * 8.0 ** uniform[0], 2.0 * np.pi * uniform[1]
    flux = (
        1e-3
        * 30.0 ** uniform[2]
        * (np.arange(SATELLITES) < jnp.floor(recipe.numbers["satellites"]))
    )
    core = (2.0 * 4.0 ** uniform[3])[:, None, None]
    patches = cut_patches(
        frame, camera, distance * jnp.cos(angle), distance * jnp.sin(angle), MEDIUM
    )
    shape = beta_model(_square(patches), core, jnp.float32(0.6)) * patches.taper
    return _add(light, patches, shape, flux * host * recipe.has["satellites"])


def _add_knots(key, recipe, frame, camera, light, host):
    """Unresolved sources that follow the light of a disc, N(>L) as L^-0.6 over three decades."""
    place_key, flux_key = jax.random.split(key)
    uniform = jax.random.uniform(place_key, (2, KNOTS), minval=1e-3)
    spread = jnp.where(recipe.has["disc"] > 0, recipe.numbers["disc_scale"], 60.0)
    spread = jnp.where(recipe.has["shell"] > 0, 0.4 * recipe.numbers["shell_radius"], spread)
    distance, angle = -spread * jnp.log(uniform[0]), 2.0 * np.pi * uniform[1]
    flux = (1e-3**0.6 + (1.0 - 1e-3**0.6) * jax.random.uniform(flux_key, (KNOTS,))) ** (-1.0 / 0.6)
    flux = flux * (np.arange(KNOTS) < jnp.floor(recipe.numbers["knots"]))
    flux = flux / jnp.sum(flux) * recipe.numbers["knot_share"] * host * recipe.has["knots"]
    patches = cut_patches(
        frame, camera, distance * jnp.cos(angle), distance * jnp.sin(angle), SMALL
    )
    return _add(light, patches, jnp.exp(-0.5 * _square(patches) / 2.0**2) * patches.taper, flux)


def _add_jet(key, recipe, frame, camera, light, host):
    """Three to ten knots of 1 to 4 arcsec along a bent line, and a lobe at either end."""
    numbers = recipe.numbers
    uniform = jax.random.uniform(key, (3, JET_KNOTS))
    number = jnp.floor(3.0 + 8.0 * uniform[2, 0])
    step = (np.arange(JET_KNOTS) + uniform[0]) / number
    bend = 0.5 * (uniform[2, 1] - 0.5) * numbers["jet_length"]
    along, across = step * numbers["jet_length"], bend * jnp.square(step)
    width = 4.0 ** uniform[1]
    flux = jnp.where(np.arange(JET_KNOTS) < number, 0.2 + uniform[2], 0.0)
    share = host * numbers["jet_share"] * recipe.has["jet"]
    patches = cut_patches(frame, camera, along, across, SMALL)
    shape = jnp.exp(-0.5 * _square(patches) / jnp.square(width)[:, None, None]) * patches.taper
    light = _add(light, patches, shape, flux / jnp.sum(flux) * share)

    end = jnp.stack([numbers["jet_length"], -numbers["jet_length"]])
    patches = cut_patches(frame, camera, end, jnp.stack([bend, -bend]), LARGE)
    radius = jnp.minimum(0.3 * numbers["jet_length"], 50.0 / frame.zoom)
    shape = jnp.exp(-jnp.square(_square(patches) / jnp.square(radius))) * patches.taper
    return _add(light, patches, shape, share * jnp.stack([uniform[2, 3], uniform[2, 4]]))


def _square(patches: Patches) -> jax.Array:
    return jnp.square(patches.x) + jnp.square(patches.y)


def _add(light: jax.Array, patches: Patches, shape: jax.Array, flux: jax.Array) -> jax.Array:
    shape = shape * (flux / jnp.sum(shape, axis=(1, 2)))[:, None, None]
    return add_stamps(light, shape, patches.column, patches.row)
