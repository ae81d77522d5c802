"""How the effective area falls off axis: a factor of 0 to 1 on the light of the sky.

It acts at the true direction of the photon, before the PSF. EPIC-pn has no grating array in its
beam, so the factor depends on the off-axis angle alone.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.calibration import load
from xmm_jax.instrument.camera import Camera, off_axis


def table(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Vignetting at its nodes.

    Parameters
    ----------
    camera : Camera
        The camera.

    Returns
    -------
    off_axis_arcmin, factor : ndarray
        Nodes [arcmin] and factor, float32; linear between nodes, constant beyond the last. From
        the XMM-Newton calibration file XRT3_XAREAEF_0012 at 1.25 keV.
    """
    numbers = load(camera.name)["vignetting"]
    return np.array(numbers["off_axis_arcmin"], np.float32), np.array(numbers["factor"], np.float32)


def vignetting_map(camera: Camera, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Vignetting at pixel centres (numpy, for tables made at set-up).

    Parameters
    ----------
    camera : Camera
        The camera.
    x, y : ndarray
        Columns and rows [native pixel].

    Returns
    -------
    ndarray
        Factor [y, x], float32.
    """
    angle, _ = off_axis(camera, x[None, :], y[:, None])
    return np.interp(angle, *table(camera)).astype(np.float32)


def vignetting(camera: Camera, off_axis_arcmin: jax.Array) -> jax.Array:
    """Vignetting at off-axis angles.

    Parameters
    ----------
    camera : Camera
        The camera.
    off_axis_arcmin : array
        Angle from the optical axis [arcmin], any shape.

    Returns
    -------
    array
        Factor, same shape.
    """
    nodes, factors = table(camera)
    return jnp.interp(off_axis_arcmin, nodes, factors)
