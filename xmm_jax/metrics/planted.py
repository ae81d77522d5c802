"""Fields in which every source was put by hand: singles or pairs on background, or nothing.

They are seen by the PSF, the background and the detector of `xmm_jax.simulator`; about 200 pairs
fit on one field.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument import psf
from xmm_jax.instrument.camera import PN, Camera
from xmm_jax.simulator.observe import detect, expected_background
from xmm_jax.simulator.optics import Optics
from xmm_jax.simulator.poisson import draw_counts
from xmm_jax.simulator.presets import find_preset

SPACING_ARCSEC = 100.0  # between sources or pairs, so that no PSF reaches the next


def places(key: jax.Array, *, spacing_arcsec: float = SPACING_ARCSEC, camera: Camera = PN):
    """Positions on a square grid over the frame, each moved by up to 2 native pixels.

    Parameters
    ----------
    key : array
        Random key.
    spacing_arcsec : float
        Side of the grid [arcsec].
    camera : Camera
        The camera.

    Returns
    -------
    x, y : array
        [place], native pixels; some lie on dead pixels or outside of the field of view.
    """
    step = spacing_arcsec / camera.pixel_arcsec
    rows, columns = (np.arange(step / 2, size, step, dtype=np.float32) for size in camera.shape)
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    move = jax.random.uniform(key, (2, len(x)), minval=-2.0, maxval=2.0)
    return x + move[0], y + move[1]


@functools.partial(jax.jit, static_argnames=("upscale", "target_background", "preset", "camera"))
def observe_points(
    key: jax.Array,
    optics: Optics,
    x: jax.Array,
    y: jax.Array,
    seen_rate: jax.Array,
    *,
    upscale: int,
    exposure_s: float = 20_000.0,
    target_exposure_s: float = 100_000.0,
    target_background: bool = False,
    preset: str = "physical",
    camera: Camera = PN,
) -> dict[str, jax.Array]:
    """Observe point sources on background: the pair that `draw_pair` would make of such a sky.

    Parameters
    ----------
    key : array
        Random key.
    optics : Optics
        From `build_optics` with the same preset and upscale.
    x, y : array
        Positions [source] in native pixels.
    seen_rate : array
        Rate of each on its place, after vignetting [count/s]; 0 plants nothing.
    upscale, exposure_s, target_exposure_s, target_background, preset, camera
        As for `xmm_jax.simulator.observe.draw_pair`; the target is noise-free.

    Returns
    -------
    dict of array
        ``counts`` int32, ``exposure``, ``valid``, ``target``, ``target_exposure``,
        ``target_valid`` as [y, x, 1] of the native frame, in counts and seconds.
    """
    constants = find_preset(preset)
    background_key, count_key = jax.random.split(key)

    def expected(grid, scale: int, background: bool) -> jax.Array:
        stamp, column, row = psf.stamps(
            camera,
            x,
            y,
            scale,
            half_width=constants.kernel_half_width,
            core_scale=constants.core_scale,
        )
        image = jnp.zeros(grid.live.shape, jnp.float32)
        image = psf.add_stamps(image, stamp * seen_rate[:, None, None], column, row)
        if not background:
            return jnp.where(grid.live, image, 0.0)
        sky = expected_background(background_key, grid, constants, scale)
        return detect(image + sky, grid, camera, constants)

    exposure, target_exposure = (
        jnp.where(grid.live, jnp.float32(seconds), 0.0)
        for grid, seconds in ((optics.counts, exposure_s), (optics.target, target_exposure_s))
    )
    fields = {
        "counts": draw_counts(count_key, expected(optics.counts, 1, True) * exposure),
        "exposure": exposure,
        "valid": jnp.asarray(optics.counts.live),
        "target": expected(optics.target, upscale, target_background) * target_exposure,
        "target_exposure": target_exposure,
        "target_valid": jnp.asarray(optics.target.live),
    }
    return {name: value[..., None] for name, value in fields.items()}


def as_catalogue(x, y, seen_rate) -> dict[str, np.ndarray]:
    """Planted sources as the columns of `xmm_jax.simulator.truth.truth_columns` that metrics read.

    Parameters
    ----------
    x, y, seen_rate : array
        As for `observe_points`; sources of rate 0 are left out.

    Returns
    -------
    dict of ndarray
        ``component``, ``x``, ``y`` [native pixel], ``seen_rate`` [count/s].
    """
    columns = {"x": np.asarray(x), "y": np.asarray(y), "seen_rate": np.asarray(seen_rate)}
    there = columns["seen_rate"] > 0
    kept = {name: column[there].astype(float) for name, column in columns.items()}
    return {"component": np.full(there.sum(), "point")} | kept
