"""Exposure per pixel from the header of an EPIC-pn image: every CCD has its own on time.

SAS counts the good time of each CCD in ONTIME01..ONTIME12 and writes the largest as EXPOSURE; in
one image they can differ by a factor 1.9 (Perseus 0085110101: CCDs 4-6 have 10.8 of 20 ks).
"""

import re

import numpy as np
from astropy.io import fits

from xmm_jax.data.fitsfile import number
from xmm_jax.instrument.camera import PN, frame_axes

# CCD numbers from low to high DETX, upper and lower half: CCF EPN_LINCOORD_0009. In Perseus
# 0085110101 each quadrant has another on time: with these numbers the rates extrapolated to the
# four borders from either side agree to 11 % rms, with any other order of the quadrants to no
# better than 27 %. CCDs of one quadrant are read together: their on times differ by a second.
UPPER_CCDS = (3, 2, 1, 4, 5, 6)
LOWER_CCDS = (12, 11, 10, 7, 8, 9)
_COLUMN_BORDERS = (65.5, 133.0, 200.5, 268.0, 335.5)  # centres of the gaps, 4 arcsec pixels


def ccd_numbers(upscale: int = 1) -> np.ndarray:
    """Number of the CCD that covers each pixel of the EPIC-pn detector image.

    Parameters
    ----------
    upscale : int
        Pixels per 4 arcsec pixel along each axis.

    Returns
    -------
    ndarray of int8, shape (411 upscale, 403 upscale)
        CCD numbers 1 to 12; pixels in a gap belong to the nearer CCD.
    """
    return ccd_at(*frame_axes(PN, upscale))


def ccd_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Number of the CCD that covers the pixels of a grid.

    Parameters
    ----------
    x, y : ndarray
        Columns and rows [4 arcsec pixel], 0-based.

    Returns
    -------
    ndarray of int8, shape (y, x)
        CCD numbers 1 to 12; pixels in a gap belong to the nearer CCD.
    """
    strip = np.searchsorted(_COLUMN_BORDERS, x)
    upper = (y > sum(PN.half_rows) / 2)[:, None]
    return np.where(upper, np.take(UPPER_CCDS, strip), np.take(LOWER_CCDS, strip)).astype(np.int8)


def exposure_map(
    header: fits.Header, exposure_s: float, counts: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    """Exposure of each pixel, CCD by CCD where the header states on times.

    The on times are used when the largest agrees with EXPOSURE to 1 %: tools that cut or scale an
    image change EXPOSURE only. A CCD without an on time was not read out, unless it has counts.

    Parameters
    ----------
    header : Header
        Header with ONTIMEnn [s].
    exposure_s : float
        EXPOSURE of the header [s].
    counts : ndarray, shape (411, 403)
        Counts per pixel [count].
    valid : ndarray of bool, shape (411, 403)
        True where the detector is alive.

    Returns
    -------
    ndarray of float32, shape (411, 403)
        Exposure per pixel [s], 0 where dead.
    """
    ontime = {
        int(key[6:]): number(header, key)
        for key in header
        if re.fullmatch(r"ONTIME(0[1-9]|1[0-2])", key)
    }
    if not ontime or abs(max(ontime.values()) / exposure_s - 1) > 0.01:
        return np.where(valid, exposure_s, 0).astype(np.float32)
    ccd = ccd_numbers()
    time = np.full(13, exposure_s)
    for n in range(1, 13):
        time[n] = ontime.get(n, exposure_s if counts[(ccd == n) & valid].any() else 0.0)
    return np.where(valid, time[ccd], 0).astype(np.float32)
