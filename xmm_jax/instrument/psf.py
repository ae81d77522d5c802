"""The image of a point: elliptical King profiles that change with off-axis angle and azimuth.

Kernels live in pixels and sum to 1 in their box. The array is the same on every grid: the target of
super-resolution has half the pixel and, by construction, half the PSF. Each kernel contains the box
of the detector pixel (events are spread over it) and the box of the image pixel.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.calibration import load
from xmm_jax.instrument.camera import Camera


def king(dx, dy, radial_x, radial_y, core, slope, elongation):
    """Elliptical King profile, not normalised, on numpy or JAX arrays.

    Parameters
    ----------
    dx, dy : array
        Offset from the source, any unit of length.
    radial_x, radial_y : array
        Unit vector from the optical axis to the source [1].
    core, slope, elongation : array
        Core radius in the unit of `dx`, exponent, ratio of tangential to radial width.

    Returns
    -------
    array
        (1 + (elongation R^2 + T^2 / elongation) / core^2) ** -slope with R, T the radial and the
        tangential offset: the profile of ELLBETA in the SAS (CAL-SRN-0264) without its spokes.
    """
    radial = dx * radial_x + dy * radial_y
    tangential = dy * radial_x - dx * radial_y
    distance = elongation * radial * radial + tangential * tangential / elongation
    return (1.0 + distance / (core * core)) ** -slope


def nodes(camera: Camera, core_scale: float = 1.0) -> dict[str, np.ndarray]:
    """King parameters at the nodes in off-axis angle; kernels are blended linearly between them.

    Parameters
    ----------
    camera : Camera
        The camera.
    core_scale : float
        Factor on the core radius: 1 is the PSF of the published simulations, which smooth over the
        detector pixel twice; 0.9 undoes that.

    Returns
    -------
    dict of ndarray
        ``off_axis`` [arcmin], ``core`` [pixel], ``slope``, ``elongation``, each float32 [node].
    """
    numbers = load(camera.name)["psf"]
    core = np.array(numbers["core_arcsec"]) * (core_scale / camera.pixel_arcsec)
    return {
        "off_axis": (np.array(numbers["off_axis_arcsec"]) / 60.0).astype(np.float32),
        "core": core.astype(np.float32),
        "slope": np.array(numbers["slope"], np.float32),
        "elongation": np.array(numbers["elongation"], np.float32),
    }


def pixel_quadrature(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and weights that integrate over the detector pixel and the image pixel, one axis.

    Parameters
    ----------
    camera : Camera
        The camera.

    Returns
    -------
    offset, weight : ndarray
        Three offsets [pixel] and weights: the Gauss rule of the trapezoid that two boxes make,
        from its second and fourth moments.
    """
    width = np.array([1.0, camera.physical_pixel_arcsec / camera.pixel_arcsec])
    second = np.sum(width**2) / 12.0
    fourth = np.sum(width**4) / 80.0 + 6.0 * np.prod(width**2 / 12.0)
    step, wing = np.sqrt(fourth / second), second**2 / (2.0 * fourth)
    return np.array([-step, 0.0, step]), np.array([wing, 1.0 - 2.0 * wing, wing])


def node_kernels(
    camera: Camera, azimuth: np.ndarray, *, half_width: int, core_scale: float = 1.0
) -> np.ndarray:
    """Kernels of all nodes and azimuths (numpy, float64, for tables made at set-up).

    Parameters
    ----------
    camera : Camera
        The camera.
    azimuth : ndarray
        Azimuths of the source about the optical axis [rad].
    half_width : int
        A kernel has 2 half_width + 1 pixels a side.
    core_scale : float
        Factor on the core radius.

    Returns
    -------
    ndarray
        [node, azimuth, y, x], each of sum 1.
    """
    table = nodes(camera, core_scale)
    offset, weight = pixel_quadrature(camera)
    index = np.arange(-half_width, half_width + 1.0)
    radial_x, radial_y = np.cos(azimuth)[:, None, None], np.sin(azimuth)[:, None, None]
    kernels = []
    for core, slope, elongation in zip(
        table["core"], table["slope"], table["elongation"], strict=True
    ):
        kernel = np.zeros((len(azimuth), len(index), len(index)))
        for shift_y, weight_y in zip(offset, weight, strict=True):
            for shift_x, weight_x in zip(offset, weight, strict=True):
                dx, dy = (index + shift_x)[None, None, :], (index + shift_y)[None, :, None]
                value = king(dx, dy, radial_x, radial_y, core, slope, elongation)
                kernel += weight_y * weight_x * value
        kernels.append(kernel / kernel.sum(axis=(1, 2), keepdims=True))
    return np.stack(kernels)


def stamps(
    camera: Camera,
    x: jax.Array,
    y: jax.Array,
    upscale: int,
    *,
    half_width: int,
    core_scale: float = 1.0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Exact images of point sources at their sub-pixel positions.

    Parameters
    ----------
    camera : Camera
        The camera.
    x, y : array
        Positions [native pixel] as [source].
    upscale : int
        Grid of the images: pixels per native pixel and side.
    half_width : int
        A stamp has 2 half_width + 1 pixels a side.
    core_scale : float
        Factor on the core radius.

    Returns
    -------
    stamp, column, row : array
        [source, y, x] of sum 1, and the pixel of the fine grid under its centre, int32 [source].
    """
    fine_x, fine_y = (x + 0.5) * upscale - 0.5, (y + 0.5) * upscale - 0.5
    column, row = jnp.round(fine_x).astype(jnp.int32), jnp.round(fine_y).astype(jnp.int32)
    index = np.arange(-half_width, half_width + 1, dtype=np.float32)
    dx = index[None, :] - (fine_x - column)[:, None]
    dy = index[None, :] - (fine_y - row)[:, None]

    axis_x, axis_y = x - camera.axis[0], y - camera.axis[1]
    square = axis_x**2 + axis_y**2
    on_axis = square == 0.0
    distance = jnp.sqrt(jnp.where(on_axis, 1.0, square))  # not 0, where the slope is infinite
    radial_x, radial_y = jnp.where(on_axis, 1.0, axis_x / distance), axis_y / distance
    distance = jnp.where(on_axis, 0.0, distance)

    table = nodes(camera, core_scale)
    place = jnp.interp(
        distance * (camera.pixel_arcsec / 60.0),
        table["off_axis"],
        np.arange(len(table["off_axis"]), dtype=np.float32),
    )
    below = jnp.minimum(place.astype(jnp.int32), len(table["off_axis"]) - 2)
    blend = (place - below)[:, None, None]

    def at_node(node: jax.Array) -> jax.Array:
        core, slope, elongation = (
            jnp.asarray(table[name])[node][:, None, None]
            for name in ("core", "slope", "elongation")
        )
        offset, weight = (values.astype(np.float32) for values in pixel_quadrature(camera))
        stamp = jnp.zeros(())
        for shift_y, weight_y in zip(offset, weight, strict=True):
            for shift_x, weight_x in zip(offset, weight, strict=True):
                value = king(
                    dx[:, None, :] + shift_x,
                    dy[:, :, None] + shift_y,
                    radial_x[:, None, None],
                    radial_y[:, None, None],
                    core,
                    slope,
                    elongation,
                )
                stamp = stamp + weight_y * weight_x * value
        return stamp / jnp.sum(stamp, axis=(1, 2), keepdims=True)

    return (1.0 - blend) * at_node(below) + blend * at_node(below + 1), column, row


def add_stamps(image: jax.Array, stamp: jax.Array, column: jax.Array, row: jax.Array) -> jax.Array:
    """Add stamps to an image; what falls outside is lost.

    Parameters
    ----------
    image : array
        [y, x].
    stamp : array
        [source, y, x], odd sides, in the unit of `image`.
    column, row : array
        Pixel of the image under the centre of each stamp, int [source].

    Returns
    -------
    array
        [y, x].
    """
    half_width = stamp.shape[-1] // 2
    index = np.arange(-half_width, half_width + 1)
    rows = row[:, None, None] + index[None, :, None]
    columns = column[:, None, None] + index[None, None, :]
    # A negative index would count from the far side; an index past the end is dropped.
    rows = jnp.where(rows < 0, image.shape[0], rows)
    columns = jnp.where(columns < 0, image.shape[1], columns)
    return image.at[rows, columns].add(stamp, mode="drop")
