"""Pairs from EPIC-pn event lists: binned, then divided by time or at random.

The dataset of Sweere et al. 2022 (appendix A) cuts the clean time of every observation into pieces
of multiples of 10 ks. Here a piece is the input and all the other photons of the observation are
the target, so no photon is in both.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.data.division import (
    INPUT_KS,
    LARGEST_SHARE,
    PAIRINGS,
    TASK,
    TOGETHER,
    blocks,
    thinned_pair,
    timed_pair,
)
from xmm_jax.data.eventimage import EventImage, make_images
from xmm_jax.data.eventparts import Part, plan_parts
from xmm_jax.data.events import EventList, read_event_list
from xmm_jax.data.fitsfile import number
from xmm_jax.data.flares import quiet_gti
from xmm_jax.data.gti import intersect, length_s
from xmm_jax.data.observation import Observation
from xmm_jax.data.pps import (
    EventFiles,
    find_event_files,
    find_products,
    read_curve,
    read_events_header,
)
from xmm_jax.data.selection import Selection
from xmm_jax.data.sources import Source, common_sky, pointing
from xmm_jax.errors import InputError

PIECES = 8
"""Pairs to expect from one observation, roughly: decides how many share a file of records."""

STEP_KS = 10
"""A range of exposures means every multiple of this in it, as in the published dataset."""


@dataclass(frozen=True)
class Choice:
    """Which photons are used: the options of `event_source`."""

    keep_corners: bool = False
    """Keep the corners outside the field of view."""
    min_gti: float = 0.0
    """Drop good time intervals shorter than this [s]."""
    unfiltered: bool = False
    """Leave flares in."""


def find_observations(paths: Sequence[str | Path]) -> list[Path]:
    """List event lists and folders of one observation.

    Parameters
    ----------
    paths : sequence of path
        Event lists, folders of one observation, and folders of such folders.

    Returns
    -------
    list of Path
        In the order given, folders in a folder by name.

    Raises
    ------
    InputError
        A path does not exist.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the name")
        products = find_products(path) if path.is_dir() else []
        inside = {product.path.parent for product in products}
        several = len({product.obs_id for product in products}) > 1
        below = [child for child in sorted(path.glob("*")) if child.is_dir()]
        found += below if several and path not in inside else [path]
    return found


def event_source(
    paths: Sequence[str | Path],
    *,
    pairing: str = "disjoint",
    exposure_ks: tuple[float, float] = INPUT_KS,
    n: int = 1,
    seed: int = 0,
    keep_corners: bool = False,
    min_gti: float = 0.0,
    unfiltered: bool = False,
) -> Source:
    """Pairs for task ``dn`` of every patch of sky in event lists of EPIC-pn.

    Observations that see common sky are one source, named after the first of them.

    Parameters
    ----------
    paths : sequence of path
        See `find_observations`.
    pairing : str
        ``disjoint``: inputs are consecutive pieces of the clean time, the target of each is all
        the rest of it. ``nested``: targets are the pieces of 50 ks, as published; pairs without
        common time are labelled ``disjoint`` all the same. ``thinned``: the whole clean time,
        divided at random.
    exposure_ks : tuple of float
        Shortest and longest exposure of the input [ks]. Pieces have every multiple of 10 ks
        between them; thinned inputs any exposure.
    n : int
        Random divisions of each observation, for ``thinned``.
    seed : int
        Seed of the random divisions.
    keep_corners : bool
        Keep events outside the field of view.
    min_gti : float
        Shortest interval to use [s].
    unfiltered : bool
        Keep the time of flares, and lists without a light curve.

    Returns
    -------
    Source
        An item for each observation, or for every 32 divisions of it.

    Raises
    ------
    InputError
        No usable event list, or an unknown pairing.
    """
    if pairing not in PAIRINGS:
        raise InputError(f"pairing {pairing}: pairs of event lists are {', '.join(PAIRINGS)}")
    lists, failed = _by_observation(find_observations(paths))
    if not lists:
        why = next(iter(failed.values()), "empty")
        raise InputError(f"{', '.join(map(str, paths))}: no usable event list; {why}")
    pointings = {obs_id: pointing(read_events_header(f[0].events)) for obs_id, f in lists.items()}
    choice = Choice(keep_corners, min_gti, unfiltered)
    draws, sky = {}, {}
    for obs_id, source in common_sky(pointings).items():
        for files in lists[obs_id]:
            item = obs_id if len(lists[obs_id]) == 1 else f"{obs_id}/{files.events.name}"
            draw = partial(_timed, files, choice, pairing=pairing)
            mine: dict[str, Any] = {item: draw}
            if pairing == "thinned":
                draw = partial(_thinned, files, choice, seed=seed)
                mine = {name: partial(draw, k) for name, k in blocks(item, n).items()}
            for name, one in mine.items():
                draws[name] = partial(one, sky=source, exposure_ks=exposure_ks)
                sky[name] = source
    pairs = min(n, TOGETHER) if pairing == "thinned" else PIECES
    return Source(draws, sky, failed, pairs=pairs)


def _by_observation(
    places: Sequence[Path],
) -> tuple[dict[str, list[EventFiles]], dict[str, str]]:
    """Event lists of each observation, and why a place gives none."""
    lists: dict[str, list[EventFiles]] = {}
    failed: dict[str, str] = {}
    for where in places:
        try:
            files = find_event_files(where)
            obs_id = str(read_events_header(files.events).get("OBS_ID", where.stem)).strip()
        except InputError as error:
            failed["/".join(where.parts[-2:])] = str(error)
        else:
            lists.setdefault(obs_id, []).append(files)
    return lists, failed


def _open(files: EventFiles, choice: Choice) -> tuple[EventList, np.ndarray | None]:
    """Event list and the time without flares, None for all time."""
    events = read_event_list(files.events)
    return events, None if choice.unfiltered else quiet_gti(read_curve(files))


def _images(events: EventList, parts: Sequence[Any], choice: Choice) -> list[Observation]:
    selection = Selection(keep_corners=choice.keep_corners)
    return [_as_observation(image) for image in make_images(events, parts, selection=selection)]


def _as_observation(image: EventImage) -> Observation:
    header = image.header
    return Observation(
        counts=image.counts,
        exposure=image.exposure,
        valid=image.valid,
        exposure_s=number(header, "EXPOSURE"),
        header=header,
        obs_id=str(header.get("OBS_ID", "unknown")).strip(),
        filter=str(header.get("FILTER", "")).strip().lower() or "unknown",
    )


@lru_cache(maxsize=1)
def _whole(files: EventFiles, choice: Choice) -> Observation:
    """All good time of an observation: the next item often wants the same."""
    events, quiet = _open(files, choice)
    parts = plan_parts(events, quiet, expo_time_ks=0, min_gti_s=choice.min_gti)
    return _images(events, parts, choice)[0]


def _thinned(
    files: EventFiles, choice: Choice, numbers: range, **options: Any
) -> Iterator[dict[str, Any]]:
    """Some random divisions of an observation."""
    for k in numbers:
        yield thinned_pair(_whole(files, choice), number=k, **options)


def _timed(
    files: EventFiles,
    choice: Choice,
    *,
    sky: str,
    pairing: str,
    exposure_ks: tuple[float, float],
) -> Iterator[dict[str, Any]]:
    """Every piece of an observation with the rest of it, or with the pieces of 50 ks."""
    events, quiet = _open(files, choice)
    plan = partial(plan_parts, events, quiet, min_gti_s=choice.min_gti)
    (whole,) = plan(expo_time_ks=0)
    total_ks, target_ks = whole.exposure_s / 1000, TASK.target_exposure_s / 1000
    room_ks = LARGEST_SHARE * (total_ks if pairing == "disjoint" else target_ks)
    wanted = [ks for ks in pieces_ks(exposure_ks) if ks <= room_ks]
    if not wanted or (pairing == "nested" and total_ks < target_ks):
        raise InputError(
            f"{files.events}: {total_ks:.1f} ks of good time, too short for {pairing} pairs; "
            "leave it out, or ask for a shorter exposure"
        )
    short = plan(split_ks=wanted)
    long = [whole] if pairing == "disjoint" else plan(split_ks=target_ks)
    images = _images(events, [*long, *short], choice)
    targets = list(zip(long, images, strict=False))
    for part, image in zip(short, images[len(long) :], strict=True):
        for other, target in targets:
            subtract = other is whole
            apart = subtract or not _common_time(part, other)
            label = "disjoint" if apart else "nested"
            yield timed_pair(image, target, sky=sky, pairing=label, subtract=subtract)


def _common_time(first: Part, second: Part) -> bool:
    """Whether two pieces share good time; less than half a second is rounding."""
    shared = (length_s(intersect(gti, second.gti[ccd])) for ccd, gti in first.gti.items())
    return max(shared, default=0.0) > 0.5


def pieces_ks(exposure_ks: tuple[float, float]) -> list[float]:
    """Pieces [ks] to cut an observation into: the one of ``exposure_ks``, or multiples of 10 ks."""
    low, high = exposure_ks
    if low == high:
        return [low]
    return [k * STEP_KS for k in range(math.ceil(low / STEP_KS), int(high / STEP_KS) + 1)]
