"""Sky maps of the user as extended sources: one of a stack, turned, mirrored and moved."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from xmm_jax.instrument.camera import Camera
from xmm_jax.simulator.frame import Frame, canvas_in_source

MAP_ARCSEC = 2880.0  # side of a map at zoom 1, as in the published simulations


def draw_map(key: jax.Array, maps: jax.Array, frame: Frame, camera: Camera) -> jax.Array:
    """Pick a map and lay it on the canvas of the sky.

    Parameters
    ----------
    key : array
        Random key.
    maps : array
        Brightness of any unit, not negative, [map, y, x], square, float16 or float32.
    frame : Frame
        Centre, turn, mirror and zoom; a ratio of the axes of 1 keeps the shape.
    camera : Camera
        The camera.

    Returns
    -------
    array
        Brightness on the canvas [y, x] by bilinear interpolation; 0 outside the map. A map covers
        0.8 deg times the zoom (Sweere et al. 2022, MNRAS 517, 4054).
    """
    image = jnp.asarray(maps)[jax.random.randint(key, (), 0, maps.shape[0])]
    return lay_map(image, frame, camera)


def lay_map(image: jax.Array, frame: Frame, camera: Camera) -> jax.Array:
    """One map on the canvas of the sky; see `draw_map`.

    Parameters
    ----------
    image : array
        Brightness [y, x], square.
    frame : Frame
        Centre, turn, mirror and zoom.
    camera : Camera
        The camera.

    Returns
    -------
    array
        Brightness on the canvas [y, x].
    """
    size = image.shape[0]
    x, y = canvas_in_source(frame, camera)
    middle, scale = np.float32(0.5 * (size - 1)), np.float32(size / MAP_ARCSEC)
    place = [y * scale + middle, x * scale + middle]
    return map_coordinates(image.astype(jnp.float32), place, order=1, mode="constant")
