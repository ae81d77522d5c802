"""Counts within 15" and their bounds, on images of known sums."""

import numpy as np
import pytest
from scipy.special import ndtri

from xmm_jax.aperture import counts_within, disc
from xmm_jax.calibrate import APERTURE_BINS, apertures
from xmm_jax.coverage import Points
from xmm_jax.instrument.camera import PN, angle_map
from xmm_jax.instrument.detector import mask
from xmm_jax.models.intervals import LEVELS, Intervals

EXPOSURE_S, RATE = 20_000.0, 2e-5
PLACES = np.array([150.2, 300.0]), np.array([300.0, 119.6])


def normal_law():
    """Bounds as of a normal distribution of the stated width, wider for angles over 8'."""
    angles, *rest = APERTURE_BINS.shape
    table = np.zeros((angles + 1, *rest, len(LEVELS))) + ndtri(LEVELS)
    table[1] *= 2
    return Intervals(APERTURE_BINS, LEVELS, table, fields=9)


@pytest.fixture(params=[1, 2])
def field(request):
    s = request.param
    live = np.ones(PN.shape, bool)
    live[:, 380:] = False
    exposure = np.where(live, EXPOSURE_S, 0.0)
    return s, np.full([s * side for side in PN.shape], RATE / s**2), exposure, live


def test_sum_and_bounds_of_a_flat_image(field):
    s, rate, exposure, live = field
    found = counts_within(rate, exposure, live, tuple(s * axis for axis in PLACES), normal_law())
    expected = RATE / s**2 * EXPOSURE_S * disc(s).sum()
    np.testing.assert_allclose(found["aperture"], expected, rtol=1e-5)
    # pi (15"/4")^2 pixels of the input, but for the raster.
    np.testing.assert_allclose(expected, RATE * EXPOSURE_S * np.pi * (15 / 4) ** 2, rtol=0.05)
    row, column = (np.rint(axis).astype(int) for axis in PLACES[::-1])
    wide = 1 + (angle_map(PN, 1)[row, column] > 8)
    assert set(wide) == {1, 2}
    for name, sign in (("aperture_lo", -1), ("aperture_hi", 1)):
        end = np.sqrt(expected) + sign * wide * 0.5 * ndtri(0.84)
        np.testing.assert_allclose(found[name], np.maximum(end, 0) ** 2, rtol=1e-5)


def test_an_aperture_in_the_dark_says_nothing(field):
    s, rate, exposure, live = field
    x, y = np.array([381.0, 395.0, -0.4, 378.0]), np.full(4, 200.0)
    found = counts_within(rate, exposure, live, (s * x, s * y), normal_law())
    # Beyond the end of what is live; all dead; on the edge of the frame; most of it live.
    np.testing.assert_array_equal(np.isnan(found["aperture"]), [True, True, False, False])
    whole = RATE / s**2 * EXPOSURE_S * disc(s).sum()
    assert (found["aperture"][2:] < 0.9 * whole).all()
    np.testing.assert_array_equal(np.isnan(found["aperture_lo"]), np.isnan(found["aperture"]))


@pytest.mark.parametrize("s", [1, 2])
def test_what_is_measured_is_what_was_calibrated(s):
    live = mask(PN)
    exposure = np.where(live, EXPOSURE_S, 0.0)
    y, x = np.mgrid[: s * PN.shape[0], : s * PN.shape[1]] / s
    counts = 0.1 + 9 * np.exp(-(np.hypot(x - 150, y - 300) ** 2) / 8)
    fine, shown = (image.repeat(s, 0).repeat(s, 1) for image in (exposure, live))
    u = np.where(shown, np.sqrt(counts), 0.0)
    seen = Points(u, u, np.ones_like(u), fine, angle_map(PN, s))
    calibrated = apertures(seen, shown, s)
    peak = np.array([150.0 * s]), np.array([300.0 * s])
    rate = np.where(shown, u**2 / s**2 / EXPOSURE_S, 0.0)
    measured = counts_within(rate, exposure, live, peak, normal_law())
    np.testing.assert_allclose(measured["aperture"], calibrated.u.max() ** 2, rtol=1e-4)


def test_a_frame_of_another_size_takes_the_law_of_all_angles():
    square = np.ones((60, 60))
    place = np.array([30.0]), np.array([30.0])
    found = counts_within(square, square, square > 0, place, normal_law())
    end = (np.sqrt(found["aperture"]) + 0.5 * ndtri(0.84)) ** 2
    np.testing.assert_allclose(found["aperture_hi"], end, rtol=1e-5)
