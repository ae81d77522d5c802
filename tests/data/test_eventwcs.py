import numpy as np
import pytest

from xmm_jax.data.events import SkyPlane
from xmm_jax.data.eventwcs import fit_wcs, sky_plane_deg

SCALE = 4 / 3600
CENTRE = (149.6, -11.09)


def observed(n, *, jitter=0.1, seed=0, roll=33.0, shift=(0.0, 0.0), spread=400):
    """Pixels and tangent plane of `n` events, and the map between them."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(roll)
    matrix = SCALE * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pixel = rng.uniform(0, spread, (n, 2))
    offset = np.array([-0.21, 0.13]) + np.array(shift) / 3600
    noise = rng.normal(0, jitter / 3600, (n, 2))
    return pixel, pixel @ matrix.T + offset + noise, matrix, offset


def corner_error(fit, matrix, offset):
    """Largest error at the corners of a field of 400 pixels [arcsec]."""
    corners = np.array([[0, 0], [400, 0], [0, 400], [400, 400]], float)
    there = (corners + 1 - fit.wcs.wcs.crpix) @ fit.wcs.wcs.cd.T
    return 3600 * np.hypot(*(there - corners @ matrix.T - offset).T).max()


@pytest.mark.parametrize(
    ("events", "error"), [(12, 0.25), (49, 0.12), (100, 0.15), (1000, 0.05), (10_000, 0.015)]
)
def test_fit_is_as_good_as_the_jitter_allows(events, error):
    """Corner errors on real MOS lists: 0.05, 0.016, 0.004 arcsec (1 sigma) of 100 ... 10,000."""
    pixel, plane, matrix, offset = observed(events)
    fit = fit_wcs(pixel, plane, centre=CENTRE, scale_deg=SCALE)
    assert fit.note == ""
    assert fit.events == events
    assert fit.rms_arcsec == pytest.approx(0.1, rel=0.35 if events < 100 else 0.1)
    assert corner_error(fit, matrix, offset) < error
    assert np.linalg.det(fit.wcs.wcs.cd) > 0


def test_positions_on_the_sky():
    pixel, plane, matrix, offset = observed(500, jitter=0)
    fit = fit_wcs(pixel, plane, centre=CENTRE, scale_deg=SCALE)
    # The point of contact is where the plane is at zero, pixels count from 0.
    zero = -np.linalg.solve(matrix, offset)
    np.testing.assert_allclose(fit.wcs.wcs_pix2world([zero], 0)[0], CENTRE, atol=1e-9)
    # A short way north of it, declination grows by that much.
    north = zero + np.linalg.solve(matrix, [0, 0.01])
    np.testing.assert_allclose(
        fit.wcs.wcs_pix2world([north], 0)[0], [CENTRE[0], CENTRE[1] + 0.01], atol=1e-7
    )
    east = zero + np.linalg.solve(matrix, [0.01, 0])
    assert fit.wcs.wcs_pix2world([east], 0)[0][0] > CENTRE[0]
    assert fit.wcs.wcs.radesys == "FK5"
    assert fit.wcs.wcs.equinox == 2000


def test_stray_events_are_clipped_once():
    pixel, plane, matrix, offset = observed(2000)
    plane[::100] += 20 / 3600
    fit = fit_wcs(pixel, plane, centre=CENTRE, scale_deg=SCALE)
    assert fit.events == 1980
    assert corner_error(fit, matrix, offset) < 0.03


def test_a_camera_that_moved_is_said_and_one_that_moved_far_has_no_wcs():
    pixel, plane, *_ = observed(1000, jitter=1.6)
    fit = fit_wcs(pixel, plane, centre=CENTRE, scale_deg=SCALE)
    assert "1.6 arcsec" in fit.note
    assert fit.wcs is not None
    plane[500:] += 60 / 3600
    fit = fit_wcs(pixel, plane, centre=CENTRE, scale_deg=SCALE)
    assert "no" in fit.note
    assert fit.wcs is None
    assert fit.rms_arcsec == pytest.approx(30, rel=0.05)


def test_too_little_to_fit():
    pixel, plane, *_ = observed(9)
    assert fit_wcs(pixel, plane, centre=CENTRE, scale_deg=SCALE).wcs is None
    pixel, plane, *_ = observed(40, jitter=0.15, spread=1e-3)  # all in one place
    fit = fit_wcs(pixel, plane, centre=CENTRE, scale_deg=SCALE)
    assert fit.wcs is None
    assert "span" in fit.note
    same = np.zeros((60, 2))
    assert fit_wcs(same, same, centre=CENTRE, scale_deg=SCALE).wcs is None
    assert fit_wcs(same[:0], same[:0], centre=CENTRE, scale_deg=SCALE).events == 0


def test_null_is_unknown_and_beyond_the_legal_range_is_real():
    sky = SkyPlane(CENTRE, (25921.0, 25921.0), (-1 / 72000, 1 / 72000), (-99999999, -99999999))
    x = np.array([25921, -99999999, 60000, 25921], np.int32)
    y = np.array([25921, 25921, -500, -99999999], np.int32)
    plane, known = sky_plane_deg(x, y, sky)
    np.testing.assert_array_equal(known, [True, False, True, False])
    np.testing.assert_allclose(plane[0], 0)
    np.testing.assert_allclose(plane[2], [-(60000 - 25921) / 72000, (-500 - 25921) / 72000])
    open_ended = SkyPlane(CENTRE, (0.0, 0.0), (1.0, 1.0), (None, None))
    assert sky_plane_deg(x, y, open_ended)[1].all()
