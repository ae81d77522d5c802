"""Extended sources: a shape composed from a recipe or a map of the user, and how bright it is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import Camera, canvas_axes
from xmm_jax.simulator import envelopes, features, textures
from xmm_jax.simulator.compact import add_compact
from xmm_jax.simulator.families import Recipe, draw_recipe
from xmm_jax.simulator.frame import SKY_UPSCALE, Frame, canvas_in_source, draw_frame
from xmm_jax.simulator.presets import Preset
from xmm_jax.simulator.skymap import draw_map

__all__ = ["SKY_UPSCALE", "Extended", "bin_sky", "compose", "draw_extended", "normalise"]


class Extended(NamedTuple):
    """What was drawn beside the shape.

    Attributes
    ----------
    x, y : array
        Centre [native pixel].
    sigma : array
        Brightness of the box about the centre [sigma of the background of 50 ks].
    zoom : array
        Factor of enlargement.
    family : array
        Index into `xmm_jax.simulator.families.FAMILIES`; -1 for a map of the user.
    """

    x: jax.Array
    y: jax.Array
    sigma: jax.Array
    zoom: jax.Array
    family: jax.Array


def draw_extended(
    key: jax.Array, camera: Camera, preset: Preset, vignetting: Table, maps: Table | None = None
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
    maps : array, optional
        Maps of the user [map, y, x], of which one is drawn instead of a recipe; see
        `xmm_jax.simulator.skymap.draw_map`.

    Returns
    -------
    rate, extended : array, Extended
        On-axis rate [count/s/sky pixel] as [y, x], before vignetting, and what was drawn.
    """
    scalar_key, place_key, recipe_key, shape_key = jax.random.split(key, 4)
    zoom, sigma, flat = jax.random.uniform(scalar_key, (3,), minval=1e-6)
    zoom = preset.zoom[0] + (preset.zoom[1] - preset.zoom[0]) * zoom
    low, high = preset.brightness
    if preset.log_brightness:
        sigma = low * (high / low) ** sigma
    else:
        sigma = low + (high - low) * sigma

    if maps is None:
        recipe = draw_recipe(recipe_key)
        family = recipe.family
        # Clusters are little flattened; a disc is seen from any side.
        ratio = jnp.clip(0.8 + 0.1 * jax.scipy.special.ndtri(flat), 0.5, 1.0)
        ratio = jnp.where(recipe.has["disc"] > 0, 0.2 + 0.8 * flat, ratio)
        frame = draw_frame(place_key, camera, ratio, zoom)
        brightness = compose(shape_key, recipe, frame, camera)
    else:
        family = jnp.int32(-1)
        frame = draw_frame(place_key, camera, jnp.float32(1.0), zoom)
        brightness = draw_map(shape_key, jnp.asarray(maps), frame, camera)

    extended = Extended(frame.centre[0], frame.centre[1], sigma, zoom, family)
    return normalise(brightness, camera, vignetting, extended), extended


def compose(key: jax.Array, recipe: Recipe, frame: Frame, camera: Camera) -> jax.Array:
    """Shape of a source: envelope x texture x fronts x cavities, and compact parts.

    Every feature is always computed and enters with weight 0 or 1, so that fields of all families
    run as one batch.

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

    Returns
    -------
    array
        Brightness on the canvas [y, x] at `SKY_UPSCALE`, any unit.
    """
    keys = jax.random.split(key, 7)
    numbers, has = recipe.numbers, recipe.has
    x, y = canvas_in_source(frame, camera)
    azimuth = jnp.arctan2(y, x)
    size, pixel = x.shape[0], camera.pixel_arcsec / SKY_UPSCALE
    light = envelopes.envelope(keys[0], recipe, x, y, azimuth)

    slope, outer = numbers["texture_slope"], numbers["texture_outer"] * frame.zoom
    first, second = textures.draw_fields(keys[1], size, pixel, slope, outer)
    light = light * textures.lognormal(first, numbers["texture_strength"])
    threads = textures.ridges(keys[2], second, numbers["ridge_width"], numbers["warp"], pixel)
    light = light * (1.0 + has["ridges"] * (threads - 1.0))
    light = light * (1.0 + has["leaves"] * (textures.leaves(keys[3], frame, camera, size) - 1.0))

    front = features.cold_front(recipe, x, y, azimuth)
    light = light * (1.0 + has["sloshing"] * (front - 1.0))
    light = light * (1.0 + has["shock"] * (features.shock(keys[4], recipe, x, y) - 1.0))
    light = light * features.cavities(keys[5], recipe, frame, camera, size)

    middle = jnp.sum(light * jnp.exp(-(x * x + y * y) / 120.0**2))
    return add_compact(keys[6], recipe, frame, camera, light, middle)


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
        Sweere et al. 2022. Where the box is darker than the whole canvas, the canvas has that mean
        instead, as there: a hole in the middle must not make the rest glare. 0 for a dark canvas.
    """
    x, y = (axis.astype(np.float32) for axis in canvas_axes(camera, SKY_UPSCALE))
    half_side = 72.0 * extended.zoom / camera.pixel_arcsec
    in_column = jnp.abs(x - extended.x) <= half_side
    in_row = jnp.abs(y - extended.y) <= half_side
    box = in_row[:, None] & in_column[None, :]
    seen = brightness * vignetting
    mean = jnp.sum(jnp.where(box, seen, 0.0)) / jnp.maximum(jnp.sum(box), 1)
    mean = jnp.maximum(mean, jnp.mean(seen))
    level = (1.14e-5 + 1.472e-5 * extended.sigma) / extended.zoom / SKY_UPSCALE**2
    return brightness * jnp.where(mean > 0, level / jnp.where(mean > 0, mean, 1.0), 0.0)


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
