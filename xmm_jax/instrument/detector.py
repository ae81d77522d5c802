"""What the detector does to the light that reaches it: gaps, dead and weak pixels, readout smear.

Masks are numpy (made at set-up). They are native maps repeated at finer grids, because the gaps and
columns are those of the detector whatever the pixel of the image.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.calibration import Table, load
from xmm_jax.instrument.camera import Camera, frame_axes

DEAD_BELOW = 0.3  # response of a pixel that real exposure maps show as dead


def mask(camera: Camera, upscale: int = 1) -> np.ndarray:
    """Pixels that see the sky: inside the field of view, not in a gap, not dead.

    Parameters
    ----------
    camera : Camera
        The camera.
    upscale : int
        Pixels per native pixel and side.

    Returns
    -------
    ndarray
        bool [y, x]. Circle, rows, gaps and dead columns reproduce the published mask of
        Sweere et al. 2022 to an intersection over union of 0.998.
    """
    x, y = frame_axes(camera, 1)
    distance = np.hypot(x[None, :] - camera.fov_centre[0], y[:, None] - camera.fov_centre[1])
    live = distance <= camera.fov_radius
    first, last = camera.live_rows
    live[:first], live[last + 1 :] = False, False
    lower, upper = camera.half_rows
    live[lower + 1 : upper] = False
    numbers = load(camera.name)
    for start, stop in numbers["dead_columns"]["lower"]:
        live[: lower + 1, start : stop + 1] = False
    for start, stop in numbers["dead_columns"]["upper"]:
        live[upper:, start : stop + 1] = False
    for left, right, bottom, top in numbers["dead_pixels"]["boxes"]:
        live[bottom : top + 1, left : right + 1] = False
    return _repeat(live, upscale)


def pixel_response(camera: Camera, upscale: int = 1) -> np.ndarray:
    """Response of the columns and rows beside gaps and dead columns relative to their neighbours.

    Parameters
    ----------
    camera : Camera
        The camera.
    upscale : int
        Pixels per native pixel and side.

    Returns
    -------
    ndarray
        float32 [y, x] in (0, 1], 1 for a sound pixel; columns measured on EPIC-pn images of Abell
        426 and M87, rows on a SAS exposure map.
    """
    lower, upper = camera.half_rows
    share = np.ones(camera.shape, np.float32)
    numbers = load(camera.name)
    for column, factor in numbers["weak_columns"]["lower"].items():
        share[: lower + 1, int(column)] = factor
    for column, factor in numbers["weak_columns"]["upper"].items():
        share[upper:, int(column)] = factor
    for row, factor in numbers["weak_rows"]["rows"].items():
        share[int(row)] *= np.float32(factor)
    return _repeat(share, upscale)


def ccd_number(camera: Camera, upscale: int = 1) -> np.ndarray:
    """Which CCD a pixel lies on.

    Parameters
    ----------
    camera : Camera
        The camera.
    upscale : int
        Pixels per native pixel and side.

    Returns
    -------
    ndarray
        int [y, x] from 0: along x in the lower half of the frame, then in the upper.
    """
    x, y = frame_axes(camera, 1)
    column = np.searchsorted(camera.ccd_edges, x)
    upper = y > camera.half_rows[0]
    number = column[None, :] + (len(camera.ccd_edges) + 1) * upper[:, None]
    return _repeat(number, upscale)


def _sharp(live: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return live, np.ones_like(response)


def _soft(live: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return live, response


def _dead(live: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return live & (response >= DEAD_BELOW), response


# Kinds of detector: (published mask, response) -> (live pixels, response).
DETECTORS = {"sharp": _sharp, "soft": _soft, "dead": _dead}


def smear_out_of_time(camera: Camera, rate: jax.Array, live: Table) -> jax.Array:
    """Spread the events registered during readout along their half column.

    Parameters
    ----------
    camera : Camera
        The camera; `camera.out_of_time` of the events are spread.
    rate : array
        Rate [count/s/pixel] as [y, x], at any upscale.
    live : array
        Live pixels [y, x]; light that falls elsewhere is not registered.

    Returns
    -------
    array
        Rate [count/s/pixel], the same total in the live pixels up to what is smeared onto dead
        ones. XMM-Newton Users' Handbook, section on out-of-time events.
    """
    # A CCD is 206 image pixels long and the frame 411: the middle of the frame parts the halves.
    middle = rate.shape[-2] * (sum(camera.half_rows) + 1) // (2 * camera.shape[0])
    seen = jnp.where(live, rate, 0.0)
    lower, upper = seen[..., :middle, :], seen[..., middle:, :]
    smeared = [
        jnp.broadcast_to(jnp.mean(half, axis=-2, keepdims=True), half.shape)
        for half in (lower, upper)
    ]
    fraction = camera.out_of_time
    return (1.0 - fraction) * rate + fraction * jnp.concatenate(smeared, axis=-2)


def _repeat(image: np.ndarray, upscale: int) -> np.ndarray:
    return image.repeat(upscale, axis=0).repeat(upscale, axis=1)
