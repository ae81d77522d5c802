"""Which events belong in an image: energy, pattern and quality flag."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

OUT_OF_FOV = 0x10000
"""Bit of FLAG: the event fell outside the field of view (header cards XMMEA_n of event lists)."""

COLUMNS = ("pi_ev", "pattern", "flag", "rawy")


@dataclass(frozen=True)
class Selection:
    """Rules for an EPIC-pn image; the defaults are those of Sweere et al. 2022.

    Parameters
    ----------
    pi_ev : tuple of int
        Lowest and highest PI [eV], both included.
    pattern_max : int
        Highest PATTERN: 4 is singles and doubles, 12 the usual limit of MOS.
    keep_corners : bool
        Keep events outside the field of view, as the published training images do.
    """

    pi_ev: tuple[int, int] = (500, 2000)
    pattern_max: int = 4
    keep_corners: bool = False


def select(chunk: Mapping[str, np.ndarray], selection: Selection) -> np.ndarray:
    """Pick events.

    Parameters
    ----------
    chunk : mapping of str to ndarray
        Event arrays ``pi_ev``, ``pattern`` and ``flag``, and ``rawy`` with `keep_corners`.
    selection : Selection
        The rules.

    Returns
    -------
    ndarray of bool
        True = in the image.
    """
    low, high = selection.pi_ev
    pi_ev, flag = chunk["pi_ev"], chunk["flag"]
    good = (pi_ev >= low) & (pi_ev <= high) & (chunk["pattern"] <= selection.pattern_max)
    if not selection.keep_corners:
        return good & (flag == 0)
    return good & ((flag == 0) | ((flag & OUT_OF_FOV) != 0)) & (chunk["rawy"] > 12)


def describe(selection: Selection) -> str:
    """Write the rules as SAS evselect would take them.

    Parameters
    ----------
    selection : Selection
        The rules.

    Returns
    -------
    str
        Text for the card SLCTEXPR.
    """
    low, high = selection.pi_ev
    flag = "(FLAG == 0)"
    if selection.keep_corners:
        flag = "(RAWY > 12) && (FLAG == 0 || FLAG & 0x10000 != 0)"
    return f"{flag} && (PI in [{low}:{high}]) && (PATTERN in [0:{selection.pattern_max}])"
