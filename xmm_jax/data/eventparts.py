"""Which stretches of an exposure become images: limiting and splitting its good time.

Training images of Sweere et al. 2022 are parts of T seconds of good time in the order of time, the
first T, the next T, and so on; what is left at the end is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xmm_jax.data.events import EventList
from xmm_jax.data.gti import drop_short, intersect, length_s, longest_first, time_at
from xmm_jax.errors import InputError

TOLERANCE = 0.15
"""An exposure within 15 % of the time asked for is kept whole, as the published script does."""

ORDERS = ("time", "longest")


@dataclass(frozen=True, eq=False)
class Part:
    """Good time that becomes one image.

    Parameters
    ----------
    name : str
        For file names: ``20.0ks`` for a limited exposure, ``20ks_3_1`` for part 1 of 3, ``full``
        without a limit.
    number, of : int
        Which part, from 1, of how many.
    limit_s : float
        Good time asked for [s], 0 for all of it.
    gti : dict of int to ndarray (n, 2)
        Good time [s] of every CCD; an event counts when it is inside that of its CCD.
    order : str
        ``"time"`` or ``"longest"``.
    min_gti_s : float
        Quiet intervals shorter than this were left out [s].
    filtered : bool
        Whether flares were taken out.
    notes : tuple of str
        What the user should know, one line each.
    """

    name: str
    number: int
    of: int
    limit_s: float
    gti: dict[int, np.ndarray]
    order: str = "time"
    min_gti_s: float = 0.0
    filtered: bool = True
    notes: tuple[str, ...] = ()

    @property
    def ontime_s(self) -> dict[int, float]:
        """Good time of every CCD [s]."""
        return {ccd: length_s(gti) for ccd, gti in self.gti.items()}

    @property
    def exposure_s(self) -> float:
        """Good time of the best exposed CCD [s], EXPOSURE of SAS."""
        return max(self.ontime_s.values())


def plan_parts(
    events: EventList,
    quiet: np.ndarray | None,
    *,
    expo_time_ks: float = 20.0,
    exact: bool = False,
    order: str = "time",
    split_ks: float | Sequence[float] | None = None,
    min_gti_s: float = 0.0,
) -> list[Part]:
    """Cut the good time of an event list into the parts to be imaged.

    A part ends when its best exposed CCD has the time asked for, so EXPOSURE is that time; all CCDs
    are cut at the same moments. No two parts of one length have a moment in common.

    Parameters
    ----------
    events : EventList
        The list.
    quiet : ndarray (n, 2) or None
        Time without flares [s], see `flares.quiet_gti`; None keeps all the time.
    expo_time_ks : float
        Good time wanted [ks], 0 or less for all. An exposure 15 % off is kept whole, a shorter one
        too, with a note.
    exact : bool
        Cut also when the exposure is less than 15 % too long.
    order : str
        ``"time"`` takes the first good time, ``"longest"`` the longest intervals.
    split_ks : float or sequence of float, optional
        Lengths of parts [ks]: for each of them all whole parts in the order of time, instead of the
        limit.
    min_gti_s : float
        Leave out quiet intervals shorter than this [s].

    Returns
    -------
    list of Part
        At least one; of split lengths, those with at least one whole part.

    Raises
    ------
    InputError
        No good time is left, less than one whole part, or a length that is not positive.
    """
    if order not in ORDERS:
        raise InputError(f"order {order}: choose one of {', '.join(ORDERS)}")
    good = events.gti
    if quiet is not None:
        calm = drop_short(quiet, min_gti_s)
        good = {ccd: intersect(gti, calm) for ccd, gti in good.items()}
    total = max((length_s(gti) for gti in good.values()), default=0.0)
    if total <= 0:
        why = "is left without flares" if quiet is not None and len(quiet) else "is in it"
        raise InputError(f"{events.path}: no good time {why}; pass --unfiltered or leave it out")
    made = {"min_gti_s": min_gti_s, "filtered": quiet is not None}
    if split_ks is None:
        return [_limited(good, total, 1000 * expo_time_ks, exact, order, made)]
    lengths = [float(length) for length in np.atleast_1d(np.asarray(split_ks, float))]
    if not all(0 < length < np.inf for length in lengths):
        raise InputError(f"split {split_ks}: give lengths above 0 in ks, such as 10,20,50")
    parts = [part for length in lengths for part in _split(good, total, 1000 * length, made)]
    if not parts:
        raise InputError(
            f"{events.path}: {total / 1000:.1f} ks of good time hold no part of "
            f"{min(lengths):g} ks; ask for shorter parts"
        )
    return parts


def _limited(
    good: dict[int, np.ndarray], total: float, limit: float, exact: bool, order: str, made: dict
) -> Part:
    """The first, or the longest, good time up to the limit."""
    if limit <= 0:
        return Part("full", 1, 1, 0.0, good, order, **made)
    name = f"{limit / 1000:.1f}ks"
    notes = ()
    if total <= (1 - TOLERANCE) * limit:
        notes = (f"only {total / 1000:.1f} ks of good time, {limit / 1000:g} ks were asked for",)
    if total <= (limit if exact else (1 + TOLERANCE) * limit):
        return Part(name, 1, 1, limit, good, order, notes=notes, **made)
    if order == "time":
        window = np.array([[-np.inf, _moment(good, limit)]])
    else:
        window = longest_first(max(good.values(), key=length_s), limit)
    return Part(name, 1, 1, limit, _within(good, window), order, **made)


def _split(good: dict[int, np.ndarray], total: float, length: float, made: dict) -> list[Part]:
    """All whole parts of one length."""
    of = int(total / length + 1e-9)  # a total of three lengths may be rounded to less
    parts, rest = [], good
    for number in range(1, of + 1):
        stop = _moment(rest, length)
        gti = _within(rest, np.array([[-np.inf, stop]]))
        name = f"{length / 1000:g}ks_{of}_{number}"
        parts.append(Part(name, number, of, length, gti, **made))
        # One floating-point step later, so that no event lies in two parts.
        rest = _within(rest, np.array([[np.nextafter(stop, np.inf), np.inf]]))
    return parts


def _moment(good: dict[int, np.ndarray], seconds: float) -> float:
    """When the first CCD has had `seconds` of good time [s]."""
    return min(time_at(gti, seconds) for gti in good.values())


def _within(good: dict[int, np.ndarray], window: np.ndarray) -> dict[int, np.ndarray]:
    return {ccd: intersect(gti, window) for ccd, gti in good.items()}
