"""One observation of a drawn sky: expected rate, then counts.

Effects act in the order of nature: the sky is dimmed by vignetting, blurred by the PSF, joined by
the background, disturbed by the detector, and counted.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from xmm_jax.errors import InputError
from xmm_jax.instrument import convolution, psf
from xmm_jax.instrument.background import BACKGROUNDS
from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import PN, Camera, crop_canvas, from_native
from xmm_jax.instrument.detector import smear_out_of_time
from xmm_jax.instrument.filters import transmission
from xmm_jax.instrument.vignetting import vignetting
from xmm_jax.simulator.agn import BLENDED, Points
from xmm_jax.simulator.optics import Grid, Optics, build_optics
from xmm_jax.simulator.poisson import draw_counts, draw_nested
from xmm_jax.simulator.presets import Preset, find_preset
from xmm_jax.simulator.sky import SKY_UPSCALE, bin_sky
from xmm_jax.simulator.truth import Truth, draw_sky
from xmm_jax.simulator.variations import AS_BUILT, Variations, draw_detector

__all__ = [
    "build_optics",
    "check_exposure",
    "detect",
    "draw_pair",
    "draw_truth",
    "expected_background",
    "expected_sources",
]

EXPOSURE_RANGE_S = (1e3, 1e6)


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
    filter_name: str = "thin",
    variations: Variations = AS_BUILT,
    maps: Table | None = None,
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
        Exposures [s], 1000 to 1,000,000.
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
    filter_name : str
        ``"thin"`` or ``"medium"``; both observations are made with it.
    variations : Variations
        What differs from one observation to the next beside the sky.
    maps : array, optional
        Sky maps of the user to draw the extended source from; see `draw_extended`.

    Returns
    -------
    dict of array
        ``counts`` int32, ``exposure``, ``valid``, ``target``, ``target_exposure``,
        ``target_valid`` and ``background``, in counts and seconds, as [y, x, 1] of the native
        frame; 0 and False where the detector is dead.

    Raises
    ------
    InputError
        For an unknown preset, kind, pairing or filter, an exposure out of range, photons shared
        between different grids, or variations of the reference preset.
    """
    _check_pair(upscale, target_background, target_kind, pairing, exposure_s, target_exposure_s)
    constants, light = _constants(preset, camera, filter_name, variations)
    sky_key, detector_key, background_key, *count_keys = jax.random.split(key, 5)
    table = optics.sky_vignetting
    extended, points, _ = draw_sky(sky_key, camera, constants, table, light, variations, maps)
    grids = _vary(detector_key, optics, camera, constants, variations, upscale)
    (grid, share), (fine, fine_share) = grids
    sources = expected_sources(extended, points, grid, camera, constants, 1)
    background = expected_background(background_key, grid, constants, 1, light)
    rate = detect(sources + background, grid, camera, constants)
    if upscale != 1:
        sources = expected_sources(extended, points, fine, camera, constants, upscale)
    target_rate = jnp.where(fine.live, sources, 0.0)
    if target_background:
        sky = expected_background(background_key, fine, constants, upscale, light)
        target_rate = detect(sources + sky, fine, camera, constants)
    if pairing == "disjoint":
        target_exposure_s = target_exposure_s - exposure_s
    exposure = jnp.where(grid.live, jnp.float32(exposure_s) * share, 0.0)
    # A perfect detector has no CCDs that stop earlier than others.
    lasted = fine_share if target_background else 1.0
    target_exposure = jnp.where(fine.live, jnp.float32(target_exposure_s) * lasted, 0.0)
    if pairing == "nested":
        counts, target = draw_nested(count_keys[0], rate, (exposure, target_exposure))
    else:
        counts, target = draw_counts(count_keys[0], rate * exposure), target_rate * target_exposure
        if target_kind == "observed":
            target = draw_counts(count_keys[1], target)
    fields = {
        "counts": counts,
        "exposure": exposure,
        "valid": jnp.asarray(grid.live),
        "target": target.astype(jnp.float32),
        "target_exposure": target_exposure,
        "target_valid": jnp.asarray(fine.live),
        "background": detect(background, grid, camera, constants) * exposure,
    }
    return {name: value[..., None] for name, value in fields.items()}


def draw_truth(
    key: jax.Array,
    optics: Optics,
    *,
    preset: str = "physical",
    camera: Camera = PN,
    filter_name: str = "thin",
    variations: Variations = AS_BUILT,
    maps: Table | None = None,
) -> Truth:
    """Catalogue of the sky that `draw_pair` draws from the same key and options.

    Parameters
    ----------
    key : array
        The key of the pair.
    optics : Optics
        From `build_optics` with the same preset, for any upscale.
    preset, camera, filter_name, variations, maps
        As for `draw_pair`.

    Returns
    -------
    Truth
        Positions, on-axis rates and kinds of all sources, in arrays of fixed shape; rates are those
        behind the filter. `xmm_jax.simulator.truth.truth_columns` makes a table of it.
    """
    constants, light = _constants(preset, camera, filter_name, variations)
    sky_key, table = jax.random.split(key, 5)[0], optics.sky_vignetting
    return draw_sky(sky_key, camera, constants, table, light, variations, maps).truth


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


def expected_background(
    key: jax.Array, grid: Grid, preset: Preset, upscale: int, light: float = 1.0
) -> jax.Array:
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
    light : float
        Transmission of the filter, relative to the thin one.

    Returns
    -------
    array
        Rate [count/s/pixel] of the frame [y, x].
    """
    rate = BACKGROUNDS[preset.name](key, grid.vignetting, grid.off_axis_arcmin, light)
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


def check_exposure(exposure_s: float | jax.Array) -> None:
    """Refuse exposures that nobody observes with; those known only inside a compiled function pass.

    Parameters
    ----------
    exposure_s : float or array
        Exposure [s].

    Raises
    ------
    InputError
        Outside 1000 to 1,000,000 s.
    """
    low, high = EXPOSURE_RANGE_S
    if isinstance(exposure_s, Tracer):
        return
    if not np.all((np.asarray(exposure_s) >= low) & (np.asarray(exposure_s) <= high)):
        raise InputError(f"exposure {exposure_s} s cannot be simulated; choose 1 to 1000 ks")


def _constants(
    preset: str, camera: Camera, filter_name: str, variations: Variations
) -> tuple[Preset, float]:
    """Constants of a preset and transmission of a filter; the members of blends are drawn exact."""
    constants, light = find_preset(preset), transmission(camera, filter_name)
    if not constants.detector_effects and (light != 1.0 or variations != AS_BUILT):
        raise InputError(
            f"preset {preset!r} has the thin filter and no variations; choose the physical one"
        )
    if variations.blends:
        constants = dataclasses.replace(constants, stamps=constants.stamps + BLENDED)
    return constants, light


def _vary(
    key: jax.Array,
    optics: Optics,
    camera: Camera,
    preset: Preset,
    variations: Variations,
    upscale: int,
) -> tuple[tuple[Grid, Table | float], tuple[Grid, Table | float]]:
    """Grids of input and target with the detector of this draw, and their share of the exposure."""
    if variations == dataclasses.replace(AS_BUILT, blends=variations.blends):
        return (optics.counts, 1.0), (optics.target, 1.0)
    drawn = draw_detector(key, camera, variations, soft=preset.detector_effects)
    live, response, share = drawn
    fine = [one.repeat(upscale, 0).repeat(upscale, 1) for one in drawn]
    grid = optics.counts._replace(live=live, response=response)
    return (grid, share), (optics.target._replace(live=fine[0], response=fine[1]), fine[2])


def _check_pair(
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
    check_exposure(exposure_s)
    check_exposure(target_exposure_s)
    known = isinstance(exposure_s, float | int) and isinstance(target_exposure_s, float | int)
    if pairing != "simulated" and known and target_exposure_s <= exposure_s:
        raise InputError(f"{pairing} pairs need target_exposure_s above {exposure_s:g}")
