"""Pairs from real EPIC-pn images of several exposures, in the layout of Sweere et al. 2022.

Folders ``<root>/{20ks,50ks,full}`` hold images of the first, second ... stretch of the clean time
of an observation, and of all of it. An image is contained in the full one, so the published pairs
(20 ks, 50 ks) mostly share photons; a network rewarded for that learns to keep noise. Default is a
target without them: the longer image minus the input.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from xmm_jax.config import TASKS
from xmm_jax.data.fitsfile import number
from xmm_jax.data.observation import Observation, read_observation
from xmm_jax.data.pairs import make_sample
from xmm_jax.data.thinning import generator, thin
from xmm_jax.errors import InputError

PAIRINGS = ("disjoint", "nested", "thinned")
FIELD_ARCMIN = 30.0
"""Observations pointed closer than this see common sky: twice the radius of the field of view."""

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


def find_images(root: str | Path) -> dict[str, list[RealImage]]:
    """List the images under a folder by observation.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``20ks``, ``50ks``, ``full`` or some of them.

    Returns
    -------
    dict of str to list of RealImage
        Images of each observation, shortest exposure first.

    Raises
    ------
    InputError
        There are none.
    """
    found: dict[str, list[RealImage]] = {}
    for path in sorted(Path(root).glob("*/*.fits*")):
        if image := parse_name(path):
            found.setdefault(image.obs_id, []).append(image)
    if not found:
        raise InputError(
            f"{root}: no images; expected <root>/{{20ks,50ks,full}}/<OBSID>_image_..., as published"
        )
    return {
        obs_id: sorted(images, key=lambda image: (image.exposure_ks, image.part))
        for obs_id, images in found.items()
    }


def real_source(
    root: str | Path,
    *,
    pairing: str = "disjoint",
    n: int = 1,
    seed: int = 0,
    mask: np.ndarray | None = None,
    force: bool = False,
) -> dict[str, Callable[[], Iterator[dict[str, Any]]]]:
    """Pairs for task ``dn`` of every patch of sky in a folder of real images.

    Observations that see common sky are one source, named after the first of them.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``20ks``, ``50ks``, ``full``.
    pairing : str
        ``disjoint``: target is the longest image that contains the input, minus the input.
        ``nested``: target is every 50 ks image, as published; pairs whose names tell that they
        have no common time are labelled ``disjoint`` all the same.
        ``thinned``: the longest image, divided at random into 20 ks and the rest.
    n : int
        Random divisions of each image, for ``thinned``.
    seed : int
        Seed of the random divisions.
    mask : ndarray, optional
        Detector mask, that of the camera by default.
    force : bool
        Accept images of another band, mode or instrument.

    Returns
    -------
    dict of str to callable
        For each source a function that draws its samples on the native frame.

    Raises
    ------
    InputError
        No images, no observation with a pair, or an unknown pairing.
    """
    if pairing not in PAIRINGS:
        raise InputError(f"pairing {pairing}: pairs of real images are {', '.join(PAIRINGS)}")
    read = partial(read_observation, mask=mask, force=force)
    pairs = {obs_id: _pairs(images, pairing, n) for obs_id, images in find_images(root).items()}
    pairs = {obs_id: found for obs_id, found in pairs.items() if found}
    if not pairs:
        raise InputError(
            f"{root}: no observation has the images that {pairing} pairs need; disjoint needs "
            "20 ks and a longer one, nested 20 and 50 ks, thinned one above 25 ks"
        )
    sources: dict[str, list[str]] = {}
    for obs_id, source in _common_sky({o: read(found[0][0].path) for o, found in pairs.items()}):
        sources.setdefault(source, []).append(obs_id)

    def draw(source: str) -> Iterator[dict[str, Any]]:
        for obs_id in sources[source]:
            for k, (first, second) in enumerate(pairs[obs_id]):
                if pairing == "thinned":
                    yield _thinned(read(first.path), source, seed=seed, k=k)
                else:
                    yield _paired(first, second, source, subtract=pairing == "disjoint", read=read)

    return {source: partial(draw, source) for source in sources}


def _pairs(images: list[RealImage], pairing: str, n: int) -> list[tuple[RealImage, RealImage]]:
    """Input and target of each pair that an observation offers."""
    short, long = (
        [image for image in images if image.part and abs(image.exposure_ks - seconds / 1000) < 0.5]
        for seconds in (TASKS["dn"].exposure_s, TASKS["dn"].target_exposure_s)
    )
    longest = images[-1]
    if pairing == "thinned":
        enough = longest.exposure_ks > 1.25 * TASKS["dn"].exposure_s / 1000
        return [(longest, longest)] * n if enough else []
    if pairing == "nested":
        return [(first, second) for first in short for second in long]
    return [(first, longest) for first in short if longest.exposure_ks > first.exposure_ks]


def _common_sky(observations: dict[str, Observation]) -> list[tuple[str, str]]:
    """Source of each observation: the first one of those linked by overlapping fields."""
    obs_ids = sorted(observations)
    headers = [observations[obs_id].header or fits.Header() for obs_id in obs_ids]
    pointing = np.array(
        [[number(header, key, np.nan) for key in ("RA_PNT", "DEC_PNT")] for header in headers]
    )
    ra, dec = np.deg2rad(pointing).T
    towards = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    near = towards @ towards.T > np.cos(np.deg2rad(FIELD_ARCMIN / 60))  # False without pointing
    first = np.arange(len(obs_ids))
    while True:
        linked = np.where(near, first[None, :], len(first)).min(axis=1)
        linked = np.minimum(first, linked)
        if (linked == first).all():
            return [(obs_id, obs_ids[k]) for obs_id, k in zip(obs_ids, first, strict=True)]
        first = linked


def _paired(
    first: RealImage,
    second: RealImage,
    source: str,
    *,
    subtract: bool,
    read: Callable[[Path], Observation],
) -> dict[str, Any]:
    """Input and a longer image of the same observation, with or without the input's photons."""
    observed, longer = read(first.path), read(second.path)
    target, exposure = longer.counts, longer.exposure
    if subtract:
        if not (observed.counts <= target).all():
            raise InputError(
                f"{second.path}: does not contain {first.path.name}, so cannot be its disjoint "
                "target; it must be the full image of the observation"
            )
        target = target - observed.counts
        # A fraction of a second is rounding of the on times, not exposure.
        exposure = np.where(exposure - observed.exposure < 1, 0, exposure - observed.exposure)
    return make_sample(
        observed.counts,
        observed.exposure,
        observed.valid,
        target,
        exposure,
        longer.valid & observed.valid,
        source_id=source,
        obs_id=first.obs_id,
        pairing="disjoint" if subtract or not _common_time(first, second) else "nested",
        filter=observed.filter,
        band_kev=observed.band_kev,
    )


def _common_time(first: RealImage, second: RealImage) -> bool:
    """Whether two images overlap: part j of T covers the clean time from (j - 1) T to j T."""
    if not first.part or not second.part:
        return True
    start, stop = (first.exposure_ks * (first.part - end) for end in (1, 0))
    return (
        second.exposure_ks * (second.part - 1) < stop and start < second.exposure_ks * second.part
    )


def _thinned(observation: Observation, source: str, *, seed: int, k: int) -> dict[str, Any]:
    """One image divided at random: its photons go to the input with the odds of 20 ks."""
    fraction = TASKS["dn"].exposure_s / observation.exposure_s
    if fraction > 0.8:
        raise InputError(
            f"{observation.obs_id}: EXPOSURE is {observation.exposure_s:.0f} s, too short to take "
            "20 ks out of it"
        )
    draw = generator(seed, observation.obs_id, k)
    counts = thin(draw, observation.counts, fraction)
    return make_sample(
        counts,
        observation.exposure * fraction,
        observation.valid,
        observation.counts - counts,
        observation.exposure * (1 - fraction),
        observation.valid,
        source_id=source,
        obs_id=observation.obs_id,
        pairing="thinned",
        filter=observation.filter,
        band_kev=observation.band_kev,
        seed=seed,
    )
