"""What `prepare` can draw from files: items, what is on the sky of each, what had to be left."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits

from xmm_jax.data.fitsfile import number

FIELD_ARCMIN = 30.0
"""Observations pointed closer than this see common sky: twice the radius of the field of view."""


@dataclass(frozen=True)
class Source:
    """Samples on the native frame, not drawn yet.

    Attributes
    ----------
    draws : mapping of str to callable
        What gives the samples of one item (an observation, or some of the pairs from it). An
        `InputError` of one of them does not concern the others. Picklable.
    sky : mapping of str to str
        What is on the sky of each item: the key of the splits, `source_id` of its samples.
    failed : mapping of str to str
        Items that cannot be used, and why, as far as known before drawing.
    pairs : int
        How many samples to expect from an item, roughly.
    """

    draws: Mapping[str, Callable[[], Iterable[dict[str, Any]]]]
    sky: Mapping[str, str]
    failed: Mapping[str, str] = field(default_factory=dict)
    pairs: int = 1


def pointing(header: fits.Header) -> tuple[float, float]:
    """Where an observation points.

    Parameters
    ----------
    header : Header
        Of an image or event list.

    Returns
    -------
    tuple of float
        RA_PNT and DEC_PNT [deg]; NaN where the header does not tell.
    """
    try:
        return number(header, "RA_PNT", np.nan), number(header, "DEC_PNT", np.nan)
    except ValueError:
        return np.nan, np.nan


def common_sky(pointings: Mapping[str, tuple[float, float]]) -> dict[str, str]:
    """Link observations whose fields of view overlap, directly or through others.

    Parameters
    ----------
    pointings : mapping of str to tuple of float
        Right ascension and declination of each observation [deg]; NaN where not known.

    Returns
    -------
    dict of str to str
        For each observation the first one (by name) of those it is linked with.
    """
    names = sorted(pointings)
    ra, dec = np.deg2rad(np.array([pointings[name] for name in names]).reshape(-1, 2)).T
    towards = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    near = towards @ towards.T > np.cos(np.deg2rad(FIELD_ARCMIN / 60))  # False without pointing
    first = np.arange(len(names))
    while True:
        linked = np.where(near, first[None, :], len(first)).min(axis=1, initial=len(first))
        linked = np.minimum(first, linked)
        if (linked == first).all():
            return {name: names[k] for name, k in zip(names, first, strict=True)}
        first = linked
