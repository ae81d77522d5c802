"""Quiet time from the light curve of the background that the pipeline makes for each exposure.

FBKTSR products hold the rate of the field without sources (PI 500-7500) and, in FLCUTTHR, the
threshold that SAS `bkgoptrate` found best. A bin is quiet when its rate is not above it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xmm_jax.data.fitsfile import number
from xmm_jax.data.fitstable import read_columns, read_tables
from xmm_jax.data.gti import merge
from xmm_jax.errors import InputError


@dataclass(frozen=True, eq=False)
class LightCurve:
    """Background rate of one exposure.

    Parameters
    ----------
    time_s : ndarray, shape (n,)
        Centres of the bins [s], increasing.
    rate : ndarray, shape (n,)
        Rate [count/s]; NaN where there was no live time.
    bin_s : float
        Width of a bin [s].
    threshold : float or None
        Largest quiet rate [count/s]; None when the file has no FLCUTTHR.
    path : Path
        The file.
    instrument, exposure_id : str
        INSTRUME (EPN, EMOS1, EMOS2) and, where the header has it, EXPIDSTR (S003).
    """

    time_s: np.ndarray
    rate: np.ndarray
    bin_s: float
    threshold: float | None
    path: Path
    instrument: str = ""
    exposure_id: str = ""


def read_light_curve(path: str | Path) -> LightCurve:
    """Read a pipeline product FBKTSR, or any light curve of SAS with extension RATE.

    Parameters
    ----------
    path : str or Path
        The file, plain or gzip.

    Returns
    -------
    LightCurve
        Sorted by time; bins without a time are left out.

    Raises
    ------
    InputError
        No extension RATE, no column TIME or RATE, no usable TIMEDEL, FLCUTTHR that is no number,
        no bins, or a file that cannot be read.
    """
    path = Path(path)
    _, tables = read_tables(path)
    table = next((table for table in tables if table.name == "RATE"), None)
    if table is None:
        raise InputError(f"{path}: no extension RATE; give the FBKTSR product of the exposure")
    columns = read_columns(table, ("TIME", "RATE"))
    known = np.isfinite(columns["TIME"])
    order = np.argsort(columns["TIME"][known], kind="stable")
    try:
        bin_s = number(table.header, "TIMEDEL")
        threshold = number(table.header, "FLCUTTHR") if "FLCUTTHR" in table.header else None
    except ValueError as error:
        raise InputError(f"{path}: {error}; fetch the light curve again") from None
    if not 0 < bin_s < np.inf or not known.any():
        raise InputError(f"{path}: a light curve without bins; fetch it again")
    return LightCurve(
        time_s=columns["TIME"][known][order],
        rate=columns["RATE"][known][order],
        bin_s=bin_s,
        threshold=threshold,
        path=path,
        instrument=str(table.header.get("INSTRUME", "")).strip(),
        exposure_id=str(table.header.get("EXPIDSTR", "")).strip(),
    )


def quiet_gti(curve: LightCurve, threshold: float | None = None) -> np.ndarray:
    """Intervals without flares, as SAS tabgtigen cuts them with RATE <= FLCUTTHR.

    An interval is a run of quiet bins, from half a bin before the first centre to half a bin after
    the last (`prefraction` and `postfraction` of tabgtigen, 0.5). A step of time above 1.5 bins
    ends a run. Bins without a rate are not quiet.

    Parameters
    ----------
    curve : LightCurve
        Background rate.
    threshold : float, optional
        Largest quiet rate [count/s]; that of the curve by default.

    Returns
    -------
    ndarray, shape (n, 2)
        GTI [s], empty when no bin is quiet.

    Raises
    ------
    InputError
        Neither is a threshold given nor does the curve have one.
    """
    limit = curve.threshold if threshold is None else threshold
    if limit is None:
        raise InputError(
            f"{curve.path}: no flare threshold (FLCUTTHR); pass --unfiltered to keep all the time"
        )
    quiet = np.flatnonzero(curve.rate <= limit)
    if not quiet.size:
        return np.zeros((0, 2))
    centre = curve.time_s[quiet]
    broken = (np.diff(quiet) > 1) | (np.diff(centre) > 1.5 * curve.bin_s)
    first, last = np.r_[True, broken], np.r_[broken, True]
    return merge(
        np.stack([centre[first] - curve.bin_s / 2, centre[last] + curve.bin_s / 2], axis=1)
    )
