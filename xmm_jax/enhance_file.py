"""One FITS file: read and looked at, and its result written."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from astropy.io import fits

from xmm_jax import __version__
from xmm_jax.compat import write_compat
from xmm_jax.data.fitsfile import BROKEN, in_tiles, read_image, write_fits
from xmm_jax.data.observation import Observation, read_observation
from xmm_jax.data.quiet import ONE_AT_A_TIME
from xmm_jax.domain import compare
from xmm_jax.enhancement import LEAST_SIDE, finish
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN
from xmm_jax.model import Model
from xmm_jax.nddata import Given, known_background
from xmm_jax.planes import Enhanced, to_hdus
from xmm_jax.sampling import Sampling
from xmm_jax.side_by_side import write_picture
from xmm_jax.status import DONE, Status
from xmm_jax.support import UNSUPPORTED
from xmm_jax.worklist import stem_of

MARK = "XMMMARK"  # keyword of what tells results of one model and its settings from others


class Job(NamedTuple):
    """An input, where its result goes, and when it was begun."""

    path: Path
    output: Path


class Loaded(NamedTuple):
    """What was read for a job: the observation, notes to say of it, when that started [s]."""

    observation: Observation
    given: Given
    notes: tuple[str, ...]
    started: float


@dataclasses.dataclass(frozen=True)
class How:
    """What decides a result beside the model and the input.

    Attributes
    ----------
    conserve, support : bool
        As for `xmm_jax.enhance`.
    force : bool
        Accept other bands, cameras, modes and sizes.
    exposure, mask, background : str
        FITS files of the exposure map [s] and of live pixels, where not those of the input, and of
        background [count]; ``{stem}`` stands for the name of the input without its ending,
        ``{folder}`` for its folder.
    compat, preview : bool
        Also write the files of the published tool (`xmm_jax.compat`); a picture.
    samples, temperature, seed
        See `xmm_jax.sampling.Sampling`.
    keep_samples : bool
        Also write the samples.
    """

    conserve: bool = False
    support: bool = True
    force: bool = False
    exposure: str = ""
    mask: str = ""
    background: str = ""
    compat: bool = False
    preview: bool = False
    samples: int = 0
    temperature: float = 0.8
    seed: int = 0
    keep_samples: bool = False

    @property
    def sampling(self) -> Sampling:
        """Samples to draw."""
        return Sampling(self.samples, self.temperature, self.seed)


def mark_of(model: Model, how: How) -> str:
    """Short name of a model with its settings: equal marks, equal results.

    Parameters
    ----------
    model : Model
        Its weights count, not where it lies.
    how : How
        The settings.
    """
    content = hashlib.blake2b(digest_size=6)
    for leaf in jax.tree.leaves(model.params):
        content.update(np.asarray(leaf).tobytes())
    laws = [law and law.to_json() for law in (model.intervals, model.apertures)]
    rest = [dataclasses.asdict(part) for part in (model.scale, how)]
    content.update(json.dumps([__version__, *rest, model.symmetric, *laws]).encode())
    return content.hexdigest()


def is_there(job: Job, mark: str) -> bool:
    """Whether the result of a job is complete, of this model and settings, and of this input.

    Parameters
    ----------
    job : Job
        A file without result, with an unreadable one, or that changed since, is to be done.
    mark : str
        From `mark_of`.
    """
    try:
        if job.output.stat().st_mtime < job.path.stat().st_mtime:
            return False
        return bool(fits.getval(job.output, MARK) == mark)
    except BROKEN:
        return False


def load(job: Job, model: Model, how: How) -> Loaded:
    """Read the input of a job and hold it against what the model knows.

    Parameters
    ----------
    job : Job
        The job.
    model : Model
        Who is to answer.
    how : How
        Whether to accept what is unlike its training set.

    Raises
    ------
    InputError
        If the file cannot be used, or changed while it was read.
    """
    started = time.monotonic()
    before = _print_of(job.path)
    maps = {name: _beside(job.path, getattr(how, name)) for name in ("exposure", "mask")}
    observation = read_observation(job.path, force=how.force, **maps)
    if _print_of(job.path) != before:
        raise InputError(f"{job.path}: changed while it was read; run again when it is complete")
    shape = observation.counts.shape
    if min(shape) < LEAST_SIDE:
        raise InputError(
            f"{job.path}: {shape[0]} x {shape[1]} pixels are too few; give an image of at least "
            f"{LEAST_SIDE} x {LEAST_SIDE}"
        )
    notes = observation.notes
    try:
        notes += compare(observation, model.domain)
    except InputError as error:
        if not how.force:
            raise InputError(f"{job.path}: {error}") from None
        notes += (f"forced: {error}",)
    if shape != PN.shape and (how.support or how.conserve):
        notes += ("not the frame of the camera: the photons are not asked, nothing is corrected",)
    valid = observation.valid & (observation.exposure > 0)
    counts, exposure = (
        np.where(valid, image, 0) for image in (observation.counts, observation.exposure)
    )
    background = _beside(job.path, how.background)
    try:
        known = None if background is None else known_background(background, valid)
    except InputError as error:
        raise InputError(f"{job.path}: {error}") from None
    given = Given(counts, exposure, valid, observation.wcs, known)
    return Loaded(observation, given, notes, started)


def write(
    job: Job, loaded: Loaded, said: np.ndarray, model: Model, name: str, how: How
) -> tuple[Status, Enhanced]:
    """Finish a job: result, errors, checks, FITS file.

    Parameters
    ----------
    job, loaded : Job, Loaded
        What it is about.
    said : ndarray
        What the network says [network units], from `xmm_jax.enhancement.answer`.
    model : Model
        The network.
    name : str
        What the header calls it.
    how : How
        Settings.

    Returns
    -------
    Status
        Row of the table.
    Enhanced
        The result.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    whole = loaded.given.counts.shape == PN.shape
    support, conserve = how.support and whole, how.conserve and whole
    result = finish(model, loaded.given, said, conserve=conserve, support=support)
    history = [
        f"xmm_jax {__version__} enhance, task {model.task}, input {job.path.name}",
        f"model {name}: {json.dumps(model.origin)}",
        f"units: {json.dumps(dataclasses.asdict(model.scale))}",
        *(f"note: {note}" for note in loaded.notes),
    ]
    if how.samples:
        history.append(f"samples: {json.dumps(dataclasses.asdict(how.sampling))}")
        if not how.keep_samples:
            result = dataclasses.replace(result, samples=None)
    if how.force:
        history.append("--force: checks of camera, mode, filter and band were switched off")
    hdus = to_hdus(loaded.observation, result, model, history)
    hdus[0].header[MARK] = (mark_of(model, how), "model and settings")
    folder = job.output.parent
    if how.compat:
        write_compat(job.path, folder, loaded.observation, result, model.task)
    if how.preview:
        picture = folder / f"{stem_of(job.output)}.png"
        with ONE_AT_A_TIME:  # matplotlib is not made for threads
            write_picture(picture, loaded.observation, result, job.path.name)
    # Last, because it is by this file that a job is known to be done.
    write_fits(job.output, in_tiles(hdus) if job.output.suffix == ".fz" else hdus)
    return _status(job, loaded, result, model.task), result


def _status(job: Job, loaded: Loaded, result: Enhanced, task: str) -> Status:
    given, checked = loaded.given, result.support
    numbers: dict[str, Any] = {}
    if checked is not None:
        numbers = {
            "features": len(checked.features["x"]),
            "unsupported": int((checked.features["verdict"] == UNSUPPORTED).sum()),
            "erased": len(checked.erased["x"]),
        }
    return Status(
        input=str(job.path),
        task=task,
        output=str(job.output),
        status=DONE,
        seconds=round(time.monotonic() - loaded.started, 2),
        exposure_s=loaded.observation.exposure_s,
        counts=int(given.counts[given.valid].sum()),
        rate=float(f"{result.rate.sum():.6g}"),
        **numbers,
    )


def _beside(path: Path, template: str) -> np.ndarray | None:
    """Image of a file that belongs to an input, if one is named."""
    if not template:
        return None
    name = template.replace("{stem}", stem_of(path)).replace("{folder}", str(path.parent))
    return read_image(name).data


def _print_of(path: Path) -> tuple[int, int]:
    """What changes when a file does; a file that is not there has none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_size, found.st_mtime_ns
