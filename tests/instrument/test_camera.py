import numpy as np
import pytest

from xmm_jax.instrument import camera
from xmm_jax.instrument.camera import PN


@pytest.mark.parametrize("upscale", [1, 2, 3])
def test_fine_pixels_tile_the_native_pixel(upscale):
    # The fine pixels of native pixel i are i * m ... i * m + m - 1; their mean position is i.
    for native in (0, 7, 402):
        fine = native * upscale + np.arange(upscale)
        assert np.mean(camera.to_native(fine, upscale)) == pytest.approx(native)
        assert camera.from_native(camera.to_native(fine, upscale), upscale) == pytest.approx(fine)


def test_optical_axis_of_the_published_headers():
    # CRPIX (1-based) of the published 1x, 2x and 4x files: 244 224, 487.5 447.5, 974.5 894.5.
    for upscale, reference in ((1, (244, 224)), (2, (487.5, 447.5)), (4, (974.5, 894.5))):
        assert [camera.from_native(axis, upscale) + 1 for axis in PN.axis] == list(reference)


def test_frames_and_canvases_are_registered():
    for upscale in (1, 2):
        frame, canvas = camera.frame_axes(PN, upscale), camera.canvas_axes(PN, upscale)
        image = canvas[0][None, :] + 1000.0 * canvas[1][:, None]
        cut = camera.crop_canvas(PN, image, upscale)
        assert cut.shape == (411 * upscale, 403 * upscale)
        np.testing.assert_allclose(cut, frame[0][None, :] + 1000.0 * frame[1][:, None])


def test_margins_of_the_canvas_hold_the_kernel():
    # Light of a live pixel must not come back from the other side of the canvas (31 x 31 kernel).
    reach = 15
    first, last = PN.live_rows
    assert first + PN.canvas_low[1] + PN.canvas - (last + PN.canvas_low[1]) > 2 * reach


def test_off_axis_angle_and_azimuth():
    angle, azimuth = camera.off_axis(PN, np.array([243.0 + 45.0]), np.array([223.0 - 45.0]))
    assert angle == pytest.approx(45 * np.sqrt(2) * 4 / 60)
    assert azimuth == pytest.approx(-np.pi / 4)


def test_detector_coordinates_of_the_target_position():
    # DETX = DETY = 0, the nominal target, lies at pixel (228.04, 218.59) of the real images.
    x, y = (-origin / PN.det_step for origin in PN.det_origin)
    assert (x, y) == pytest.approx((228.04, 218.59), abs=0.01)
