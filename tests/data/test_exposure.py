from itertools import permutations

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.exposure import ccd_numbers, exposure_map
from xmm_jax.data.fitsfile import read_image
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask

# Centres of the CCDs [mm] along DETX (upper, then lower half): CCF EPN_LINCOORD_0009.
UPPER_MM = {1: -4.832, 2: -14.626, 3: -24.42, 4: 4.982, 5: 14.776, 6: 24.57}
LOWER_MM = {7: 4.832, 8: 14.626, 9: 24.42, 10: -4.982, 11: -14.776, 12: -24.57}
PIXELS_PER_MM = 27.53 / 4.0
LIVE = mask(PN, 1)


@pytest.mark.parametrize("upscale", [1, 2])
def test_every_ccd_is_where_the_calibration_puts_it(upscale):
    numbers = ccd_numbers(upscale)
    assert numbers.shape == (411 * upscale, 403 * upscale)
    for half, row in ((UPPER_MM, 305), (LOWER_MM, 105)):
        for ccd, millimetres in half.items():
            for inside in (-4.5, 0, 4.5):  # a CCD is 9.6 mm wide
                column = 200.5 + PIXELS_PER_MM * (millimetres + inside)
                assert numbers[upscale * row, round(upscale * column)] == ccd


def test_borders_lie_in_the_gaps():
    numbers = ccd_numbers()
    for axis in (0, 1):
        before, after = np.arange(numbers.shape[axis] - 1), np.arange(1, numbers.shape[axis])
        first, second = np.take(numbers, before, axis), np.take(numbers, after, axis)
        alive = np.take(LIVE, before, axis) & np.take(LIVE, after, axis)
        assert not (alive & (first != second)).any()


def _header(**cards):
    return fits.Header({f"ONTIME{n:02d}": 1000.0 + n for n in range(1, 13)} | cards)


def test_each_ccd_gets_its_own_time():
    exposure = exposure_map(_header(), 1012.0, np.ones(PN.shape, np.int32), LIVE)
    assert exposure.dtype == np.float32
    assert (exposure[~LIVE] == 0).all()
    np.testing.assert_array_equal(exposure[LIVE], 1000.0 + ccd_numbers()[LIVE])


def test_a_ccd_without_time_was_off_unless_it_has_counts():
    header = _header()
    del header["ONTIME05"], header["ONTIME09"]
    counts = np.zeros(PN.shape, np.int32)
    counts[100, 385] = 1  # on CCD 9
    exposure = exposure_map(header, 1012.0, counts, LIVE)
    assert (exposure[ccd_numbers() == 5] == 0).all()
    assert (exposure[(ccd_numbers() == 9) & LIVE] == 1012).all()


@pytest.mark.parametrize("header", [fits.Header(), _header(), fits.Header({"ONTIME": 9.0})])
def test_one_exposure_where_the_times_say_nothing(header):
    exposure = exposure_map(header, 2500.0, np.ones(PN.shape, np.int32), LIVE)
    np.testing.assert_array_equal(exposure, np.where(LIVE, 2500, 0))


def _inner(live):
    """Without the two pixels beside anything dead: columns beside a gap see part of the light."""
    shifts = [(dy, dx) for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2)]
    return np.all([np.roll(live, shift, (0, 1)) for shift in shifts], axis=0)


def _border_ratio(image, side_of, along, start, stop):
    """Log of the rate on the low side over the high side of a border, extrapolated to it."""
    at_border = []
    for side in (-1, 1):
        strips = [(side * side_of > a) & (side * side_of <= a + 12) for a in (4, 16, 28, 40)]
        strips = [strip & _inner(LIVE) & (along >= start) & (along < stop) for strip in strips]
        rate = [np.log(image[strip].mean()) for strip in strips]
        away = [side_of[strip].mean() for strip in strips]
        at_border.append(np.polyfit(away, rate, 2)[-1])
    return at_border[0] - at_border[1]


@pytest.mark.reference
def test_perseus_confirms_the_quadrants(shared):
    """Counts jump at the borders of the quadrants as their on times do, and as no others do."""
    image = read_image(next((shared / "data" / "real" / "20ks").glob("0085110101*")))
    y, x = np.indices(image.data.shape)
    borders = {  # quadrants on the low and the high side; the cluster core is left out
        (0, 1): _border_ratio(image.data, x - 200.5, y, 290, 399),
        (3, 2): _border_ratio(image.data, x - 200.5, y, 12, 120),
        (3, 0): _border_ratio(image.data, y - 204.5, x, 5, 120),
        (2, 1): _border_ratio(image.data, y - 204.5, x, 300, 396),
    }
    ontime = [image.header[f"ONTIME{n:02d}"] for n in (1, 4, 7, 10)]
    misfit = {
        order: np.sqrt(
            np.mean(
                [
                    (measured - np.log(ontime[order[low]] / ontime[order[high]])) ** 2
                    for (low, high), measured in borders.items()
                ]
            )
        )
        for order in permutations(range(4))
    }
    best, second = sorted(misfit, key=misfit.get)[:2]
    # Upper left, upper right, lower right, lower left: CCDs 1-3, 4-6, 7-9, 10-12.
    assert best == (0, 1, 2, 3)
    assert misfit[best] < 0.15
    assert misfit[second] > 0.25
    exposure = exposure_map(image.header, 20000.0, image.data, LIVE)
    for (row, column), time in zip(
        [(300, 100), (300, 300), (100, 300), (100, 100)], ontime, strict=True
    ):
        assert exposure[row, column] == pytest.approx(time, abs=1)
