"""What enhanced images are judged on: fields with their truth, the same for everybody.

``simulated``: drawn fields, of which the noise-free truth and the catalogue are known; or, where a
folder of published SIXTE simulations is named, those.
``disjoint``: real images, judged on photons that the input does not hold, from other minutes.
``thinned``: real images, each photon dealt at random to the input or to what it is judged on: the
telescope drifts and sources vary in both alike, so what is left is the photon noise.
``nested``: real images as published, of which target and input share photons; to compare only.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.wcs import WCS

from xmm_jax.config import TASKS, SimulatedConfig
from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.observation import as_counts, stated_exposure
from xmm_jax.data.pairs import make_sample
from xmm_jax.data.real import find_files, parse_name, real_source
from xmm_jax.data.sixte import read_mask
from xmm_jax.data.wcs import sky_wcs
from xmm_jax.errors import InputError
from xmm_jax.fields import catalogue, draw_samples
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator.truth import truth_columns

Protocol = Literal["simulated", "disjoint", "thinned", "nested"]

# Numbers of fields that no training run draws: those count from 0, and the validation fields of a
# stream begin at 2**31 - 2**16.
FIRST = {"test": 2**30, "tuning": 2**30 + 2**29}


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """One field to judge on.

    Attributes
    ----------
    name : str
        Observation or simulation.
    protocol : str
        ``simulated``, ``disjoint``, ``thinned`` or ``nested``.
    sample : dict
        Pair of `xmm_jax.data.schema` on the native frame, images [y, x, 1].
    catalogue : dict of str to ndarray or None
        What is on the sky where that is known: columns of
        `xmm_jax.simulator.truth.truth_columns`, positions in pixels of the input.
    wcs : WCS or None
        Sky coordinates of the input, of real images.
    """

    name: str
    protocol: str
    sample: dict[str, Any]
    catalogue: dict[str, np.ndarray] | None = None
    wcs: WCS | None = None


def simulated_fields(
    task: str,
    config: SimulatedConfig,
    *,
    seed: int = 0,
    use: Literal["test", "tuning"] = "test",
    numbers: Sequence[int] | None = None,
) -> Iterator[Field]:
    """Fields drawn by the simulator, none of which a training run sees.

    Parameters
    ----------
    task : str
        Decides exposures, upscale and background.
    config : SimulatedConfig
        How many and which sky.
    seed : int
        Seed of the set.
    use : {"test", "tuning"}
        Fields to judge on, or fields to choose parameters with.
    numbers : sequence of int, optional
        Which of the fields of the set; all by default.

    Yields
    ------
    Field
        With catalogue.
    """
    numbers = range(config.fields) if numbers is None else numbers
    names = [f"sim-{config.sky}-{seed}-{FIRST[use] + i}" for i in numbers]
    truth = catalogue(task, config, seed=seed)
    drawn = draw_samples(names, task=task, config=config, seed=seed)
    for i, sample in zip(numbers, drawn, strict=True):
        columns = truth_columns(truth(FIRST[use] + i), PN)
        yield Field(f"{config.sky}-{seed}-{i:03d}", "simulated", sample, columns)


def real_fields(root: str | Path, pairing: str, *, seed: int = 0) -> Iterator[Field]:
    """Real images of a folder in the published layout, for task ``dn``.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``20ks``, ``50ks``, ``full``; for ``thinned`` any images longer than
        25 ks.
    pairing : str
        ``disjoint``, ``thinned`` or ``nested``.
    seed : int
        Of the random division, for ``thinned``.

    Yields
    ------
    Field
        Without catalogue. A pair that turns out to share no photons under ``nested`` keeps the
        label of its sample.

    Raises
    ------
    InputError
        For a folder without such images.
    """
    paths = {image.obs_id: image.path for image in map(parse_name, find_files([root])) if image}
    for draw in real_source([root], pairing=pairing, seed=seed).draws.values():
        for sample in draw():
            obs_id = sample["obs_id"]
            path = paths.get(obs_id)  # none if the file is not named as published
            wcs = sky_wcs(read_image(path).header)[0] if path else None
            yield Field(obs_id, sample["pairing"], sample, wcs=wcs)


def sixte_fields(root: str | Path, task: str) -> Iterator[Field]:
    """Published co-added SIXTE images in ``<root>/combined``, for task ``sr``.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``combined/20ks`` and ``combined/100ks``.
    task : str
        ``sr``; there are no co-added targets of the other.

    Yields
    ------
    Field
        With a noisy target of 100 ks and without catalogue.

    Raises
    ------
    InputError
        For another task, or a folder without such images.
    """
    goal = TASKS[task]
    folders = [
        Path(root) / "combined" / f"{seconds / 1000:g}ks"
        for seconds in (goal.exposure_s, goal.target_exposure_s)
    ]
    inputs, targets = (
        {path.name.partition("_mult_")[0]: path for path in sorted(folder.glob("*_mult_*.fits*"))}
        for folder in folders
    )
    both = sorted(set(inputs) & set(targets))
    if not both:
        raise InputError(
            f"{root}: no co-added images for --task={task}; expected the same fields in "
            f"{folders[0]} and {folders[1]}"
        )
    for key in both:
        yield Field(key, "simulated", _coadded(key, inputs[key], targets[key], Path(root)))


def _coadded(key: str, first: Path, second: Path, root: Path) -> dict[str, Any]:
    """Sample of one published co-added pair."""
    images: list[np.ndarray] = []
    for path, upscale in ((first, 1), (second, TASKS["sr"].upscale)):
        image, mask = read_image(path), read_mask(root, upscale)
        counts = as_counts(image.data, path, shape=mask.shape)
        images += [counts, np.full(mask.shape, stated_exposure(image.header, path)), mask]
    return make_sample(*images, source_id=key, obs_id=key, pairing="simulated", filter="thin1")


def digest(fields: Iterable[Field]) -> str:
    """Short name of what a set of fields holds, to see whether two scores are of the same set.

    Parameters
    ----------
    fields : iterable of Field
        The set.

    Returns
    -------
    str
        16 hexadecimal digits of all input counts. Another kind of processor may round a drawn rate
        differently and so, rarely, draw another count: then the digest differs, and scores by
        less than their error.
    """
    return join_digests(counts_digest(field) for field in fields)


def counts_digest(field: Field) -> str:
    """Digest of the input counts of one field."""
    counts = np.ascontiguousarray(field.sample["counts"], np.int32)
    return hashlib.blake2b(counts.tobytes(), digest_size=8).hexdigest()


def join_digests(digests: Iterable[str]) -> str:
    """Digest of a set from the digests of its fields, in order."""
    return hashlib.blake2b("".join(digests).encode(), digest_size=8).hexdigest()
