"""Expected background [count/s/native pixel]: what would be seen with no source in the field.

Each function takes a key, the vignetting and the off-axis angle [arcmin] of every pixel and returns
a map of their shape. The background of the sky is vignetted, that of particles is not. Neither is
blurred: both are smooth.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import Camera, frame_axes
from xmm_jax.instrument.vignetting import vignetting_map


@functools.lru_cache(maxsize=1)
def background_shapes(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Shapes that the background of an observation is made of, to fit levels of.

    Parameters
    ----------
    camera : Camera
        The camera.

    Returns
    -------
    tuple of ndarray
        Flat (particles) and vignetted (sky), float32 [y, x] of the native frame.
    """
    vignetted = vignetting_map(camera, *frame_axes(camera, 1))
    return np.ones_like(vignetted), vignetted


def fully_vignetted(
    key: jax.Array, vignetting: Table, off_axis_arcmin: Table, light: float = 1.0
) -> Table:
    """Background of the published SIXTE simulations: one fixed, fully vignetted shape.

    Parameters
    ----------
    key : array
        Unused: this background does not vary.
    vignetting : array
        Vignetting factor of every pixel.
    off_axis_arcmin : array
        Off-axis angle of every pixel [arcmin].
    light : float
        Transmission of the filter; 1, the published simulations have the thin one.

    Returns
    -------
    array
        Rate [count/s/native pixel]; fitted to 420 ks of the background files of Sweere et al. 2022
        (hard photons make it a little steeper than the vignetting at 1.25 keV).
    """
    del key
    return 1.11e-5 * light * vignetting * (1.0 - 0.0078 * off_axis_arcmin)


def particles_and_sky(
    key: jax.Array, vignetting: Table, off_axis_arcmin: Table, light: float = 1.0
) -> Table:
    """Background of the real sky: flat particles, vignetted sky, sometimes soft protons.

    Parameters
    ----------
    key : array
        Random key.
    vignetting : array
        Vignetting factor of every pixel.
    off_axis_arcmin : array
        Off-axis angle of every pixel [arcmin], unused.
    light : float
        Transmission of the filter for the vignetted part, relative to the thin one.

    Returns
    -------
    array
        Rate [count/s/native pixel]. Medians and scatter measured on source-free parts of ten public
        EPIC-pn images of 2000 to 2018.
    """
    del off_axis_arcmin
    scatter_key, proton_key = jax.random.split(key)
    scatter = jax.random.normal(scatter_key, (2,))
    particles = 6.3e-6 * jnp.exp(0.25 * scatter[0])
    # Fits that mask sources find 5.5e-6; 0.4e-6 of it is the light of the point sources, drawn one
    # by one, that are too faint to be masked.
    sky = 5.1e-6 * jnp.exp(0.35 * scatter[1])
    return particles + sky * light * vignetting + soft_protons(proton_key, vignetting)


def soft_protons(key: jax.Array, vignetting: Table) -> jax.Array:
    """What is left of flares of soft protons after they were cut out.

    Parameters
    ----------
    key : array
        Random key.
    vignetting : array
        Vignetting factor of every pixel.

    Returns
    -------
    array
        Rate [count/s/native pixel]: nothing in four fields of five, else up to 5e-6 on axis. The
        mirrors focus protons too, but their rate falls off half as fast as that of X-rays.
    """
    level_key, on_key = jax.random.split(key)
    level = jax.random.uniform(level_key, maxval=5e-6) * jax.random.bernoulli(on_key, 0.2)
    return level * 0.5 * (1.0 + vignetting)


BACKGROUNDS = {"reference": fully_vignetted, "physical": particles_and_sky}
