"""Checks 14 to 16 of the simulator: the `physical` preset against real EPIC-pn images."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from astropy.io import fits
from rows import Row
from scipy import ndimage

from xmm_jax.instrument import camera, vignetting
from xmm_jax.instrument.background import BACKGROUNDS
from xmm_jax.instrument.calibration import load
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask
from xmm_jax.simulator import observe
from xmm_jax.simulator.agn import POPULATIONS, observed_density
from xmm_jax.simulator.poisson import draw_counts
from xmm_jax.simulator.presets import PRESETS


def check_background(fields: int = 40) -> Iterator[Row]:
    """Flat and vignetted part of blank fields, and how much is left at the edge."""
    x, y = camera.frame_axes(PN, 1)
    angle, _ = camera.off_axis(PN, x[None, :], y[:, None])
    factor, live = vignetting.vignetting_map(PN, x, y), mask(PN)
    background = jax.jit(lambda key: BACKGROUNDS["physical"](key, factor, jnp.float32(angle)))
    true, found, ratio = [], [], {"physical": [], "reference": []}
    for key in jax.random.split(jax.random.key(3), fields):
        rate = background(key)
        counts = np.asarray(draw_counts(key, rate * 50_000))
        true.append(flat_and_vignetted(np.asarray(rate, float), factor, live))
        found.append(flat_and_vignetted(counts / 50_000, factor, live))
        for name, values in ratio.items():
            image = np.asarray(BACKGROUNDS[name](key, factor, jnp.float32(angle)), float)
            values.append(image[(angle > 13.5) & (angle < 14.5)].mean() / image[angle < 1].mean())
    off = np.sum(found, axis=0) / np.sum(true, axis=0)
    yield Row(
        14, f"flat background, fitted over drawn, {fields} fields", (1.0, 0.03), float(off[0])
    )
    yield Row(
        14, f"vignetted background, fitted over drawn, {fields} fields", (1.0, 0.03), float(off[1])
    )
    flat, sky = np.median(true, axis=0)
    yield Row(
        14,
        "flat background, median [1e-6 count/s/pixel] (M51 6.2, ELAIS-S1 7.3)",
        None,
        float(flat * 1e6),
    )
    yield Row(
        14, "vignetted background, median [1e-6] (M51 6.1, ELAIS-S1 4.7)", None, float(sky * 1e6)
    )
    yield Row(
        14,
        "background at 14' over centre, median, physical",
        (0.70, 0.05),
        float(np.median(ratio["physical"])),
    )
    yield Row(
        14,
        "background at 14' over centre, reference (published files 0.33)",
        None,
        float(np.median(ratio["reference"])),
    )


def flat_and_vignetted(rate: np.ndarray, factor: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Least-squares rates of the two parts of a background."""
    design = np.stack([np.ones(live.sum()), factor[live]], axis=1)
    return np.linalg.lstsq(design, rate[live], rcond=None)[0]


def check_source_counts(fields: int = 24, exposure_s: float = 50_000.0) -> Iterator[Row]:
    """Sources found at S/N above 6 in fields without an extended source, per square degree."""
    preset = PRESETS["physical"]
    grid = jax.device_put(observe.build_optics("physical", upscale=1).counts)

    @jax.jit
    def draw(key):
        source_key, background_key, counts_key = jax.random.split(key, 3)
        points = POPULATIONS["physical"](
            source_key, PN, slots=preset.sources, ecf=preset.ecf, absorption_max=1.0
        )
        empty = jnp.zeros((2 * PN.canvas, 2 * PN.canvas))
        rate = observe.expected_sources(empty, points, grid, PN, preset, 1)
        background = observe.expected_background(background_key, grid, preset, 1)
        seen = jnp.where(grid.live, rate + background, 0.0)
        return draw_counts(counts_key, seen * exposure_s)

    flux = np.concatenate(
        [
            find_fluxes(np.asarray(draw(key)), exposure_s)
            for key in jax.random.split(jax.random.key(1), fields)
        ]
    )
    area = fields * mask(PN).sum() * (4 / 3600) ** 2
    for limit, density, error in ((5e-15, 225, 30), (1e-14, 95, 20)):
        number = float((flux > limit).sum())
        text = f"sources above {limit:g} erg/s/cm2 per square degree, found in {fields} fields"
        law = float(observed_density(np.array(limit)))
        yield Row(15, text, (density, error), number / area)
        yield Row(15, "its Poisson error", None, np.sqrt(number) / area)
        text = f"sources above {limit:g} by the law drawn from (Moretti et al. 2003)"
        yield Row(15, text, None, law)
        yield Row(15, "found over that law", None, number / area / law)
        yield Row(15, "Poisson error of the ratio", None, np.sqrt(number) / area / law)


def find_fluxes(counts: np.ndarray, exposure_s: float) -> np.ndarray:
    """Fluxes [erg/s/cm2] of peaks at S/N above 6 in circles of 20 arcsec, corrected for gaps."""
    live = mask(PN)
    x, y = camera.frame_axes(PN, 1)
    factor = vignetting.vignetting_map(PN, x, y)
    index = np.arange(-12, 13)
    radius = np.hypot(index[:, None], index[None, :])
    circle, ring = (radius <= 5.0).astype(float), ((radius > 8.0) & (radius <= 12.0)).astype(float)

    def total(image, shape):
        return ndimage.convolve(image.astype(float), shape, mode="constant")

    area = total(live, circle)
    # The median of the field's own rings, so that neighbours do not raise the level.
    near = total(counts, ring) / np.maximum(total(live, ring), 1)
    level = ndimage.median_filter(near, 25)
    net = total(counts, circle) - level * area
    significance = net / np.sqrt(np.maximum(total(counts, circle), 1))
    smooth = ndimage.gaussian_filter(counts.astype(float), 1.5)
    peak = (smooth == ndimage.maximum_filter(smooth, 9)) & (significance > 6) & live
    peak &= area > 0.5 * circle.sum()
    share = 0.72 * area[peak] / circle.sum()
    return net[peak] / (share * factor[peak] * exposure_s * PRESETS["physical"].ecf)


def check_columns(root: Path) -> Iterator[Row]:
    """Response of weak columns: a flat field through the detector, and four real images."""
    grid = observe.build_optics("physical", upscale=1).counts
    flat = np.asarray(observe.detect(jnp.ones(PN.shape), grid, PN, PRESETS["physical"]), float)
    weak = load("pn")["weak_columns"]
    images = [fits.getdata(path).astype(float) for path in sorted(root.glob("full/*.fits*"))]
    worst, off = 0.0, []
    for half, rows in (("lower", np.s_[30:190]), ("upper", np.s_[220:380])):
        sound = sound_columns(half)
        for column, factor in weak[half].items():
            profile = response(flat[rows].sum(axis=0), int(column), sound)
            worst = max(worst, abs(profile - factor))
            profiles = [response(image[rows].sum(axis=0), int(column), sound) for image in images]
            off.append(np.median(profiles) - factor)
    yield Row(16, "flat field, worst column against the table", "<= 0.05", worst)
    yield Row(
        16,
        f"table against {len(images)} real images, median difference",
        None,
        float(np.median(off)),
    )
    yield Row(
        16,
        f"table against {len(images)} real images, rms",
        None,
        float(np.sqrt(np.mean(np.square(off)))),
    )


def sound_columns(half: str) -> np.ndarray:
    """Columns of a half that are neither dead nor weak."""
    numbers = load("pn")
    sound = np.ones(PN.shape[1], bool)
    for start, stop in numbers["dead_columns"][half]:
        sound[start : stop + 1] = False
    sound[[int(column) for column in numbers["weak_columns"][half]]] = False
    return sound


def response(profile: np.ndarray, column: int, sound: np.ndarray) -> float:
    """A column over the four sound columns nearest to it on either side."""
    columns = np.flatnonzero(sound)
    left, right = columns[columns < column][-4:], columns[columns > column][:4]
    return float(profile[column] / np.mean([profile[left].mean(), profile[right].mean()]))
