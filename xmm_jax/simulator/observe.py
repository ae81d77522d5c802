"""One observation of a drawn sky: expected rate, then counts.

Effects act in the order of nature: the sky is dimmed by vignetting, blurred by the PSF, joined by
the background, disturbed by the detector, and counted.
"""

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError
from xmm_jax.instrument import convolution, psf
from xmm_jax.instrument.background import BACKGROUNDS
from xmm_jax.instrument.camera import PN, Camera, crop_canvas, from_native
from xmm_jax.instrument.detector import smear_out_of_time
from xmm_jax.instrument.vignetting import vignetting
from xmm_jax.simulator.agn import POPULATIONS, Points
from xmm_jax.simulator.optics import Grid, Optics, build_optics
from xmm_jax.simulator.poisson import draw_counts, draw_nested
from xmm_jax.simulator.presets import Preset, find_preset
from xmm_jax.simulator.sky import SKY_UPSCALE, bin_sky, draw_extended

__all__ = ["build_optics", "detect", "draw_pair", "expected_background", "expected_sources"]


def draw_pair(
    key: jax.Array,
    optics: Optics,
    *,
    preset: str = "physical",
    upscale: int,
    exposure_s: float | jax.Array = 20_000.0,
    target_exposure_s: float | jax.Array = 100_000.0,
    target_background: bool,
    target_kind: str = "expected",
    pairing: str = "simulated",
    camera: Camera = PN,
) -> dict[str, jax.Array]:
    """Draw a sky and observe it twice: the input of a network and its target.

    Parameters
    ----------
    key : array
        Random key; the same key gives the same pair, alone or in a batch.
    optics : Optics
        From `build_optics` with the same preset and upscale.
    preset : str
        ``"physical"`` or ``"reference"``.
    upscale : int
        Pixels of the target per pixel of the input and side; at 2 the target also has half the PSF.
    exposure_s, target_exposure_s : float or array
        Exposures [s].
    target_background : bool
        The target holds the background and what the detector does to the light (denoising);
        otherwise the sources alone, seen by a perfect detector (super-resolution).
    target_kind : str
        ``"expected"`` (no noise) or ``"observed"`` (Poisson counts).
    pairing : str
        Of observed targets: ``"simulated"``, a second observation; ``"nested"``, the input and what
        came after it; ``"disjoint"``, what came after it.
    camera : Camera
        The camera.

    Returns
    -------
    dict of array
        ``counts`` int32, ``exposure``, ``valid``, ``target``, ``target_exposure``,
        ``target_valid`` and ``background``, in counts and seconds, as [y, x, 1] of the native
        frame; 0 and False where the detector is dead.

    Raises
    ------
    InputError
        For an unknown preset, kind or pairing, or photons shared between different grids.
    """
    _check(upscale, target_background, target_kind, pairing, exposure_s, target_exposure_s)
    constants = find_preset(preset)
    sky_key, agn_key, background_key, counts_key, target_key = jax.random.split(key, 5)
    extended, _ = draw_extended(sky_key, camera, constants, optics.sky_vignetting)
    points = POPULATIONS[preset](
        agn_key,
        camera,
        slots=constants.sources,
        ecf=constants.ecf,
        absorption_max=constants.absorption_max,
    )

    sources = expected_sources(extended, points, optics.counts, camera, constants, 1)
    background = expected_background(background_key, optics.counts, constants, 1)
    rate = detect(sources + background, optics.counts, camera, constants)
    if upscale != 1:
        sources = expected_sources(extended, points, optics.target, camera, constants, upscale)
    target_rate = jnp.where(optics.target.live, sources, 0.0)
    if target_background:
        sky = expected_background(background_key, optics.target, constants, upscale)
        target_rate = detect(sources + sky, optics.target, camera, constants)

    if pairing == "disjoint":
        target_exposure_s = target_exposure_s - exposure_s
    if pairing == "nested":
        counts, target = draw_nested(counts_key, rate, (exposure_s, target_exposure_s))
    else:
        counts = draw_counts(counts_key, rate * exposure_s)
        target = target_rate * target_exposure_s
        if target_kind == "observed":
            target = draw_counts(target_key, target)
    live, target_live = jnp.asarray(optics.counts.live), jnp.asarray(optics.target.live)
    fields = {
        "counts": counts,
        "exposure": jnp.where(live, jnp.float32(exposure_s), 0.0),
        "valid": live,
        "target": target.astype(jnp.float32),
        "target_exposure": jnp.where(target_live, jnp.float32(target_exposure_s), 0.0),
        "target_valid": target_live,
        "background": detect(background, optics.counts, camera, constants) * exposure_s,
    }
    return {name: value[..., None] for name, value in fields.items()}


def expected_sources(
    extended: jax.Array,
    points: Points,
    grid: Grid,
    camera: Camera,
    preset: Preset,
    upscale: int,
) -> jax.Array:
    """Rate of all sources on a grid: dimmed by vignetting and blurred by the PSF.

    Parameters
    ----------
    extended : array
        On-axis rate of the extended source [count/s/sky pixel], canvas [y, x].
    points : tuple of array
        Position x, y [native pixel] and on-axis rate [count/s] of point sources, brightest first.
    grid : Grid
        The grid.
    camera : Camera
        The camera.
    preset : Preset
        Kernel size and number of exact images.
    upscale : int
        Pixels of the grid per native pixel and side.

    Returns
    -------
    array
        Rate [count/s/pixel] of the frame [y, x].
    """
    x, y, rate = points
    exact = preset.stamps
    if len(rate) > exact:
        extended = _add_to_sky(extended, x[exact:], y[exact:], rate[exact:], camera)
    image = convolution.convolve(bin_sky(extended, upscale), grid.coefficients, grid.transforms)
    image = crop_canvas(camera, image, upscale)
    x, y, rate = x[:exact], y[:exact], rate[:exact]
    distance = jnp.sqrt((x - camera.axis[0]) ** 2 + (y - camera.axis[1]) ** 2)
    seen = rate * vignetting(camera, distance * (camera.pixel_arcsec / 60.0))
    stamp, column, row = psf.stamps(
        camera,
        x,
        y,
        upscale,
        half_width=preset.kernel_half_width,
        core_scale=preset.core_scale,
    )
    return psf.add_stamps(image, stamp * seen[:, None, None], column, row)


def expected_background(key: jax.Array, grid: Grid, preset: Preset, upscale: int) -> jax.Array:
    """Rate of the background on a grid; the same key gives the same background on every grid.

    Parameters
    ----------
    key : array
        Random key.
    grid : Grid
        The grid.
    preset : Preset
        Which background.
    upscale : int
        Pixels of the grid per native pixel and side.

    Returns
    -------
    array
        Rate [count/s/pixel] of the frame [y, x].
    """
    rate = BACKGROUNDS[preset.name](key, grid.vignetting, grid.off_axis_arcmin)
    return jnp.asarray(rate) / upscale**2


def detect(rate: jax.Array, grid: Grid, camera: Camera, preset: Preset) -> jax.Array:
    """What the detector makes of the rate that reaches it.

    Parameters
    ----------
    rate : array
        Rate [count/s/pixel] of the frame [y, x].
    grid : Grid
        Live pixels and response of the columns.
    camera : Camera
        The camera.
    preset : Preset
        Whether events are smeared out of time and columns are weak.

    Returns
    -------
    array
        Expected rate of registered events [count/s/pixel], 0 where dead.
    """
    if preset.detector_effects:
        rate = smear_out_of_time(camera, rate, grid.live) * grid.response
    return jnp.where(grid.live, rate, 0.0)


def _add_to_sky(
    sky: jax.Array, x: jax.Array, y: jax.Array, rate: jax.Array, camera: Camera
) -> jax.Array:
    """Put faint points into the nearest pixel of the sky; they share the PSF of the extended."""
    low_x, low_y = camera.canvas_low
    column = jnp.round(from_native(x + low_x, SKY_UPSCALE)).astype(jnp.int32)
    row = jnp.round(from_native(y + low_y, SKY_UPSCALE)).astype(jnp.int32)
    return psf.add_stamps(sky, rate[:, None, None], column, row)


def _check(
    upscale: int,
    target_background: bool,
    target_kind: str,
    pairing: str,
    exposure_s: float | jax.Array,
    target_exposure_s: float | jax.Array,
) -> None:
    if target_kind not in ("expected", "observed"):
        raise InputError(f"target kind {target_kind!r} is unknown; choose expected or observed")
    if pairing not in ("simulated", "nested", "disjoint"):
        raise InputError(f"pairing {pairing!r} cannot be simulated; simulated, nested or disjoint")
    if pairing == "nested" and (upscale != 1 or not target_background or target_kind != "observed"):
        raise InputError(
            "nested pairs share photons: they need upscale 1, target_background and observed"
        )
    known = isinstance(exposure_s, float | int) and isinstance(target_exposure_s, float | int)
    if pairing != "simulated" and known and target_exposure_s <= exposure_s:
        raise InputError(f"{pairing} pairs need target_exposure_s above {exposure_s:g}")
