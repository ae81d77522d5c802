"""How faint a source may be and still be found, at equal purity for everybody.

A method that shows more sources may show more that are not there; so every one gets the detection
threshold at which its list has the same share of real ones.
"""

import numpy as np
from scipy.special import expit

from xmm_jax.metrics.detection import Table
from xmm_jax.metrics.sources import LISTED_COUNTS

STEPS = 50  # of Newton's method; it needs some ten
RIDGE = np.diag([0.0, 1e-2])


def threshold_at(found: Table, purity: float) -> float:
    """Least significance that still gives a purity.

    Parameters
    ----------
    found : dict of ndarray
        From `compare_sources`, of all that was found at `CANDIDATE` significance.
    purity : float
        Wanted share of real ones among what is found.

    Returns
    -------
    float
        Infinite if no list is as pure.
    """
    order = np.argsort(-found["significance"], kind="stable")
    pure = np.cumsum(found["real"][order]) / np.arange(1, len(order) + 1) >= purity
    return float(found["significance"][order][np.flatnonzero(pure)[-1]]) if pure.any() else np.inf


def at_purity(truth: Table, found: Table, purity: float) -> float:
    """Completeness beyond 30 counts at a purity.

    Parameters
    ----------
    truth, found : dict of ndarray
        From `compare_sources`.
    purity : float
        Wanted share of real ones among what is found.

    Returns
    -------
    float
        0 if no list is as pure.
    """
    listed = truth["significance"][truth["counts"] >= LISTED_COUNTS]
    return float(np.mean(listed >= threshold_at(found, purity))) if len(listed) else np.nan


def depth(truth: Table, found: Table, purity: float) -> float:
    """Counts of sources of which half are found at a purity.

    Parameters
    ----------
    truth, found, purity
        As for `at_purity`; the true sources go down to 5 counts.

    Returns
    -------
    float
        [count expected in the input], where a logistic function of the logarithm of the counts,
        fitted to what was found and what was not (greatest likelihood), is 1/2. NaN if nothing or
        everything is found, or brighter sources are not found more often.
    """
    hit = truth["significance"] >= threshold_at(found, purity)
    if hit.all() or not hit.any():
        return np.nan
    u = np.log(truth["counts"])
    middle, scale = u.mean(), u.std()
    if not scale > 0:
        return np.nan
    columns = np.stack([np.ones_like(u), (u - middle) / scale])
    p = np.zeros(2)
    for _ in range(STEPS):
        share = expit(p @ columns)
        # A little weight on the slope keeps it finite where one number of counts parts them all.
        curvature = (columns * share * (1 - share)) @ columns.T + RIDGE
        step = np.linalg.solve(curvature, columns @ (hit - share) - RIDGE @ p)
        p += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return float(np.exp(middle - scale * p[0] / p[1])) if p[1] > 0 else np.nan
