"""Good time intervals: arrays (n, 2) of start and stop [s], sorted, disjoint, both ends included.

The good-time axis of a GTI counts only the seconds inside: 0 at its first start, its length at the
end.
"""

import numpy as np
from numpy.typing import ArrayLike


def merge(gti: ArrayLike) -> np.ndarray:
    """Bring intervals into the form that the other functions take.

    Parameters
    ----------
    gti : array, shape (n, 2)
        Start and stop [s] in any order; overlaps allowed. Empty, reversed and non-finite rows are
        dropped.

    Returns
    -------
    ndarray of float64, shape (m, 2)
        Sorted, disjoint; intervals that touch are joined.
    """
    rows = np.asarray(gti, np.float64).reshape(-1, 2)
    rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 1] > rows[:, 0])]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if not len(rows):
        return rows
    reach = np.maximum.accumulate(rows[:, 1])
    first = np.flatnonzero(np.r_[True, rows[1:, 0] > reach[:-1]])
    last = np.r_[first[1:] - 1, len(rows) - 1]
    return np.stack([rows[first, 0], reach[last]], axis=1)


def intersect(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Time that is good in both.

    Parameters
    ----------
    one, other : ndarray, shape (n, 2), (m, 2)
        GTIs [s].

    Returns
    -------
    ndarray, shape (k, 2)
        GTI [s].
    """
    if not len(one) or not len(other):
        return np.zeros((0, 2))
    # Pairs that overlap: for each row of `one` a run of rows of `other`.
    low = np.searchsorted(other[:, 1], one[:, 0], side="right")
    high = np.searchsorted(other[:, 0], one[:, 1], side="left")
    size = np.maximum(high - low, 0)
    a = np.repeat(np.arange(len(one)), size)
    b = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size - low, size)
    return np.stack(
        [np.maximum(one[a, 0], other[b, 0]), np.minimum(one[a, 1], other[b, 1])], axis=1
    )


def length_s(gti: np.ndarray) -> float:
    """Good time.

    Parameters
    ----------
    gti : ndarray, shape (n, 2)
        GTI [s].

    Returns
    -------
    float
        Sum of the intervals [s].
    """
    return float(np.sum(gti[:, 1] - gti[:, 0]))


def inside(gti: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Whether times are good; SAS counts both ends in.

    Parameters
    ----------
    gti : ndarray, shape (n, 2)
        GTI [s].
    time_s : ndarray
        Times [s], any shape.

    Returns
    -------
    ndarray of bool
        Same shape.
    """
    if not len(gti):
        return np.zeros(np.shape(time_s), bool)
    row = np.searchsorted(gti[:, 0], time_s, side="right") - 1
    return (row >= 0) & (time_s <= gti[row, 1])


def drop_short(gti: np.ndarray, seconds: float) -> np.ndarray:
    """Leave out intervals shorter than `seconds`, as `mingtisize` of SAS tabgtigen does.

    Parameters
    ----------
    gti : ndarray, shape (n, 2)
        GTI [s].
    seconds : float
        Shortest length kept [s].

    Returns
    -------
    ndarray, shape (m, 2)
        GTI [s].
    """
    return gti[gti[:, 1] - gti[:, 0] >= seconds]


def time_at(gti: np.ndarray, good_s: float) -> float:
    """When a GTI has lasted `good_s` seconds.

    Parameters
    ----------
    gti : ndarray, shape (n, 2)
        GTI [s].
    good_s : float
        Point of the good-time axis [s].

    Returns
    -------
    float
        Time [s]; infinite beyond the end.
    """
    length = gti[:, 1] - gti[:, 0]
    before = np.cumsum(length) - length
    row = int(np.searchsorted(before, good_s, side="left")) - 1
    if good_s <= 0:
        return float(gti[0, 0]) if len(gti) else np.inf
    if row < 0 or good_s > before[row] + length[row]:
        return np.inf
    return float(gti[row, 0] + (good_s - before[row]))


def longest_first(gti: np.ndarray, seconds: float) -> np.ndarray:
    """Longest intervals up to `seconds` of good time; the last one taken is cut at its end.

    Parameters
    ----------
    gti : ndarray, shape (n, 2)
        GTI [s].
    seconds : float
        Length wanted [s].

    Returns
    -------
    ndarray, shape (m, 2)
        GTI [s], in the order of time.
    """
    length = gti[:, 1] - gti[:, 0]
    order = np.argsort(-length, kind="stable")
    left = seconds - (np.cumsum(length[order]) - length[order])
    keep = np.minimum(length[order], left)
    taken = gti[order[keep > 0]].copy()
    taken[:, 1] = taken[:, 0] + keep[keep > 0]
    return merge(taken)
