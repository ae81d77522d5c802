"""Input and target from the photons of one observation: divided at random, or by time."""

from typing import Any

import numpy as np

from xmm_jax.config import TASKS
from xmm_jax.data.observation import Observation
from xmm_jax.data.pairs import make_sample
from xmm_jax.data.thinning import generator, thin
from xmm_jax.errors import InputError

PAIRINGS = ("disjoint", "nested", "thinned")

TOGETHER = 32
"""Random divisions of one observation that are drawn in one go."""

TASK = TASKS["dn"]
INPUT_KS = (TASK.exposure_s / 1000, TASK.exposure_s / 1000)
"""Shortest and longest exposure of the input where nothing else is asked for [ks]."""

LARGEST_SHARE = 0.8
"""Of the exposure that the input may have: a target needs photons too."""


def thinned_pair(
    observation: Observation,
    *,
    sky: str,
    exposure_ks: tuple[float, float] = INPUT_KS,
    seed: int = 0,
    number: int = 0,
) -> dict[str, Any]:
    """Divide an observation at random: every photon goes to the input or to the target.

    Parameters
    ----------
    observation : Observation
        The whole.
    sky : str
        What is on the sky.
    exposure_ks : tuple of float
        Shortest and longest exposure of the input [ks]; it is drawn evenly in its logarithm, and
        never above `LARGEST_SHARE` of the whole.
    seed, number : int
        Seed of the data set, and which division of this observation.

    Returns
    -------
    dict
        Sample on the native frame. Counts of input and target are independent Poisson numbers
        and add up to the whole; so do the exposures, pixel by pixel.

    Raises
    ------
    InputError
        The observation is too short.
    """
    draw = generator(seed, observation.obs_id, number)
    total_ks = observation.exposure_s / 1000
    low, high = exposure_ks[0], min(exposure_ks[1], LARGEST_SHARE * total_ks)
    if low > high:
        raise InputError(
            f"{observation.obs_id}: EXPOSURE is {1000 * total_ks:.0f} s, too short to take "
            f"{low:g} ks out of it; leave it out, or ask for less"
        )
    chosen_ks = low * (high / low) ** draw.random() if low < high else low
    share = chosen_ks / total_ks
    counts = thin(draw, observation.counts, share)
    return make_sample(
        counts,
        observation.exposure * share,
        observation.valid,
        observation.counts - counts,
        observation.exposure * (1 - share),
        observation.valid,
        source_id=sky,
        obs_id=observation.obs_id,
        pairing="thinned",
        filter=observation.filter,
        band_kev=observation.band_kev,
        seed=seed,
    )


def timed_pair(
    first: Observation, second: Observation, *, sky: str, pairing: str, subtract: bool = False
) -> dict[str, Any]:
    """Pair two stretches of one observation.

    Parameters
    ----------
    first, second : Observation
        Input and a longer image.
    sky : str
        What is on the sky.
    pairing : str
        ``"disjoint"`` or ``"nested"``: what is true of the pair.
    subtract : bool
        `second` contains `first`: the target is what is left of it.

    Returns
    -------
    dict
        Sample on the native frame.

    Raises
    ------
    InputError
        To be subtracted, but a pixel of `first` has more counts than that of `second`.
    """
    target, exposure = second.counts, second.exposure
    if subtract:
        if not (first.counts <= target).all():
            raise InputError(
                f"{second.obs_id}: the longer image does not contain the shorter one, so cannot "
                "be its disjoint target; it must be the full image of the observation"
            )
        target = target - first.counts
        # A fraction of a second is rounding of the on times, not exposure.
        exposure = np.where(exposure - first.exposure < 1, 0, exposure - first.exposure)
    return make_sample(
        first.counts,
        first.exposure,
        first.valid,
        target,
        exposure,
        second.valid & first.valid,
        source_id=sky,
        obs_id=first.obs_id,
        pairing=pairing,
        filter=first.filter,
        band_kev=first.band_kev,
    )


def blocks(obs_id: str, n: int) -> dict[str, range]:
    """Put together random divisions that are drawn in one go.

    Parameters
    ----------
    obs_id : str
        The observation.
    n : int
        Number of its divisions.

    Returns
    -------
    dict of str to range
        Numbers of the divisions, `TOGETHER` at most, by name of the item.
    """
    first = range(0, n, TOGETHER)
    return {f"{obs_id}#{k}" if n > TOGETHER else obs_id: range(n)[k : k + TOGETHER] for k in first}
