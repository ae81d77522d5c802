"""Detection on images whose sources, noise or gaps are known in closed form."""

import dataclasses

import numpy as np
import pytest
from scipy.special import erf
from scipy.stats import poisson

from xmm_jax.instrument.camera import PN
from xmm_jax.metrics import detection
from xmm_jax.metrics.detection import detect, matched_filter, significance, smooth

SHAPE, EXPOSURE = (90, 120), 20_000.0


def gaussian(x, y, sigma, upscale, shape=SHAPE):
    """Gaussian of sum 1 and sigma [arcsec] at native pixel (x, y), integrated over the pixels."""
    size = 4.0 / upscale

    def shares(place, number):
        edges = (np.arange(number * upscale + 1) * size - 2.0 - 4.0 * place) / sigma
        return np.diff(0.5 * (1 + erf(edges / np.sqrt(2))))

    return np.outer(shares(y, shape[0]), shares(x, shape[1]))


def observation(level=0.25, shape=SHAPE):
    return np.full(shape, level), np.full(shape, EXPOSURE), np.ones(shape, bool)


def test_significance_is_the_poisson_likelihood_ratio():
    for expected, seen in ((0.5, 6), (10.0, 25), (3.0, 4)):
        ratio = poisson.logpmf(seen, seen) - poisson.logpmf(seen, expected)
        found = significance(np.array(expected), np.array(seen - expected))
        assert found == pytest.approx(np.sqrt(2 * ratio), rel=1e-6)
    assert significance(np.array(1e8), np.array(3e4)) == pytest.approx(3.0, rel=1e-3)
    assert significance(np.array(5.0), np.array(-1.0)) == 0


def test_smoothing_leaves_dead_pixels_out():
    live = np.random.default_rng(0).random((30, 40)) < 0.7
    np.testing.assert_allclose(smooth(np.where(live, 7.0, np.nan), live, 2.0)[live], 7.0, rtol=1e-5)
    assert not smooth(np.ones((30, 40)), live, 2.0)[~live].any()


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("offset", [0.0, 3e-6])
def test_gaussian_sources_on_a_flat_field(upscale, offset):
    sigma, places, fluxes = 4.0, [(20.3, 30.0), (60.0, 55.7), (101.25, 18.5)], [0.002, 0.004, 0.01]
    rate = sum(f * gaussian(*p, sigma, upscale) for p, f in zip(places[::1], fluxes, strict=True))
    found = detect(rate + offset, *observation())
    assert len(found["x"]) == 3
    assert np.all(np.diff(found["significance"]) < 0)
    # Gaussian under a Gaussian: 2 k^2 / (k^2 + s^2), less the part that stands in the surroundings
    # and what the maximum loses by not lying on the centre of a pixel. The pixel widens s.
    kernel, ring, size = detection.KERNEL_ARCSEC, detection.RING_ARCSEC, 4.0 / upscale
    width = kernel**2 + sigma**2 + size**2 / 12
    share = 2 * kernel**2 / width - 2 * kernel**2 / (ring**2 + sigma**2)
    for place, flux, x, y, seen, certain in zip(
        places[::-1], fluxes[::-1], *found.values(), strict=True
    ):
        assert (x, y) == pytest.approx(place, abs=0.03)
        offset = [abs((at + 0.5) * upscale % 1 - 0.5) * size for at in place]
        excess = flux * share * np.exp(-0.5 * np.hypot(*offset) ** 2 / width)
        assert seen == pytest.approx(excess, rel=0.02)
        # The filter takes in 4 pi sigma^2 = 4 pi native pixels of 0.25 counts.
        expected = significance(np.array(np.pi), np.array(excess * EXPOSURE))
        assert certain == pytest.approx(expected, rel=0.02)


def test_two_gaussians_part_beyond_two_sigma():
    # Their sum has one maximum up to a separation of 2 sigma; the smoothing by 1 arcsec adds.
    sigma = 2.0
    total = np.sqrt(sigma**2 + detection.FINE_ARCSEC**2)
    for apart, number in ((0.0, 1), (1.9, 1), (2.8, 2), (4.0, 2)):
        half = apart * total / 8.0
        rate = sum(0.01 * gaussian(60.2 + side * half, 40.1, sigma, 2) for side in (-1, 1))
        found = detect(rate, *observation())
        assert len(found["x"]) == number, apart
        if number == 2:
            assert sorted(found["x"]) == pytest.approx([60.2 - half, 60.2 + half], abs=0.3)
            np.testing.assert_allclose(found["y"], 40.1, atol=0.05)


def test_maxima_of_a_poisson_field_are_as_many_as_theory_says():
    """Peaks of a Gaussian field (Adler 1981, The Geometry of Random Fields; two dimensions).

    Per area there are u exp(-u^2 / 2) / (2 pi)^1.5 L maxima above a high level u, with L the mean
    square slope along an axis of a field of unit variance: 1 / (2 s^2) for white noise under a
    Gaussian of width s. The ring takes a part of the variance away. Pixels are small here, so that
    a maximum is not much higher than the pixel under it.
    """
    camera = dataclasses.replace(PN, pixel_arcsec=1.6)
    rng, shape, levels = np.random.default_rng(3), (400, 500), np.array([3.0, 3.4])
    peaks, detected = [], []
    for _ in range(6):
        counts = rng.poisson(400.0, shape)
        args = (counts / EXPOSURE, counts, np.full(shape, EXPOSURE), np.ones(shape, bool))
        sigma = matched_filter(*args, camera=camera).sigma
        peaks.append([len(detection._maxima(sigma, sigma > u)[0]) for u in levels])
        detected.append([len(detect(*args, threshold=u, camera=camera)["x"]) for u in levels])
    ratio = (detection.RING_ARCSEC / detection.KERNEL_ARCSEC) ** 2
    part = 1 - 4 / (1 + ratio) + 1 / ratio
    u = levels / np.sqrt(part)
    theory = np.prod(shape) * u * np.exp(-(u**2) / 2) / (2 * np.pi) ** 1.5
    theory /= 2 * part * (detection.KERNEL_ARCSEC / camera.pixel_arcsec) ** 2
    np.testing.assert_allclose(np.mean(peaks, axis=0), theory, rtol=0.25)
    # Detection wants a maximum at a finer scale there too, and a dip between neighbours.
    share = np.mean(detected, axis=0) / theory
    assert np.all((share > 0.2) & (share < 1.0))


def test_a_gap_splits_no_source_and_nothing_is_found_on_a_flat_field():
    counts, exposure, valid = observation()
    valid[:, 58:60] = False
    valid[40:45, :30] = False
    flat = np.where(valid, 1e-5, 0.0).repeat(2, 0).repeat(2, 1) / 4
    assert not len(detect(flat, counts, exposure, valid, threshold=0.5)["x"])
    source = 0.02 * gaussian(56.0, 50.0, 4.0, 2) * valid.repeat(2, 0).repeat(2, 1)
    found = detect(flat + source, counts, exposure, valid)
    assert len(found["x"]) == 1
    assert (found["x"][0], found["y"][0]) == pytest.approx((56.0, 50.0), abs=0.5)


def test_an_empty_observation_holds_nothing():
    shape = (12, 14)
    found = detect(np.zeros((24, 28)), np.zeros(shape), np.zeros(shape), np.zeros(shape, bool))
    assert all(len(column) == 0 for column in found.values())
