"""Edges and holes: spiral cold fronts, shocks, cavities with rims."""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.camera import Camera
from xmm_jax.instrument.psf import add_stamps
from xmm_jax.simulator.families import Recipe
from xmm_jax.simulator.frame import Frame, cut_patches

CAVITY_PAIRS = 3
CAVITY_HALF_WIDTH = 48  # [sky pixel]


def cold_front(recipe: Recipe, x: jax.Array, y: jax.Array, azimuth: jax.Array) -> jax.Array:
    """Sloshing: brightness falls along each turn of a spiral and jumps at its outer side.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    x, y : array
        Coordinates in the frame of the source [arcsec].
    azimuth : array
        Their azimuth [rad].

    Returns
    -------
    array
        Factor between 1 and the jump, fading beyond three times the radius of the front.
    """
    numbers = recipe.numbers
    radius = jnp.sqrt(x * x + y * y) + 1.0
    tangent = jnp.tan(jnp.deg2rad(numbers["front_pitch"]))
    winding = jnp.log(radius / numbers["front_radius"]) / (tangent * 2.0 * np.pi)
    phase = (winding - azimuth / (2.0 * np.pi)) % 1.0
    # One period is 2 pi tan(pitch) in ln r; phase 1 is the outer, sharp side.
    soft = numbers["front_soft"] / (radius * tangent * 2.0 * np.pi)
    edge = jnp.minimum((1.0 - phase) / jnp.maximum(soft, 1e-3), 1.0)
    fade = jnp.exp(-jnp.square(radius / (3.0 * numbers["front_radius"])))
    return 1.0 + (numbers["front_jump"] - 1.0) * phase * edge * fade


def shock(key: jax.Array, recipe: Recipe, x: jax.Array, y: jax.Array) -> jax.Array:
    """Shock: gas compressed inside a spherical cap.

    Parameters
    ----------
    key : array
        Random key.
    recipe : Recipe
        The recipe.
    x, y : array
        Coordinates in the frame of the source [arcsec].

    Returns
    -------
    array
        Factor: outside 1, inside 1 + (C^2 - 1) of the share of the line of sight in the sphere,
        with the Rankine-Hugoniot jump C = 4 M^2 / (M^2 + 3). Only the part of the flow that is
        normal to the front shocks, so M falls from its value at the nose (along x), by half of
        M - 1 at `shock_angle` and to 1 at twice that: the front fades and has no flanks. The cap
        is centred up to half its radius behind the centre of the source.
    """
    numbers = recipe.numbers
    radius = numbers["shock_radius"]
    behind = 0.5 * radius * jax.random.uniform(key)
    x = x + behind
    distance = jnp.sqrt(x * x + y * y)
    depth = jnp.sqrt(jnp.maximum(1.0 - jnp.square(distance / radius), 0.0))
    # Gas outside the sphere is as deep as the distance from its centre, to order of magnitude.
    share = depth / (depth + 0.5)
    turn = jnp.abs(jnp.arctan2(y, x)) / jnp.deg2rad(numbers["shock_angle"])
    mach = 1.0 + (numbers["mach"] - 1.0) * jnp.square(
        jnp.cos(0.25 * np.pi * jnp.minimum(turn, 2.0))
    )
    compression = 4.0 * jnp.square(mach) / (jnp.square(mach) + 3.0)
    apex = 1.0 - jnp.exp(-jnp.square(2.0 * distance / radius))
    return 1.0 + (jnp.square(compression) - 1.0) * share * apex


def cavities(key: jax.Array, recipe: Recipe, frame: Frame, camera: Camera, size: int) -> jax.Array:
    """Bubbles blown by a central source: pairs of dim ellipses with bright rims.

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
    size : int
        Side of the canvas [sky pixel].

    Returns
    -------
    array
        Factor [y, x].
    """
    numbers = recipe.numbers
    uniform = jax.random.uniform(key, (5, CAVITY_PAIRS, 2))
    axis = (
        2.0 * np.pi * uniform[0, 0, 0]
        + 0.8 * (uniform[1] - 0.5)
        + np.array([[0.0, np.pi]], np.float32)
    )
    distance = numbers["cavity_distance"] * (1.0 + np.arange(CAVITY_PAIRS, dtype=np.float32))
    distance = distance[:, None] * (0.8 + 0.4 * uniform[2])
    radius = jnp.minimum(numbers["cavity_size"] * distance, 50.0 / frame.zoom)
    kept = np.arange(CAVITY_PAIRS) < jnp.floor(numbers["cavity_pairs"])
    kept = (jnp.ones((1, 2)) * kept[:, None]).ravel() * recipe.has["cavities"]

    axis, distance, radius = axis.ravel(), distance.ravel(), radius.ravel()
    patches = cut_patches(
        frame, camera, distance * jnp.cos(axis), distance * jnp.sin(axis), CAVITY_HALF_WIDTH
    )
    cos, sin = jnp.cos(axis)[:, None, None], jnp.sin(axis)[:, None, None]
    along, across = cos * patches.x + sin * patches.y, cos * patches.y - sin * patches.x
    flat = (0.7 + 0.6 * uniform[3]).ravel()[:, None, None]
    reach = jnp.sqrt(jnp.square(along) * flat + jnp.square(across) / flat) / radius[:, None, None]
    hole = numbers["cavity_depth"] * jax.nn.sigmoid((1.0 - reach) / 0.05)
    rim = numbers["cavity_rim"] * jnp.exp(-0.5 * jnp.square((reach - 1.1) / 0.1))
    change = jnp.log1p(rim - hole) * patches.taper * kept[:, None, None]
    return jnp.exp(add_stamps(jnp.zeros((size, size)), change, patches.column, patches.row))
