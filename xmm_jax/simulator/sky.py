"""Extended sources: families of shapes drawn from a key, and how bright they are.

A family is a function (key, x, y, texture) -> brightness: x and y are arrays [arcsec] in the frame
of the source (centred, turned, flattened), texture is a Gaussian random field of variance 1, and
the brightness has any unit. To add a family, write the function and add it to `FAMILIES` with its
weight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import Camera, canvas_axes
from xmm_jax.simulator.presets import Preset

SKY_UPSCALE = 2  # the sky is drawn on pixels of 2 arcsec whatever is observed


class Extended(NamedTuple):
    """What was drawn beside the shape.

    Attributes
    ----------
    x, y : array
        Centre [native pixel].
    sigma : array
        Brightness of the box about the centre in background sigmas of 50 ks.
    zoom : array
        Enlargement.
    family : array
        Index into `FAMILIES`.
    """

    x: jax.Array
    y: jax.Array
    sigma: jax.Array
    zoom: jax.Array
    family: jax.Array


def beta_model(key: jax.Array, x: jax.Array, y: jax.Array, texture: jax.Array) -> jax.Array:
    """Group or relaxed cluster: King-like profile with weak turbulence.

    Parameters
    ----------
    key : array
        Random key.
    x, y : array
        Coordinates in the frame of the source [arcsec].
    texture : array
        Gaussian random field of variance 1.

    Returns
    -------
    array
        Brightness, any unit. Cavaliere & Fusco-Femiano 1976; slopes of Mohr et al. 1999 (ApJ 517,
        627); turbulence of 10 to 30 % (Zhuravleva et al. 2014, Nature 515, 85).
    """
    core, slope, strength = jax.random.uniform(key, (3,))
    profile = _beta(x, y, _log_between(core, 10.0, 200.0), _observed_beta(slope))
    return profile * _lognormal(texture, _between(strength, 0.1, 0.3))


def cool_core(key: jax.Array, x: jax.Array, y: jax.Array, texture: jax.Array) -> jax.Array:
    """Cluster with a cool core: a second, smaller and brighter profile in the middle.

    Parameters
    ----------
    key : array
        Random key.
    x, y : array
        Coordinates in the frame of the source [arcsec].
    texture : array
        Gaussian random field of variance 1.

    Returns
    -------
    array
        Brightness, any unit. Double beta model, core radius 0.1 to 0.4 of the outer one and central
        excess 3 to 30.
    """
    core, slope, ratio, excess, strength = jax.random.uniform(key, (5,))
    core, beta = _log_between(core, 30.0, 200.0), _observed_beta(slope)
    inner = jnp.maximum(core * _between(ratio, 0.1, 0.4), 4.0)  # two sky pixels
    peak = _log_between(excess, 3.0, 30.0) * _beta(x, y, inner, jnp.maximum(beta, 0.6))
    profile = _beta(x, y, core, beta) + peak
    return profile * _lognormal(texture, _between(strength, 0.1, 0.3))


def turbulent(key: jax.Array, x: jax.Array, y: jax.Array, texture: jax.Array) -> jax.Array:
    """Disturbed gas: strong lognormal turbulence on a wide envelope.

    Parameters
    ----------
    key : array
        Random key.
    x, y : array
        Coordinates in the frame of the source [arcsec].
    texture : array
        Gaussian random field of variance 1.

    Returns
    -------
    array
        Brightness, any unit; strengths measured on the simulated galaxies and clusters of Sweere et
        al. 2022.
    """
    core, slope, strength = jax.random.uniform(key, (3,))
    profile = _beta(x, y, _log_between(core, 40.0, 300.0), _between(slope, 0.3, 0.8))
    return profile * _lognormal(texture, _between(strength, 0.4, 0.9))


# name: (weight, function)
FAMILIES = {
    "beta": (0.3, beta_model),
    "cool_core": (0.3, cool_core),
    "turbulent": (0.4, turbulent),
}


def draw_extended(
    key: jax.Array, camera: Camera, preset: Preset, vignetting: Table
) -> tuple[jax.Array, Extended]:
    """Draw one extended source on the canvas of the sky.

    Parameters
    ----------
    key : array
        Random key.
    camera : Camera
        The camera.
    preset : Preset
        Ranges of brightness and zoom.
    vignetting : array
        Vignetting factor of the canvas [y, x] at `SKY_UPSCALE`.

    Returns
    -------
    rate, extended : array, Extended
        On-axis rate [count/s/sky pixel] as [y, x], before vignetting, and what was drawn.
    """
    scalar_key, place_key, field_key, shape_key = jax.random.split(key, 4)
    zoom, sigma, kind = jax.random.uniform(scalar_key, (3,))
    zoom = _between(zoom, *preset.zoom)
    sigma = (_log_between if preset.log_brightness else _between)(sigma, *preset.brightness)

    centre_x, centre_y, x, y = _place(place_key, camera)
    texture = draw_texture(field_key, x.shape[0], camera.pixel_arcsec / SKY_UPSCALE)
    weights, functions = zip(*FAMILIES.values(), strict=True)
    steps = np.float32(np.cumsum(weights[:-1]) / sum(weights))
    family = jnp.sum(kind > steps)
    brightness = jax.lax.switch(family, functions, shape_key, x / zoom, y / zoom, texture)

    extended = Extended(centre_x, centre_y, sigma, zoom, family)
    return normalise(brightness, camera, vignetting, extended), extended


def normalise(
    brightness: jax.Array, camera: Camera, vignetting: Table, extended: Extended
) -> jax.Array:
    """Scale a source so that the box about its centre is `sigma` background sigmas bright.

    Parameters
    ----------
    brightness : array
        Canvas [y, x] at `SKY_UPSCALE`, any unit.
    camera : Camera
        The camera.
    vignetting : array
        Vignetting factor of the canvas.
    extended : Extended
        Centre, sigma and zoom.

    Returns
    -------
    array
        On-axis rate [count/s/sky pixel]: its vignetted mean in a box of 144 zoom arcsec is
        (1.14e-5 + 1.472e-5 sigma) / zoom per native pixel, as measured on the simulations of
        Sweere et al. 2022.
    """
    x, y = (axis.astype(np.float32) for axis in canvas_axes(camera, SKY_UPSCALE))
    half_side = 72.0 * extended.zoom / camera.pixel_arcsec
    in_column = jnp.abs(x - extended.x) <= half_side
    in_row = jnp.abs(y - extended.y) <= half_side
    box = in_row[:, None] & in_column[None, :]
    mean = jnp.sum(jnp.where(box, brightness * vignetting, 0.0)) / jnp.maximum(jnp.sum(box), 1)
    level = (1.14e-5 + 1.472e-5 * extended.sigma) / extended.zoom / SKY_UPSCALE**2
    return brightness * (level / mean)


def draw_texture(key: jax.Array, size: int, pixel_arcsec: float) -> jax.Array:
    """Gaussian random field with a power-law spectrum.

    Parameters
    ----------
    key : array
        Random key.
    size : int
        Side of the canvas [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec].

    Returns
    -------
    array
        [y, x], mean 0, variance 1, periodic. Power k^-n, n uniform in 1.8 to 4 (Kolmogorov: 11/3),
        flat beyond an outer scale of 1 to 10 arcmin, cut at 3 arcsec.
    """
    scalar_key, noise_key = jax.random.split(key)
    slope, outer = jax.random.uniform(scalar_key, (2,))
    slope, outer = _between(slope, 1.8, 4.0), _log_between(outer, 60.0, 600.0)
    wave_y = np.fft.fftfreq(size, pixel_arcsec).astype(np.float32)
    wave_x = np.fft.rfftfreq(size, pixel_arcsec).astype(np.float32)
    square = jnp.square(wave_y)[:, None] + jnp.square(wave_x)[None, :]
    amplitude = (square + 1.0 / outer**2) ** (-slope / 4.0) * jnp.exp(-0.5 * 9.0 * square)
    noise = jax.lax.complex(*jax.random.normal(noise_key, (2, *square.shape)))
    field = jnp.fft.irfft2(amplitude * noise, s=(size, size))
    field = field - jnp.mean(field)
    return field / jnp.sqrt(jnp.mean(jnp.square(field)))


def bin_sky(image: jax.Array, upscale: int) -> jax.Array:
    """Sum a map on sky pixels into the pixels of an observation.

    Parameters
    ----------
    image : array
        [y, x] at `SKY_UPSCALE`.
    upscale : int
        Pixels per native pixel and side; divides `SKY_UPSCALE`.

    Returns
    -------
    array
        [y, x], same sum.
    """
    block = SKY_UPSCALE // upscale
    size = image.shape[0] // block
    return image.reshape(size, block, size, block).sum(axis=(1, 3))


def _place(key: jax.Array, camera: Camera):
    """Centre of a source and the coordinates of the canvas in its frame [arcsec]."""
    normal_key, uniform_key = jax.random.split(key)
    near_x, near_y, flat = jax.random.normal(normal_key, (3,))
    radius, angle, anywhere, turn, mirror = jax.random.uniform(uniform_key, (5,))
    near = jnp.array(camera.axis) + 40.0 / camera.pixel_arcsec * jnp.stack([near_x, near_y])
    radius, angle = 0.9 * camera.fov_radius * jnp.sqrt(radius), 2.0 * np.pi * angle
    far = jnp.array(camera.fov_centre) + radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    centre = jnp.where(anywhere < 0.1, far, near)

    turn = 2.0 * np.pi * turn
    ratio = jnp.clip(0.8 + 0.1 * flat, 0.5, 1.0)
    mirror = jnp.where(mirror < 0.5, -1.0, 1.0)
    x, y = (axis.astype(np.float32) for axis in canvas_axes(camera, SKY_UPSCALE))
    dx = (x - centre[0])[None, :] * camera.pixel_arcsec
    dy = (y - centre[1])[:, None] * camera.pixel_arcsec
    along = (jnp.cos(turn) * dx + jnp.sin(turn) * dy) * jnp.sqrt(ratio) * mirror
    across = (jnp.cos(turn) * dy - jnp.sin(turn) * dx) / jnp.sqrt(ratio)
    return centre[0], centre[1], along, across


def _beta(x: jax.Array, y: jax.Array, core: jax.Array, beta: jax.Array) -> jax.Array:
    return (1.0 + (x * x + y * y) / (core * core)) ** (0.5 - 3.0 * beta)


def _observed_beta(uniform: jax.Array) -> jax.Array:
    return jnp.clip(0.65 + 0.1 * ndtri(uniform), 0.4, 1.0)


def _lognormal(texture: jax.Array, strength: jax.Array) -> jax.Array:
    return jnp.exp(strength * texture - 0.5 * strength * strength)


def _between(uniform: jax.Array, low: float, high: float) -> jax.Array:
    return low + (high - low) * uniform


def _log_between(uniform: jax.Array, low: float, high: float) -> jax.Array:
    return low * (high / low) ** uniform
