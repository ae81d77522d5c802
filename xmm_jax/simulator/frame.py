"""Where an extended source lies: its centre, turn, flattening and size on the canvas of the sky.

Shapes are written in the frame of the source: x and y [arcsec] about its centre, before it is
flattened, mirrored, enlarged and turned.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import Camera, canvas_axes, from_native, to_native

SKY_UPSCALE = 2  # the sky is drawn on pixels of 2 arcsec whatever is observed


class Frame(NamedTuple):
    """Frame of one source.

    Attributes
    ----------
    centre : array
        (x, y) [native pixel].
    turn : array
        Angle from the x axis of the image to that of the source [rad].
    ratio, mirror, zoom : array
        Ratio of the axes, 1 or -1, enlargement.
    """

    centre: jax.Array
    turn: jax.Array
    ratio: jax.Array
    mirror: jax.Array
    zoom: jax.Array


def draw_frame(key: jax.Array, camera: Camera, ratio: jax.Array, zoom: jax.Array) -> Frame:
    """Draw where a source lies.

    Parameters
    ----------
    key : array
        Random key.
    camera : Camera
        The camera.
    ratio, zoom : array
        Ratio of the axes and enlargement.

    Returns
    -------
    Frame
        Centre normal about the optical axis with 40 arcsec per axis, a tenth anywhere in the field
        of view; any turn.
    """
    normal_key, uniform_key = jax.random.split(key)
    near = jax.random.normal(normal_key, (2,)) * (40.0 / camera.pixel_arcsec)
    radius, angle, anywhere, turn, mirror = jax.random.uniform(uniform_key, (5,))
    radius, angle = 0.9 * camera.fov_radius * jnp.sqrt(radius), 2.0 * np.pi * angle
    far = jnp.array(camera.fov_centre) + radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    centre = jnp.where(anywhere < 0.1, far, jnp.array(camera.axis) + near)
    return Frame(centre, 2.0 * np.pi * turn, ratio, jnp.where(mirror < 0.5, -1.0, 1.0), zoom)


def to_source(frame: Frame, camera: Camera, x: Table, y: Table) -> tuple[jax.Array, jax.Array]:
    """Coordinates in the frame of the source.

    Parameters
    ----------
    frame : Frame
        The frame.
    camera : Camera
        The camera.
    x, y : array
        Positions [native pixel], of shapes that broadcast.

    Returns
    -------
    x, y : array
        Coordinates [arcsec].
    """
    scale = camera.pixel_arcsec / frame.zoom
    dx, dy = (x - frame.centre[0]) * scale, (y - frame.centre[1]) * scale
    cos, sin, root = jnp.cos(frame.turn), jnp.sin(frame.turn), jnp.sqrt(frame.ratio)
    return (cos * dx + sin * dy) * (root * frame.mirror), (cos * dy - sin * dx) / root


def from_source(frame: Frame, camera: Camera, x: jax.Array, y: jax.Array):
    """Positions of coordinates in the frame of the source: the inverse of `to_source`.

    Parameters
    ----------
    frame : Frame
        The frame.
    camera : Camera
        The camera.
    x, y : array
        Coordinates [arcsec].

    Returns
    -------
    x, y : array
        Positions [native pixel].
    """
    scale, root = frame.zoom / camera.pixel_arcsec, jnp.sqrt(frame.ratio)
    along, across = x * scale * frame.mirror / root, y * scale * root
    cos, sin = jnp.cos(frame.turn), jnp.sin(frame.turn)
    dx, dy = cos * along - sin * across, sin * along + cos * across
    return dx + frame.centre[0], dy + frame.centre[1]


def canvas_in_source(frame: Frame, camera: Camera):
    """Coordinates of the pixels of the canvas in the frame of the source.

    Parameters
    ----------
    frame : Frame
        The frame.
    camera : Camera
        The camera.

    Returns
    -------
    x, y : array
        [y, x] at `SKY_UPSCALE` [arcsec].
    """
    x, y = (axis.astype(np.float32) for axis in canvas_axes(camera, SKY_UPSCALE))
    return to_source(frame, camera, x[None, :], y[:, None])


class Patches(NamedTuple):
    """Small squares of the canvas, one per compact object.

    Attributes
    ----------
    column, row : array
        Pixel of the canvas at their centres, int [object].
    x, y : array
        Coordinates of their pixels about the object in the frame of the source [arcsec],
        [object, y, x].
    taper : array
        1 in the middle, falling smoothly to 0 at the edge, [object, y, x].
    """

    column: jax.Array
    row: jax.Array
    x: jax.Array
    y: jax.Array
    taper: jax.Array


def cut_patches(frame: Frame, camera: Camera, x: jax.Array, y: jax.Array, half_width: int):
    """Patches of the canvas about objects of the source.

    Parameters
    ----------
    frame : Frame
        The frame.
    camera : Camera
        The camera.
    x, y : array
        Places of the objects in the frame of the source [arcsec], [object].
    half_width : int
        A patch has 2 half_width + 1 sky pixels a side.

    Returns
    -------
    Patches
        The patches, for `xmm_jax.instrument.psf.add_stamps`.
    """
    native_x, native_y = from_source(frame, camera, x, y)
    low_x, low_y = camera.canvas_low
    column = jnp.round(from_native(native_x + low_x, SKY_UPSCALE)).astype(jnp.int32)
    row = jnp.round(from_native(native_y + low_y, SKY_UPSCALE)).astype(jnp.int32)
    step = np.arange(-half_width, half_width + 1)
    columns = to_native(column[:, None, None] + step[None, None, :], SKY_UPSCALE) - low_x
    rows = to_native(row[:, None, None] + step[None, :, None], SKY_UPSCALE) - low_y
    source_x, source_y = to_source(frame, camera, columns, rows)
    reach = jnp.hypot(columns - native_x[:, None, None], rows - native_y[:, None, None])
    square = jnp.square(reach * (SKY_UPSCALE / half_width))
    taper = jnp.square(jnp.maximum(1.0 - square, 0.0))
    return Patches(column, row, source_x - x[:, None, None], source_y - y[:, None, None], taper)
