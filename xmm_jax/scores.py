"""Figures of one image of one field: likeness, photons, consistency, noise, sources."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.config import TASKS
from xmm_jax.data.pairs import pad_frame
from xmm_jax.data.thinning import generator
from xmm_jax.instrument.background import background_shapes
from xmm_jax.instrument.camera import PN
from xmm_jax.metrics.consistency import Consistency, consistency, expected_counts
from xmm_jax.metrics.detection import CANDIDATE, Table, detect, matched_filter
from xmm_jax.metrics.image import MEASURES, compare
from xmm_jax.metrics.noise import (
    background_rms,
    effective_exposure_ratio,
    noise_power_spectrum,
)
from xmm_jax.metrics.profiles import deviation, ring_ratios
from xmm_jax.metrics.psf_stack import isolated, stack
from xmm_jax.metrics.response import instrument_response
from xmm_jax.metrics.sources import compare_sources, visible
from xmm_jax.metrics.statistics import bits_per_photon, floor_subtracted
from xmm_jax.models.background import subtract_background
from xmm_jax.models.interpolation import count_rate, live_pixels
from xmm_jax.protocols import Field

FRAME = tuple(name for name in MEASURES if "torchmetrics" not in name)
MASKED = ("PSNR", "L1", "SSIM")
STRETCHED = ("PSNR", "SSIM")
STRETCHES = ("sqrt", "asinh", "log")
FAINT_SHARE = 0.3  # of the live pixels of the truth, the faintest: where noise is measured
RINGS_ARCMIN = (0.0, 6.0, 12.0, 18.0)
CELL_PIXELS = 4  # [input pixel], of the noise


class Truth(NamedTuple):
    """What an image of a field is compared with, made once a field.

    Attributes
    ----------
    counts, exposure, valid : ndarray
        The input, [y, x].
    rate, live : ndarray
        Target [count/s/pixel] and its live pixels, [s y, s x].
    held_out, held_out_exposure : ndarray
        Photons of the target [count] (drawn, where the target has no noise) and their exposure.
    noisy : bool
        Whether the target has noise.
    background : ndarray
        Counts of the input that the target leaves out [count], [y, x].
    given : ndarray
        Rate of the input without these, on the grid of the target, [s y, s x].
    faint : ndarray of bool
        Pixels where there is hardly anything but background, [s y, s x].
    sigma : ndarray or None
        Significance [sigma] of the sources of the target, where a catalogue is known.
    catalogue : dict or None
        Its point sources.
    alone : ndarray of bool or None
        Which of them are bright and isolated.
    centre : tuple of float or None
        x and y of the extended source [native pixel].
    """

    counts: np.ndarray
    exposure: np.ndarray
    valid: np.ndarray
    rate: np.ndarray
    live: np.ndarray
    held_out: np.ndarray
    held_out_exposure: np.ndarray
    noisy: bool
    background: np.ndarray
    given: np.ndarray
    faint: np.ndarray
    sigma: np.ndarray | None
    catalogue: Table | None
    alone: np.ndarray | None
    centre: tuple[float, float] | None


def prepare_truth(field: Field, task: str) -> Truth:
    """Everything about a field that does not depend on who is judged.

    Parameters
    ----------
    field : Field
        The field.
    task : str
        Whether the target has background.
    """
    images = {name: value[..., 0] for name, value in field.sample.items() if np.ndim(value) == 3}
    counts, exposure, valid = (images[name] for name in ("counts", "exposure", "valid"))
    live, seconds = images["target_valid"], images["target_exposure"]
    rate = count_rate(images["target"], seconds, live)
    noisy = field.sample["target_kind"] == "observed"
    held_out = images["target"]
    if not noisy:
        held_out = generator(0, "held out", field.name).poisson(np.where(live, held_out, 0.0))
    background = np.zeros(counts.shape)
    if not TASKS[task].target_background:
        known = images.get("background")
        background = _background(counts, exposure, valid) if known is None else known
    upscale = TASKS[task].upscale
    given = count_rate(counts - background, exposure, valid).repeat(upscale, 0).repeat(upscale, 1)
    faint = live & (rate <= np.quantile(rate[live], FAINT_SHARE))
    catalogue = sigma = alone = centre = None
    if field.catalogue is not None:
        catalogue = visible(field.catalogue, exposure, valid)
        sigma = matched_filter(rate, counts, exposure, valid).sigma
        alone = isolated(catalogue, live_pixels(exposure, valid))
        x, y = (float(field.catalogue[axis][0]) for axis in ("x", "y"))  # see `truth_columns`
        centre = x, y
    return Truth(
        *(counts, exposure, valid),
        *(rate, live, held_out, seconds, noisy),
        *(background, given / upscale**2, faint),
        *(sigma, catalogue, alone, centre),
    )


def _background(counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Counts of the background that the faint parts of an observation show."""
    rate, shapes = count_rate(counts, exposure, valid), background_shapes(PN)
    return (rate - subtract_background(rate, exposure, valid, shapes=shapes)) * exposure


@functools.partial(jax.jit, static_argnames=("clip_rate",))
def _likeness(rate: jax.Array, truth: jax.Array, live: jax.Array, clip_rate: float):
    """All measures of images [1, y, x, 1] on the padded frame."""
    found = compare(rate, truth, clip_rate=clip_rate, names=FRAME, valid=live)
    inside = compare(rate, truth, clip_rate=clip_rate, names=MASKED, valid=live, region="mask")
    found |= {f"mask/{name}": value for name, value in inside.items()}
    for stretch in STRETCHES:
        others = compare(
            rate, truth, clip_rate=clip_rate, stretch=stretch, names=STRETCHED, valid=live
        )
        found |= {f"{stretch}/{name}": value for name, value in others.items()}
    return found


def image_figures(
    rate: np.ndarray, truth: Truth, task: str, *, padding: str = "aligned"
) -> tuple[dict[str, float], Consistency]:
    """Figures of one image.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel], [s y, s x].
    truth : Truth
        Of its field.
    task : str
        Clip rate, upscale.
    padding : str
        ``aligned`` or ``reference``, see `xmm_jax.data.pairs.low_side`; both sides are padded
        alike.

    Returns
    -------
    dict of str to float
        Measures of `xmm_jax.metrics.image` by name, ``mask/...`` and ``STRETCH/...``; ``bits`` per
        held-out photon; ``floor_PSNR`` and ``ceiling_PSNR`` [dB] where the target has noise; ``z``
        and ``blob_sigma`` of the residual; where the target has none, ``background_rms``
        of cells of 16 arcsec [1e-6 count/s/pixel] and ``exposure_ratio``: how much longer one would
        have to look for a background as steady; ``profile_bias`` and ``profile_error`` of the
        extended source, where it is known and the target has no background.
    Consistency
        The residual.
    """
    goal = TASKS[task]
    images = (
        jnp.asarray(pad_frame(image, goal.upscale, padding=padding))[None, ..., None]
        for image in (rate.astype(np.float32), truth.rate.astype(np.float32), truth.live)
    )
    found = {
        name: float(value[0])
        for name, value in _likeness(*images, clip_rate=goal.target_clip_rate).items()
    }
    photons = truth.held_out, truth.held_out_exposure, truth.live
    found["bits"] = bits_per_photon(rate, *photons)
    if truth.noisy:
        floor = floor_subtracted(rate, *photons, clip_rate=goal.target_clip_rate)
        found |= {"floor_PSNR": floor.psnr, "ceiling_PSNR": floor.ceiling}
    response = _response() if goal.upscale > 1 else None
    expected = expected_counts(
        np.maximum(rate, 0.0), truth.exposure, truth.valid, response=response,
        background=truth.background,
    )  # fmt: skip
    seen = consistency(expected, truth.counts, truth.valid)
    found |= {"z": seen.z, "blob_sigma": abs(seen.blob_sigma)}
    if not truth.noisy:
        options = {"cell": CELL_PIXELS * goal.upscale, "expected": truth.rate}
        found["background_rms"] = 1e6 * background_rms(rate, truth.faint, **options)
        found["exposure_ratio"] = effective_exposure_ratio(
            rate, truth.given, truth.faint, **options
        )
    if truth.centre is not None and not goal.target_background:
        seconds = float(np.median(truth.exposure[truth.valid]))
        ratios = ring_ratios(rate, truth.rate, truth.live, truth.centre, seconds=seconds)
        found |= deviation(ratios)
    return found, seen


@functools.lru_cache(maxsize=1)
def _response() -> Callable[[np.ndarray], np.ndarray]:
    return instrument_response()


def noise_power(rate: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies [cycle/pixel of the image] and power of the noise in the faint parts of a field.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel], [s y, s x].
    truth : Truth
        Of its field; without noise.
    """
    return noise_power_spectrum(rate, truth.faint, expected=truth.rate)


def source_tables(rate: np.ndarray, truth: Truth) -> dict[str, Table]:
    """What became of the sources of a field with a catalogue.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel], [s y, s x].
    truth : Truth
        Of its field.
    """
    seen = truth.counts, truth.exposure, truth.valid
    found, points = detect(rate, *seen, threshold=CANDIDATE), truth.catalogue or {}
    return compare_sources(found, points, rate, *seen, reference=truth.sigma)


def stack_points(rate: np.ndarray, truth: Truth) -> np.ndarray:
    """Sums of the images of bright isolated sources, in rings of off-axis angle.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel], [s y, s x].
    truth : Truth
        Of its field, with a catalogue.

    Returns
    -------
    ndarray
        [ring, tangential, radial], see `xmm_jax.metrics.psf_stack.stack`; rings of `RINGS_ARCMIN`.
    """
    points: Table = truth.catalogue or {}
    upscale = rate.shape[0] // truth.counts.shape[0]
    ring = np.digitize(points["off_axis"], RINGS_ARCMIN) - 1
    chosen = [truth.alone & (ring == number) for number in range(len(RINGS_ARCMIN) - 1)]
    return np.stack(
        [stack(rate, points["x"][one], points["y"][one], upscale=upscale) for one in chosen]
    )
