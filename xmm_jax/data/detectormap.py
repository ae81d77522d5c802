"""From CCD pixels to the detector image: where a CCD lies, what of it is dead, how long it saw.

DETX and DETY are a linear function of RAWX and RAWY on each CCD, up to the position within the
pixel, which SAS draws at random; the events of a list tell it.
"""

from collections.abc import Mapping

import numpy as np

from xmm_jax.data.binning import Grid
from xmm_jax.data.exposure import ccd_at
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask
from xmm_jax.instrument.vignetting import vignetting_map

CCDS = 13  # numbers 1 to 12
_RAW = (66, 202)  # RAWX 1 to 64, RAWY 1 to 200, and their neighbours
_LEAST_EVENTS = 100


class RawMoments:
    """Sums over events that give the position of every CCD; exact, so order does not matter."""

    def __init__(self) -> None:
        self.hit = np.zeros((CCDS, *_RAW), bool)
        self.square = np.zeros((CCDS, 3, 3))
        self.cross = np.zeros((CCDS, 3, 2))

    def add(self, chunk: Mapping[str, np.ndarray]) -> None:
        """Count events in.

        Parameters
        ----------
        chunk : mapping of str to ndarray
            Event arrays ``ccdnr``, ``rawx rawy`` [CCD pixel], ``detx dety`` [0.05 arcsec].
        """
        ccd = chunk["ccdnr"]
        raw = [np.ones(len(ccd)), chunk["rawx"].astype(float), chunk["rawy"].astype(float)]
        det = [chunk["detx"].astype(float), chunk["dety"].astype(float)]
        for i, one in enumerate(raw):
            for j, other in enumerate(raw):
                self.square[:, i, j] += np.bincount(ccd, one * other, minlength=CCDS)
            for j, other in enumerate(det):
                self.cross[:, i, j] += np.bincount(ccd, one * other, minlength=CCDS)
        rawx, rawy = (
            chunk[name].clip(0, size - 1) for name, size in zip(("rawx", "rawy"), _RAW, strict=True)
        )
        self.hit[ccd, rawx, rawy] = True

    def maps(self) -> dict[int, np.ndarray]:
        """Solve for the linear map of every CCD with enough events.

        Returns
        -------
        dict of int to ndarray (3, 2)
            Rows: DETX, DETY at RAW 0, per step of RAWX, per step of RAWY [0.05 arcsec].
        """
        return {
            ccd: np.linalg.solve(self.square[ccd], self.cross[ccd])
            for ccd in range(1, CCDS)
            if self.square[ccd, 0, 0] >= _LEAST_EVENTS and np.linalg.cond(self.square[ccd]) < 1e12
        }

    def unread(self) -> dict[int, np.ndarray]:
        """Pixels of every CCD that a window mode leaves out: all beyond the outermost events.

        Returns
        -------
        dict of int to ndarray of bool
            True = not read out, as [RAWX, RAWY].
        """
        found = {}
        for ccd in range(1, CCDS):
            rawx, rawy = np.nonzero(self.hit[ccd])
            found[ccd] = np.ones(_RAW, bool)
            if rawx.size:
                found[ccd][rawx.min() : rawx.max() + 1, rawy.min() : rawy.max() + 1] = False
        return found


def pixel_axes(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of a grid in native pixels of EPIC-pn.

    Parameters
    ----------
    grid : Grid
        Pixels.

    Returns
    -------
    x, y : ndarray
        Columns and rows [4 arcsec pixel], 0 is the centre of the first native one.
    """
    rows, columns = grid.shape
    x, y = (
        (first + grid.bin_size * np.arange(size) - origin) / PN.det_step
        for first, size, origin in zip(
            grid.first_centre, (columns, rows), PN.det_origin, strict=True
        )
    )
    return x, y


def live_pixels(
    grid: Grid, maps: Mapping[int, np.ndarray], dead: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Image pixels that see the sky.

    Parameters
    ----------
    grid : Grid
        Pixels of the image.
    maps : mapping of int to ndarray (3, 2)
        Where the CCDs lie, see `RawMoments.maps`; dead pixels of other CCDs are not placed.
    dead : mapping of int to ndarray of bool
        Dead pixels of every CCD as [RAWX, RAWY], see `dead_pixels` and `RawMoments.unread`.

    Returns
    -------
    ndarray of bool
        The packaged mask of EPIC-pn without the pixels whose centre lies on a dead CCD pixel.
    """
    x, y = pixel_axes(grid)
    rows, columns = PN.shape
    native_x = np.clip(np.rint(x).astype(int), 0, columns - 1)
    native_y = np.clip(np.rint(y).astype(int), 0, rows - 1)
    live = mask(PN, 1)[np.ix_(native_y, native_x)]
    ccd = ccd_at(x, y)
    det = np.stack(np.meshgrid(x, y), axis=-1) * PN.det_step + np.asarray(PN.det_origin)
    for number, gone in dead.items():
        own = ccd == number
        if gone.all():
            live[own] = False
        if number not in maps:
            continue
        linear = maps[number]
        raw = (det[own] - linear[0]) @ np.linalg.inv(linear[1:])
        rawx, rawy = np.clip(np.rint(raw).astype(int), 0, np.array(_RAW) - 1).T
        live[own] &= ~gone[rawx, rawy]
    return live


def dead_pixels(bad: np.ndarray) -> np.ndarray:
    """Pixels of a CCD without events of FLAG 0: bad ones and those next to them.

    Next to bad pixels four MOS lists have 25 such events on 216,510 CCD pixels, elsewhere 4,600 on
    as many: FLAG says CLOSE_TO_BRIGHTPIX or CLOSE_TO_DEADPIX there.

    Parameters
    ----------
    bad : ndarray of int, shape (n, 4)
        RAWX, RAWY, YEXTENT [CCD pixel], TYPE of bad pixels.

    Returns
    -------
    ndarray of bool
        True = dead, as [RAWX, RAWY]; both count from 1.
    """
    dead = np.zeros(_RAW, bool)
    for rawx, rawy, extent, _ in bad:
        dead[max(rawx - 1, 0) : rawx + 2, max(rawy - 1, 0) : rawy + max(extent, 1) + 1] = True
    return dead


def exposure_image(
    grid: Grid, ontime_s: Mapping[int, float], live: np.ndarray, *, vignetted: bool = False
) -> np.ndarray:
    """Exposure per pixel: the on time of its CCD where it is alive.

    Parameters
    ----------
    grid : Grid
        Pixels.
    ontime_s : mapping of int to float
        Good time of every CCD [s]; others were not read out.
    live : ndarray of bool
        Pixels that see the sky.
    vignetted : bool
        Multiply with the vignetting at 1.25 keV.

    Returns
    -------
    ndarray of float32
        Exposure [s], 0 where dead.
    """
    x, y = pixel_axes(grid)
    time = np.zeros(CCDS, np.float32)
    for ccd, seconds in ontime_s.items():
        time[ccd] = seconds
    exposure = np.where(live, time[ccd_at(x, y)], np.float32(0))
    return exposure * vignetting_map(PN, x, y) if vignetted else exposure
