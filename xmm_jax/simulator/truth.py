"""The sky of a draw before it is observed, and the catalogue of what is on it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import Camera
from xmm_jax.instrument.vignetting import vignetting
from xmm_jax.simulator.agn import POPULATIONS, Points, add_companions
from xmm_jax.simulator.presets import Preset
from xmm_jax.simulator.sky import Extended, draw_extended
from xmm_jax.simulator.variations import AS_BUILT, Variations

COMPONENTS = ("unused", "point", "companion")  # the numbers of `Truth.component`


class Truth(NamedTuple):
    """What was drawn; all shapes are fixed.

    Attributes
    ----------
    x, y : array
        Positions of point sources [source] in native pixels, also outside the frame.
    rate : array
        Their on-axis rate [count/s]; 0 in unused slots.
    component : array
        Index into `COMPONENTS`, int32 [source].
    extended : Extended
        Parameters of the extended source.
    extended_rate : array
        Its on-axis rate over the whole canvas [count/s].
    """

    x: jax.Array
    y: jax.Array
    rate: jax.Array
    component: jax.Array
    extended: Extended
    extended_rate: jax.Array


class Sky(NamedTuple):
    """Extended emission [count/s/sky pixel] on the canvas, point sources, and the catalogue."""

    extended: jax.Array
    points: Points
    truth: Truth


def draw_sky(
    key: jax.Array,
    camera: Camera,
    preset: Preset,
    sky_vignetting: Table,
    transmission: float = 1.0,
    variations: Variations = AS_BUILT,
    maps: Table | None = None,
) -> Sky:
    """Draw everything that is on the sky.

    Parameters
    ----------
    key : array
        Random key.
    camera : Camera
        The camera.
    preset : Preset
        Which sky.
    sky_vignetting : array
        Vignetting factor of the canvas of the sky.
    transmission : float
        Of the filter, relative to the thin one.
    variations : Variations
        Whether point sources get companions.
    maps : array, optional
        Sky maps of the user to draw the extended source from, as for `draw_extended`.

    Returns
    -------
    Sky
        On-axis rates behind the filter, before vignetting.
    """
    extended_key, point_key, companion_key = jax.random.split(key, 3)
    rate, extended = draw_extended(extended_key, camera, preset, sky_vignetting, maps=maps)
    x, y, brightness = POPULATIONS[preset.name](
        point_key,
        camera,
        slots=preset.sources,
        ecf=preset.ecf * transmission,
        absorption_max=preset.absorption_max,
    )
    points, companion = (x, y, brightness), jnp.zeros(x.shape, bool)
    if variations.blends:
        points, companion = add_companions(companion_key, camera, points, variations.blends)
    rate = rate * transmission
    component = jnp.where(points[2] > 0, 1 + companion, 0).astype(jnp.int32)
    return Sky(rate, points, Truth(*points, component, extended, jnp.sum(rate)))


def truth_columns(truth: Truth, camera: Camera) -> dict[str, np.ndarray]:
    """Catalogue of one draw as columns of a table: the extended source, then the point sources.

    Parameters
    ----------
    truth : Truth
        Of one draw.
    camera : Camera
        The camera.

    Returns
    -------
    dict of ndarray
        ``component`` (extended, point or companion), ``x``, ``y`` [native pixel, 0-based], ``rate``
        [count/s, on axis], ``seen_rate`` [count/s, dimmed by vignetting; of the extended source at
        its centre], then every number of `Extended`, NaN for point sources.
    """
    truth = jax.device_get(truth)
    used = np.flatnonzero(truth.component)
    extended = truth.extended
    columns: dict[str, np.ndarray] = {
        "component": np.array(["extended", *np.array(COMPONENTS)[truth.component[used]]]),
        "x": np.append(extended.x, truth.x[used]),
        "y": np.append(extended.y, truth.y[used]),
        "rate": np.append(truth.extended_rate, truth.rate[used]),
    }
    distance = np.hypot(columns["x"] - camera.axis[0], columns["y"] - camera.axis[1])
    factor = np.asarray(vignetting(camera, jnp.asarray(distance * (camera.pixel_arcsec / 60.0))))
    columns["seen_rate"] = columns["rate"] * factor
    blank = np.full(len(used), np.nan)
    for name, value in extended._asdict().items():
        if name not in columns and np.ndim(value) == 0:
            columns[name] = np.append(value, blank).astype(np.float32)
    return columns
