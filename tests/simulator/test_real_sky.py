"""Simulated blank fields put through what real fields were put through: fit and source counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, signal

from xmm_jax.instrument import detector
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import agn, observe
from xmm_jax.simulator.poisson import draw_counts
from xmm_jax.simulator.presets import PRESETS

PHYSICAL = PRESETS["physical"]
EXPOSURE = 68_000.0
FIELDS = 16
SOUND = detector.mask(PN) & (detector.pixel_response(PN) == 1)
OFFSET = np.hypot(*np.mgrid[-5:6, -5:6])
DISC = (OFFSET <= 5).astype(float)  # aperture of 20 arcsec


def total(image):
    return signal.fftconvolve(image, DISC, mode="same")


@functools.cache
def optics():
    return observe.build_optics("physical", upscale=1)


@jax.jit
def draw(key, grid):
    """Counts of unabsorbed point sources and background, and the background alone."""
    point_key, background_key, counts_key = jax.random.split(key, 3)
    points = agn.draw_observed(
        point_key, PN, slots=PHYSICAL.sources, ecf=PHYSICAL.ecf, absorption_max=1.0
    )
    dark = jnp.zeros((2 * PN.canvas, 2 * PN.canvas))
    sources = observe.expected_sources(dark, points, grid, PN, PHYSICAL, 1)
    background = observe.expected_background(background_key, grid, PHYSICAL, 1)
    rate = observe.detect(sources + background, grid, PN, PHYSICAL)
    return draw_counts(counts_key, rate * EXPOSURE), background, points


def fit_background(counts, use, vignetting):
    """Flat and vignetted rate [count/s/pixel] of the most likely sum of the two."""
    design = np.stack([np.ones(use.sum()), vignetting[use]], axis=1)
    weight, level = np.ones(len(design)), np.zeros(2)
    for _ in range(4):
        weighted = design.T * weight
        level = np.linalg.solve(weighted @ design, weighted @ (counts[use] / EXPOSURE))
        weight = 1 / (design @ level)
    return level


def measure(counts, vignetting):
    """Background of a field and flux of its sources above six sigma."""
    counts = counts * SOUND.astype(float)
    pixels = np.maximum(total(SOUND), 1.0)
    use, apertures = SOUND, total(counts)
    for _ in range(4):
        flat, vignetted = fit_background(counts, use, vignetting)
        expected = total((flat + vignetted * vignetting) * EXPOSURE * SOUND)
        bright = apertures - expected > 4 * np.sqrt(np.maximum(expected, 0.1))
        use = SOUND & ~ndimage.binary_dilation(bright, iterations=5)
    net = apertures - expected
    smooth = ndimage.gaussian_filter(counts, 1.5)
    usable = SOUND & (pixels > 0.5 * DISC.sum())
    peak = (smooth == ndimage.maximum_filter(smooth, 9)) & usable
    rows, columns = np.nonzero(peak & (net > 6 * np.sqrt(np.maximum(apertures, 1.0))))
    kept = []
    for row, column in sorted(zip(rows, columns, strict=True), key=lambda at: -net[at]):
        if all(np.hypot(row - r, column - c) > 8 for r, c in kept):
            kept.append((row, column))
    at = tuple(np.transpose(kept))
    rate = net[at] * DISC.sum() / pixels[at] / EXPOSURE
    return (flat, vignetted), rate / vignetting[at] / PHYSICAL.ecf, usable


@functools.cache
def fields():
    grid = optics().counts
    shape = grid.vignetting.ravel().astype(float)
    design = np.stack([np.ones_like(shape), shape], axis=1)
    found = []
    for key in jax.random.split(jax.random.key(5), FIELDS):
        counts, background, points = jax.device_get(draw(key, grid))
        fitted, flux, usable = measure(counts, grid.vignetting)
        drawn = np.linalg.lstsq(design, background.ravel().astype(float), rcond=None)[0]
        x, y, rate = points
        column, row = np.round(x).astype(int), np.round(y).astype(int)
        inside = (column >= 0) & (column < 403) & (row >= 0) & (row < 411)
        inside &= usable[np.clip(row, 0, 410), np.clip(column, 0, 402)]
        found.append((fitted, drawn, flux, rate[inside] / PHYSICAL.ecf, usable.sum()))
    return found


def test_fit_of_a_blank_field_returns_its_background():
    fitted, drawn = (np.array([field[i] for field in fields()]) for i in (0, 1))
    flat, vignetted = (fitted / drawn).mean(axis=0)
    assert flat == pytest.approx(1.0, abs=0.03)
    # Real fits have the light of unmasked sources in the vignetted part: 5.5e-6 instead of 5.1e-6.
    assert vignetted * 5.1 == pytest.approx(5.5, rel=0.03)


def test_edge_over_centre_of_a_quiet_field():
    fitted = np.array([field[0] for field in fields()])
    ratio = (fitted[:, 0] + 0.3582 * fitted[:, 1]) / fitted.sum(axis=1)  # at 14 arcmin
    assert 0.65 < np.median(ratio) < 0.75


def test_sources_found_in_blank_fields():
    area = sum(field[4] for field in fields()) * (PN.pixel_arcsec / 3600) ** 2
    enclosed = 0.82  # of the light of our PSF in 20 arcsec
    flux = np.concatenate([field[2] for field in fields()]) / enclosed
    drawn = np.concatenate([field[3] for field in fields()])
    for limit in (5e-15, 1e-14, 2e-14):
        found, true = (flux > limit).sum(), (drawn > limit).sum()
        # Merged and scattered sources: a tenth, and their own Poisson error.
        assert found == pytest.approx(true, abs=0.1 * true + 2 * np.sqrt(0.2 * true))
    # Counted in real fields of ELAIS-S1 and M51.
    assert (flux > 5e-15).sum() / area == pytest.approx(225, abs=30)
