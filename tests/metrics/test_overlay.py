"""Images of two telescopes on one grid."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax.errors import InputError
from xmm_jax.metrics.overlay import LARGEST, draw_overlay, find_view, resample


def _wcs(pixel_arcsec, turn_deg, centre, pixel):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = centre
    wcs.wcs.crpix = pixel
    angle = np.deg2rad(turn_deg)
    turn = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn * pixel_arcsec / 3600
    return wcs


XMM = _wcs(4.0, 37.0, (150.0, 2.0), (60.0, 50.0))
CHANDRA = _wcs(0.492, 0.0, (150.01, 2.005), (512.5, 480.5))


def _source(wcs, shape, sky, sigma_arcsec):
    rows, columns = np.indices(shape, float)
    ra, dec = wcs.wcs_pix2world(columns, rows, 0)
    east = (ra - sky[0]) * np.cos(np.deg2rad(sky[1]))
    return np.exp(-0.5 * ((east**2 + (dec - sky[1]) ** 2) * 3600**2 / sigma_arcsec**2))


def test_one_sky_on_two_grids():
    """A source sampled on one grid lies where it lies on the other."""
    sky = (150.004, 2.009)
    ours = _source(XMM, (110, 120), sky, 12.0)
    view, shape = find_view(CHANDRA.to_header(), (1000, 1024))
    assert max(shape) <= LARGEST
    expected = _source(view, shape, sky, 12.0)
    seen = resample(ours, XMM, view, shape)
    live = np.isfinite(seen)
    assert live.mean() > 0.5
    # Linear interpolation between pixels of a third of sigma.
    np.testing.assert_allclose(seen[live], expected[live], atol=0.03)


def test_the_view_covers_the_middle_of_a_large_image():
    view, shape = find_view(CHANDRA.to_header(), (4000, 4000))
    scale = 60 * np.sqrt(abs(np.linalg.det(view.pixel_scale_matrix)))
    assert max(shape) * scale == pytest.approx(10.0, rel=0.02)
    middle = view.wcs_pix2world([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]], 0)[0]
    expected = CHANDRA.wcs_pix2world([[1999.5, 1999.5]], 0)[0]
    assert np.abs(middle - expected).max() * 3600 < 2


@pytest.fixture
def chandra(tmp_path):
    path = tmp_path / "chandra.fits"
    image = _source(CHANDRA, (600, 700), (150.004, 2.009), 2.0).astype(np.float32)
    fits.PrimaryHDU(image, CHANDRA.to_header()).writeto(path)
    return path


def test_drawn(chandra):
    pytest.importorskip("matplotlib")
    fine = np.repeat(np.repeat(_source(XMM, (110, 120), (150.004, 2.009), 8.0), 2, 0), 2, 1)
    picture = draw_overlay({"input": fine[::2, ::2], "sharper": fine}, XMM, chandra)
    assert picture.startswith("<svg")


def test_another_part_of_the_sky(chandra):
    elsewhere = _wcs(4.0, 0.0, (10.0, -40.0), (60.0, 50.0))
    with pytest.raises(InputError, match="another part of the sky"):
        draw_overlay({"input": np.ones((110, 120))}, elsewhere, chandra)


def test_no_sky_coordinates(tmp_path):
    path = tmp_path / "plain.fits"
    fits.PrimaryHDU(np.ones((20, 20), np.float32)).writeto(path)
    with pytest.raises(InputError, match="no sky coordinates"):
        draw_overlay({"input": np.ones((110, 120))}, XMM, path)
