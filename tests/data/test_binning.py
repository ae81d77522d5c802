import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.binning import bin_detector, bin_image, bin_sky, detector_grid, grid_of
from xmm_jax.errors import InputError


def test_default_grid_is_that_of_all_real_images(shared):
    files = sorted((shared / "data/real").glob("*/*.fits.gz"))
    files += sorted((shared / "data/images").glob("*.fits.gz"))
    assert len(files) == 14
    grid = detector_grid()
    for path in files:
        header = fits.getheader(path)
        assert grid.shape == (header["NAXIS2"], header["NAXIS1"])
        assert grid.first_centre == (header["CRVAL1L"], header["CRVAL2L"])
        assert grid.bin_size == header["CDELT1L"]


@pytest.mark.parametrize(
    ("bin_size", "shape"),
    [(80, (411, 403)), (40, (822, 806)), (82, (401, 394)), (1, (32880, 32240))],
)
def test_other_bins_cover_the_same_extent(bin_size, shape):
    grid = detector_grid(bin_size)
    assert grid.shape == shape
    assert grid.low == (-18283, -17527)


def test_bins_that_make_no_image_are_refused():
    for bin_size in (0, -80, 40000):
        with pytest.raises(InputError, match="bin size"):
            detector_grid(bin_size)


def test_sky_grid_of_the_pipeline():
    # LTV of PN_image in EXOD: 648 x 648 pixels of 80 over X, Y of 1..51840, first edge 0.5.
    grid = grid_of((1, 1), (51840, 51840), 80)
    assert grid.shape == (648, 648)
    assert grid.first_centre == (40.5, 40.5)


def test_every_event_in_its_pixel():
    rng = np.random.default_rng(4)
    grid = grid_of((-20, 5), (11, 60), 7)  # 5 columns, 8 rows
    x, y = rng.integers(-40, 40, 3000), rng.integers(-20, 90, 3000)
    truth = np.zeros(grid.shape, int)
    for a, b in zip(x, y, strict=True):
        column, row = np.floor((a + 20.5) / 7), np.floor((b - 4.5) / 7)
        if 0 <= column < 5 and 0 <= row < 8:
            truth[int(row), int(column)] += 1
    counts = bin_image(x, y, grid)
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(counts, truth)


def test_coordinates_of_two_bytes_do_not_overflow():
    """DETX - TLMIN is beyond int16 for half of the field."""
    x = np.array([-18283, 13956, 13957, 0], np.int32)
    counts = bin_detector({"detx": x, "dety": np.full(4, -17527, np.int32)}, detector_grid())
    assert counts.sum() == 3
    np.testing.assert_array_equal(np.flatnonzero(counts[0]), [0, 228, 402])


def test_null_is_on_no_image():
    null = np.array([-99999999, 300], np.int32)
    assert bin_sky({"sky_x": null, "sky_y": null}, grid_of((1, 1), (51840, 51840), 80)).sum() == 1
