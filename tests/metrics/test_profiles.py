"""Rings about an extended source."""

import numpy as np
import pytest

from xmm_jax.instrument.camera import PN, from_native
from xmm_jax.metrics.profiles import EDGES_ARCSEC, deviation, ring_ratios

CENTRE = 180.3, 220.7


@pytest.fixture(params=[1, 2])
def cluster(request):
    """A beta model [count/s/pixel] and a distance map [arcsec]."""
    s = request.param
    x, y = (from_native(axis, s) for axis in CENTRE)
    rows, columns = np.mgrid[: s * PN.shape[0], : s * PN.shape[1]]
    apart = np.hypot(rows - y, columns - x) * PN.pixel_arcsec / s
    return 1e-3 / s**2 * (1 + (apart / 30) ** 2) ** -1.5, apart


def test_a_factor_in_every_ring(cluster):
    truth, apart = cluster
    factors = np.array([0.5, 0.9, 1.0, 1.1, 1.2, 1.4])
    ring = np.digitize(apart, EDGES_ARCSEC) - 1
    image = truth * np.append(factors, 7.0)[ring]
    live = np.ones(truth.shape, bool)
    live[:, ::5] = False
    image[~live] = 99.0  # does not count
    ratios = ring_ratios(image, truth, live, CENTRE, seconds=2e4)
    np.testing.assert_allclose(ratios, factors, rtol=1e-6)
    found = deviation(ratios)
    assert found["profile_bias"] == pytest.approx(np.mean(factors - 1))
    assert found["profile_error"] == pytest.approx(np.mean(np.abs(factors - 1)))


def test_rings_that_are_too_faint_say_nothing(cluster):
    truth, _ = cluster
    live = np.ones(truth.shape, bool)
    s = truth.shape[0] // PN.shape[0]
    rings = np.pi * np.diff(EDGES_ARCSEC**2) / (PN.pixel_arcsec / s) ** 2
    flat = np.full(truth.shape, 1e-6 / s**2)
    ratios = ring_ratios(flat, flat, live, CENTRE, seconds=2e4)
    expected = 1e-6 / s**2 * rings * 2e4 >= 100
    assert expected.any()
    assert not expected.all()
    np.testing.assert_array_equal(np.isfinite(ratios), expected)
    nothing = deviation(ring_ratios(0 * flat, 0 * flat, live, CENTRE, seconds=2e4))
    assert np.isnan(nothing["profile_bias"])
