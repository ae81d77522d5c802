"""Pairs from real EPIC-pn images: of several exposures, or divided at random.

Folders ``<root>/{20ks,50ks,full}`` of Sweere et al. 2022 hold images of the first, second ...
stretch of the clean time of an observation, and of all of it. An image is contained in the full
one, so the published pairs (20 ks, 50 ks) mostly share photons; a network rewarded for that learns
to keep noise. Default is a target without them: the longer image minus the input.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

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
from xmm_jax.data.observation import Observation, read_observation
from xmm_jax.data.sources import Source, common_sky, pointing
from xmm_jax.errors import InputError

Read = Callable[[Path], Observation]

_SUFFIX = re.compile(r"\.(fits?(\.gz)?|ftz)$", re.IGNORECASE)
_NAME = re.compile(
    r"(?P<obs_id>\d{10})_image(?P<split>_split)?_\d+_\d+_(?P<ks>\d+(\.\d+)?)ks"
    r"(_(?P<parts>\d+)_(?P<part>\d+))?\.fits(\.gz)?"
)


@dataclass(frozen=True)
class RealImage:
    """One file of the published layout, as its name tells.

    Parameters
    ----------
    path : Path
        The file.
    obs_id : str
        Ten-digit observation.
    exposure_ks : float
        Exposure the name promises [ks]; the header may hold another.
    part : int
        Which stretch of the clean time, from 1; 0 for all of it.
    """

    path: Path
    obs_id: str
    exposure_ks: float
    part: int


def parse_name(path: str | Path) -> RealImage | None:
    """Read what an image is from its file name.

    Parameters
    ----------
    path : str or Path
        The file; it need not exist.

    Returns
    -------
    RealImage or None
        None for a file of another kind.
    """
    path = Path(path)
    found = _NAME.fullmatch(path.name)
    if found is None or bool(found["split"]) != bool(found["part"]):
        return None
    return RealImage(path, found["obs_id"], float(found["ks"]), int(found["part"] or 0))


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """List FITS files.

    Parameters
    ----------
    paths : sequence of path
        Files, and folders that hold FITS files or folders with FITS files (``20ks``, ``full``).

    Returns
    -------
    list of Path
        Files that are named, and ``.fits``, ``.fits.gz``, ``.FTZ`` found in the folders, sorted.

    Raises
    ------
    InputError
        There are none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        inside = [*path.glob("*"), *path.glob("*/*")] if path.is_dir() else [path]
        found += sorted(file for file in inside if file == path or _SUFFIX.search(file.name))
    if not found:
        raise InputError(
            f"{', '.join(map(str, paths))}: no images; expected FITS files, or the published "
            "<root>/{20ks,50ks,full}/<OBSID>_image_..."
        )
    return found


def real_source(
    paths: Sequence[str | Path],
    *,
    pairing: str = "disjoint",
    exposure_ks: tuple[float, float] = INPUT_KS,
    n: int = 1,
    seed: int = 0,
    mask: np.ndarray | None = None,
    force: bool = False,
) -> Source:
    """Pairs for task ``dn`` of every patch of sky in real images.

    Observations that see common sky are one source, named after the first of them.

    Parameters
    ----------
    paths : sequence of path
        Images and folders with images, see `find_files`.
    pairing : str
        ``disjoint``: target is the longest image that contains the input, minus the input.
        ``nested``: target is every 50 ks image, as published; pairs whose names tell that they
        have no common time are labelled ``disjoint`` all the same. Both need images that are named
        as published.
        ``thinned``: the longest image of each observation, however it is named, divided at random.
    exposure_ks : tuple of float
        Shortest and longest exposure of the input [ks].
    n : int
        Random divisions of each observation, for ``thinned``.
    seed : int
        Seed of the random divisions.
    mask : ndarray, optional
        Detector mask, that of the camera by default.
    force : bool
        Accept images of another band, mode or instrument.

    Returns
    -------
    Source
        An item for each observation, or for every 32 divisions of it.

    Raises
    ------
    InputError
        No images, no observation with a pair, or an unknown pairing.
    """
    if pairing not in PAIRINGS:
        raise InputError(f"pairing {pairing}: pairs of real images are {', '.join(PAIRINGS)}")
    read = partial(read_observation, mask=mask, force=force)
    images, failed = _by_observation(find_files(paths), read if pairing == "thinned" else None)
    pairs, pointings = {}, {}
    for obs_id, mine in images.items():
        try:
            pairs[obs_id] = _pairs(mine, pairing, exposure_ks)
            first = read(pairs[obs_id][0][0].path)
            pointings[obs_id] = pointing(first.header or fits.Header())
        except InputError as error:
            failed[obs_id] = str(error)
    if not pointings:
        raise InputError(
            f"{', '.join(map(str, paths))}: no observation has the images that {pairing} pairs "
            f"need; {len(failed)} left out, the first: {next(iter(failed.values()), 'none named')}"
        )
    of_obs_id = common_sky(pointings)
    draws, sky = {}, {}
    for obs_id, source in of_obs_id.items():
        if pairing != "thinned":
            draws[obs_id] = partial(_timed, pairs[obs_id], sky=source, pairing=pairing, read=read)
            sky[obs_id] = source
            continue
        options = {"sky": source, "exposure_ks": exposure_ks, "seed": seed}
        for item, numbers in blocks(obs_id, n).items():
            draws[item] = partial(_thinned, pairs[obs_id][0][0].path, numbers, read, **options)
            sky[item] = source
    expected = n if pairing == "thinned" else len(next(iter(pairs.values())))
    return Source(draws, sky, failed, pairs=min(expected, TOGETHER))


def _by_observation(
    files: Sequence[Path], read: Read | None
) -> tuple[dict[str, list[RealImage]], dict[str, str]]:
    """Images of each observation, shortest first, and what cannot be read.

    Without `read` only images that are named as published are taken.
    """
    images: dict[str, list[RealImage]] = {}
    failed: dict[str, str] = {}
    for path in files:
        image = parse_name(path)
        if image is None and read is not None:
            try:
                observation = read(path)
            except InputError as error:
                failed["/".join(path.parts[-2:])] = str(error)
                continue
            image = RealImage(path, observation.obs_id, observation.exposure_s / 1000, 0)
        if image is not None:
            images.setdefault(image.obs_id, []).append(image)
    for mine in images.values():
        mine.sort(key=lambda image: (image.exposure_ks, image.part))
    return images, failed


def _pairs(
    images: list[RealImage], pairing: str, exposure_ks: tuple[float, float]
) -> list[tuple[RealImage, RealImage]]:
    """Input and target of each pair that an observation offers."""
    low, high = exposure_ks
    target_ks = TASK.target_exposure_s / 1000
    short = [i for i in images if i.part and low - 0.5 < i.exposure_ks < high + 0.5]
    long = [i for i in images if i.part and abs(i.exposure_ks - target_ks) < 0.5]
    longest, wanted = images[-1], f"{low:g} ks" if low == high else f"{low:g} to {high:g} ks"
    room_ks = LARGEST_SHARE * longest.exposure_ks
    if pairing == "nested":
        need = f"{wanted} and {target_ks:g} ks"
        pairs = [(a, b) for a in short for b in long if b.exposure_ks > a.exposure_ks]
    elif pairing == "disjoint":
        need = f"{wanted} and one above {low / LARGEST_SHARE:g} ks"
        pairs = [(a, longest) for a in short if a.exposure_ks <= room_ks]
    else:
        need = f"one above {low / LARGEST_SHARE:g} ks"
        pairs = [(longest, longest)] if low <= room_ks else []
    if not pairs:
        raise InputError(f"{longest.path}: {pairing} pairs need images of {need}")
    return pairs


def _timed(
    pairs: Sequence[tuple[RealImage, RealImage]], *, sky: str, pairing: str, read: Read
) -> Iterator[dict[str, Any]]:
    """Every pair of an observation."""
    for first, second in pairs:
        subtract = pairing == "disjoint"
        apart = subtract or not _common_time(first, second)
        yield timed_pair(
            read(first.path),
            read(second.path),
            sky=sky,
            pairing="disjoint" if apart else "nested",
            subtract=subtract,
        )


def _common_time(first: RealImage, second: RealImage) -> bool:
    """Whether two images overlap: part j of T covers the clean time from (j - 1) T to j T."""
    if not first.part or not second.part:
        return True
    start, stop = (first.exposure_ks * (first.part - end) for end in (1, 0))
    return (
        second.exposure_ks * (second.part - 1) < stop and start < second.exposure_ks * second.part
    )


def _thinned(path: Path, numbers: range, read: Read, **options: Any) -> Iterator[dict[str, Any]]:
    """Some random divisions of an image."""
    observation = read(path)
    for k in numbers:
        yield thinned_pair(observation, number=k, **options)
