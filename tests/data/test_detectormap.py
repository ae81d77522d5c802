import numpy as np
import pytest
from pps import det_of_chip

from xmm_jax.data.binning import detector_grid
from xmm_jax.data.detectormap import (
    RawMoments,
    dead_pixels,
    exposure_image,
    live_pixels,
    pixel_axes,
)
from xmm_jax.data.exposure import ccd_numbers
from xmm_jax.instrument.camera import PN, frame_axes
from xmm_jax.instrument.detector import mask
from xmm_jax.instrument.vignetting import table


def events(ccd, n=3000, seed=1):
    rng = np.random.default_rng(seed)
    rawx, rawy = rng.integers(1, 65, n), rng.integers(13, 201, n)
    det = np.rint(det_of_chip(np.full(n, ccd), rawx, rawy) + rng.uniform(-41, 41, (n, 2)))
    names = ("ccdnr", "rawx", "rawy", "detx", "dety")
    return dict(zip(names, np.array([np.full(n, ccd), rawx, rawy, *det.T], int), strict=True))


def located(*ccds):
    moments = RawMoments()
    for ccd in ccds:
        moments.add(events(ccd))
    return moments.maps()


@pytest.mark.parametrize("ccd", [1, 4, 9, 12])
def test_events_tell_where_a_ccd_lies(ccd):
    linear = located(ccd)[ccd]
    for raw in ((1, 13), (64, 200), (32, 100)):
        there = linear[0] + raw[0] * linear[1] + raw[1] * linear[2]
        np.testing.assert_allclose(there, det_of_chip(ccd, *raw), atol=6)  # jitter 24 / sqrt(n)
    step = np.abs(np.diag(linear[1:]))
    np.testing.assert_allclose(step, 82.5, atol=0.1)


def test_few_events_tell_nothing():
    moments = RawMoments()
    moments.add(events(3, n=99))
    same = {name: np.repeat(values[:1], 500) for name, values in events(5).items()}
    moments.add(same)
    assert moments.maps() == {}


def test_sums_do_not_depend_on_order_or_pieces():
    rows = events(4)
    whole, parts = RawMoments(), RawMoments()
    whole.add(rows)
    shuffled = np.random.default_rng(0).permutation(3000)
    for piece in np.array_split(shuffled, 7):
        parts.add({name: values[piece] for name, values in rows.items()})
    np.testing.assert_array_equal(whole.maps()[4], parts.maps()[4])


def test_bad_pixels_and_their_neighbours_are_dead():
    """A hot pixel of CCD 4 and the rest of a column of CCD 9, where the chips of pn lie."""
    bad = {
        4: np.array([[20, 100, 1, 1]]),
        9: np.array([[30, 50, 100, 3]]),
        7: np.array([[9, 9, 1, 1]]),  # of a CCD without events: not placed
    }
    grid = detector_grid()
    dead = {ccd: dead_pixels(table) for ccd, table in bad.items()}
    gone = mask(PN, 1) & ~live_pixels(grid, located(4, 9), dead)
    y, x = np.nonzero(gone)
    det = np.stack([x, y], axis=1) * 80 + np.array(grid.first_centre)
    half = 1.5 * 82.5 + 6
    hot = det_of_chip(4, 20, 100)
    low, high = det_of_chip(9, 30, 50), det_of_chip(9, 30, 149)
    at_hot = (np.abs(det - hot) <= half).all(axis=1)
    across = np.abs(det[:, 0] - low[0]) <= half
    along = (det[:, 1] >= min(low[1], high[1]) - half) & (det[:, 1] <= max(low[1], high[1]) + half)
    assert (at_hot | (across & along)).all()
    assert 8 <= at_hot.sum() <= 12  # 3 x 3 CCD pixels are 9.6 image pixels
    width, length = 3 * 82.5 / 80, 102 * 82.5 / 80  # 3.1 pixels: three or four centres in it
    assert int(width) * (length - 6) < (across & along).sum() < (int(width) + 1) * (length + 1)


def test_a_window_is_where_its_events_are():
    """The small window: 63 x 64 pixels of CCD 4 (XMM-Newton Users' Handbook)."""
    rows = events(4, 60_000)
    inside = (rows["rawy"] >= 137) & (rows["rawx"] <= 63)
    rows = {name: values[inside] for name, values in rows.items()}
    moments = RawMoments()
    moments.add(rows)
    unread = moments.unread()
    assert unread[4].sum() == unread[4].size - 63 * 64
    assert unread[7].all()
    grid = detector_grid()
    live = live_pixels(grid, moments.maps(), unread)
    y, x = np.nonzero(live)
    det = np.stack([x, y], axis=1) * 80 + np.array(grid.first_centre)
    corners = [det_of_chip(4, 63, 200), det_of_chip(4, 1, 137)]
    assert (det >= np.min(corners, axis=0) - 50).all()
    assert (det <= np.max(corners, axis=0) + 50).all()
    assert 0.8 * 63 * 64 < live.sum() < 1.1 * 63 * 64


def test_without_bad_pixels_it_is_the_packaged_mask():
    for bin_size, upscale in ((80, 1), (40, 2), (20, 4)):
        live = live_pixels(detector_grid(bin_size), {}, {})
        np.testing.assert_array_equal(live, mask(PN, upscale))


def test_axes_are_those_of_the_camera():
    for bin_size, upscale in ((80, 1), (40, 2)):
        for mine, truth in zip(
            pixel_axes(detector_grid(bin_size)), frame_axes(PN, upscale), strict=True
        ):
            np.testing.assert_allclose(mine, truth, atol=1e-12)


@pytest.mark.parametrize("bin_size", [80, 40, 77])
def test_exposure_is_the_time_of_the_ccd(bin_size):
    grid = detector_grid(bin_size)
    live = live_pixels(grid, {}, {})
    ontime = {ccd: 1000.0 * ccd for ccd in range(1, 12)}  # 12 was not read out
    exposure = exposure_image(grid, ontime, live)
    assert exposure.dtype == np.float32
    assert exposure.shape == grid.shape
    assert not exposure[~live].any()
    for ccd, (rawx, rawy) in {4: (20, 120), 7: (40, 160), 1: (10, 60), 12: (30, 150)}.items():
        column, row = (
            int((det - low) // bin_size)
            for det, low in zip(det_of_chip(ccd, rawx, rawy), grid.low, strict=True)
        )
        assert exposure[row, column] == ontime.get(ccd, 0)
    if bin_size == 80:
        np.testing.assert_array_equal(
            exposure, np.where(live & (ccd_numbers() < 12), 1000.0 * ccd_numbers().astype(int), 0)
        )


def test_vignetting_falls_from_the_axis():
    grid = detector_grid()
    live = live_pixels(grid, {}, {})
    time = dict.fromkeys(range(1, 13), 1000.0)
    flat, vignetted = (exposure_image(grid, time, live, vignetted=v) for v in (False, True))
    column, row = map(round, PN.axis)
    assert vignetted[row, column] == pytest.approx(flat[row, column], rel=1e-3)
    angle, factor = table(PN)
    # Ten arcmin to the left: 150 pixels.
    assert vignetted[row + 1, column - 150] == pytest.approx(
        1000 * np.interp(10, angle, factor), rel=2e-3
    )
