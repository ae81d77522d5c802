"""Which found source is which true one: one to one, the brightest first."""

import numpy as np

from xmm_jax.metrics.detection import Table


def match(found: Table, true: Table, *, radius: float) -> np.ndarray:
    """Give each true source, brightest first, the nearest found one that is still free.

    Parameters
    ----------
    found : dict of ndarray
        ``x``, ``y`` [native pixel] of what was found.
    true : dict of ndarray
        ``x``, ``y`` [native pixel] and ``seen_rate`` [count/s] of what is there.
    radius : float
        Farthest that two may lie apart [native pixel], inclusive.

    Returns
    -------
    ndarray
        For each true source the place of its partner in `found`, -1 if it has none.
    """
    from scipy.spatial import KDTree

    partner = np.full(len(true["x"]), -1)
    if not len(found["x"]) or not len(true["x"]):
        return partner
    spots = np.column_stack([found["x"], found["y"]])
    wanted = np.column_stack([true["x"], true["y"]])
    near = KDTree(spots).query_ball_point(wanted, radius)
    free = np.ones(len(spots), bool)
    for source in np.argsort(-np.asarray(true["seen_rate"]), kind="stable"):
        candidates = [place for place in near[source] if free[place]]
        if candidates:
            apart = np.hypot(*(spots[candidates] - wanted[source]).T)
            partner[source] = candidates[int(np.argmin(apart))]
            free[partner[source]] = False
    return partner
