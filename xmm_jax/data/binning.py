"""Events to images, as SAS evselect with ``imagebinning=binSize`` bins them.

A pixel is a block of whole steps of the coordinate: pixel = (coordinate - low) // bin_size, so the
first edge lies half a step below `low`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN


@dataclass(frozen=True)
class Grid:
    """Pixels of an image in steps of an integer event coordinate.

    Parameters
    ----------
    low : tuple of int
        Lowest coordinate of the first pixel, (x, y).
    shape : tuple of int
        Rows and columns.
    bin_size : int
        Steps per pixel.
    """

    low: tuple[int, int]
    shape: tuple[int, int]
    bin_size: int

    @property
    def first_centre(self) -> tuple[float, float]:
        """Coordinate (x, y) of the centre of the first pixel."""
        return tuple(low + (self.bin_size - 1) / 2 for low in self.low)  # type: ignore[return-value]


def grid_of(low: tuple[int, int], high: tuple[int, int], bin_size: int) -> Grid:
    """Grid over a range of the coordinates, TLMIN to TLMAX for SAS.

    Parameters
    ----------
    low, high : tuple of int
        Lowest and highest coordinate (x, y).
    bin_size : int
        Steps per pixel.

    Returns
    -------
    Grid
        As many pixels as cover the range.
    """
    columns, rows = (-(-(b - a + 1) // bin_size) for a, b in zip(low, high, strict=True))
    return Grid(low, (rows, columns), bin_size)


def detector_grid(bin_size: int = 80) -> Grid:
    """Detector grid of EPIC-pn: 411 rows of 403 pixels of 4 arcsec at the default.

    TLMIN of an event list is not used: all real images of 2001 to 2021 share this origin, that of
    SAS evselect for a list with all twelve CCDs.

    Parameters
    ----------
    bin_size : int
        Pixel size [0.05 arcsec].

    Returns
    -------
    Grid
        DETX and DETY from -18283 and -17527 on, over the extent of the default grid.

    Raises
    ------
    InputError
        `bin_size` is below 1 or above the frame.
    """
    rows, columns = PN.shape
    step = int(PN.det_step)
    if not 1 <= bin_size <= step * columns:
        raise InputError(f"bin size {bin_size}: give a whole number of 0.05 arcsec, such as 80")
    # det_origin is the centre of a pixel that holds `step` whole numbers.
    low = tuple(int(centre - (step - 1) / 2) for centre in PN.det_origin)
    high = (low[0] + step * columns - 1, low[1] + step * rows - 1)
    return grid_of((low[0], low[1]), high, bin_size)


def bin_image(x: np.ndarray, y: np.ndarray, grid: Grid) -> np.ndarray:
    """Count events per pixel.

    Parameters
    ----------
    x, y : ndarray of int32 or int64
        Event coordinates in the units of the grid; those outside of it are not counted.
    grid : Grid
        Pixels.

    Returns
    -------
    ndarray of int32, shape `grid.shape`
        Counts per pixel [count].
    """
    rows, columns = grid.shape
    column = (x - grid.low[0]) // grid.bin_size
    row = (y - grid.low[1]) // grid.bin_size
    on = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    index = row[on].astype(np.int64) * columns + column[on]
    return np.bincount(index, minlength=rows * columns).reshape(grid.shape).astype(np.int32)


def bin_detector(chunk: Mapping[str, np.ndarray], grid: Grid) -> np.ndarray:
    """Count events per detector pixel.

    Parameters
    ----------
    chunk : mapping of str to ndarray
        Event arrays ``detx`` and ``dety`` [0.05 arcsec].
    grid : Grid
        Pixels, see `detector_grid`.

    Returns
    -------
    ndarray of int32
        Counts per pixel [count].
    """
    return bin_image(chunk["detx"], chunk["dety"], grid)


def bin_sky(chunk: Mapping[str, np.ndarray], grid: Grid) -> np.ndarray:
    """Count events per sky pixel.

    Parameters
    ----------
    chunk : mapping of str to ndarray
        Event arrays ``sky_x`` and ``sky_y`` [0.05 arcsec]; the null value of the list lies
        outside any grid.
    grid : Grid
        Pixels, see `grid_of`.

    Returns
    -------
    ndarray of int32
        Counts per pixel [count].
    """
    return bin_image(chunk["sky_x"], chunk["sky_y"], grid)
