"""Denoise or super-resolve FITS images: ``python -m xmm_jax.enhance FILE... --model=FOLDER``.

Beside each input (or under ``--out``) comes ``<name>_SR.fits.gz`` or ``<name>_DN.fits.gz`` with

======  ============================================================================
RATE    count rate [count/s/pixel] at the new pixels, exact WCS (primary image)
DQ      quality bits: 1 dead pixel, 2 input above the clip rate, 4 output at its limit
INPUT   the counts that went in, on their own grid, WCS as in the input
======  ============================================================================
"""

import dataclasses
import glob
import json
import re
import sys
import types
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from tyro.conf import Positional

from xmm_jax import __version__
from xmm_jax.config import TASKS
from xmm_jax.data.fitsfile import write_fits
from xmm_jax.data.observation import Observation, read_observation
from xmm_jax.data.wcs import regrid_header
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import progress, say
from xmm_jax.model import Model, load_model

DQ_DEAD, DQ_CLIPPED, DQ_SATURATED = 1, 2, 4
# Exposures like those of the training set; the published scripts warn outside of 15-25 ks.
USUAL_EXPOSURE_S = (15_000.0, 25_000.0)
# Dead pixels around the image (rows, columns), which make the pn frame the 416 x 416 of training.
MARGIN = ((2, 3), (6, 7))


@dataclasses.dataclass(frozen=True)
class EnhanceConfig:
    """What to enhance with which model."""

    files: Positional[tuple[str, ...]] = ()
    """FITS images (plain, .gz, .FTZ) or patterns such as 'images/*.fits.gz'."""
    model: str = ""
    """Model folder, or run folder (its best weights)."""
    task: Literal["", "sr", "dn"] = ""
    """Task the model must be for; empty: whatever it is for."""
    out: str = ""
    """Folder for the results; empty: beside each input."""
    force: bool = False
    """Accept other bands, cameras and modes; written to the header."""


@dataclasses.dataclass(frozen=True)
class Enhanced:
    """Result for one image.

    Attributes
    ----------
    rate : array
        Count rate [count/s/pixel], ``[s*y, s*x]`` float32, 0 where dead.
    dq : array
        Quality bits, ``[s*y, s*x]`` uint8.
    """

    rate: np.ndarray
    dq: np.ndarray


def enhance(
    counts: np.ndarray,
    exposure: np.ndarray,
    *,
    model: Model | str | Path,
    task: str = "",
    valid: np.ndarray | None = None,
) -> Enhanced:
    """Denoise or super-resolve one image.

    Parameters
    ----------
    counts : array
        Counts per pixel, ``[y, x]``.
    exposure : array
        Live time [s], ``[y, x]``, 0 where dead.
    model : Model or path
        From `xmm_jax.load_model`, or the folder to load it from.
    task : str
        Task that the model must be for; empty: whatever it is for.
    valid : array of bool, optional
        True = use the pixel; all with exposure by default.

    Returns
    -------
    Enhanced
        On a grid ``model.scale.upscale`` times finer, registered with the input.

    Raises
    ------
    InputError
        If the arrays do not fit each other, or the model is none or for another task.
    """
    model = open_model(model, task)
    if np.ndim(counts) != 2 or np.shape(counts) != np.shape(exposure):
        raise InputError(
            f"counts {np.shape(counts)} and exposure {np.shape(exposure)}: two images of one shape"
        )
    alive = np.asarray(exposure) > 0
    valid = alive if valid is None else alive & valid
    frames = {"counts": counts, "exposure": np.float32(exposure), "valid": valid}
    batch = {name: np.pad(array, MARGIN)[None, ..., None] for name, array in frames.items()}
    padded = np.asarray(model.predict(batch))[0, :, :, 0]
    s = model.scale.upscale
    rows, columns = (
        slice(s * low, s * (low + n)) for (low, _), n in zip(MARGIN, counts.shape, strict=True)
    )
    valid_fine = valid.repeat(s, 0).repeat(s, 1)
    rate = padded[rows, columns]
    seen = np.divide(counts, exposure, out=np.zeros(counts.shape), where=valid)
    clipped = (seen > model.scale.clip_rate).repeat(s, 0).repeat(s, 1)
    saturated = rate >= np.float32(model.scale.target_clip_rate) * (1 - 1e-6)
    dq = DQ_DEAD * ~valid_fine + DQ_CLIPPED * clipped + DQ_SATURATED * saturated
    return Enhanced(rate, dq.astype(np.uint8))


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Enhance as the command line says."""
    config = parse_flags(
        EnhanceConfig(), argv, verb="enhance", description="Denoise or super-resolve FITS images."
    )
    files = find_files(config.files)
    if not config.model:
        raise InputError("--model=FOLDER is needed: a model folder, or a run of `xmm-jax train`")
    model = open_model(config.model, config.task)
    outputs = [output_path(path, config.out, TASKS[model.task].suffix) for path in files]
    if twice := sorted(str(path) for path, n in Counter(outputs).items() if n > 1):
        raise InputError(f"several inputs would be written to {twice[0]}; run them apart")
    failed = []
    pairs = list(zip(files, outputs, strict=True))
    for path, output in progress(pairs, total=len(pairs), label="enhancing"):
        try:
            enhance_file(path, output, model, name=config.model, force=config.force)
        except InputError as error:
            failed.append(error)
            if len(files) > 1:
                say(f"failed: {error}")
    if failed:
        done = len(files) - len(failed)
        raise (
            failed[0]
            if len(files) == 1
            else InputError(f"{len(failed)} of {len(files)} files failed, {done} written")
        )


def open_model(model: Model | str | Path, task: str) -> Model:
    """Load a model where only its folder is given, and check what it is for.

    Raises
    ------
    InputError
        If it is for another task, or no model.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    if task and task != loaded.task:
        raise InputError(f"{model}: a model for {loaded.task}, not for --task={task}")
    return loaded


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Files of names and patterns, in order.

    Raises
    ------
    InputError
        If none is given or a pattern matches nothing.
    """
    if not patterns:
        raise InputError("name at least one image: xmm-jax enhance IMAGE.fits --model=FOLDER")
    files: list[Path] = []
    for pattern in patterns:
        # A name that exists is a name, even with brackets in it.
        found = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))  # noqa: PTH207 (absolute patterns too)
        if not found:
            raise InputError(f"{pattern}: no such file; check the name")
        files += [Path(name) for name in found]
    return files


def output_path(path: Path, out: str, suffix: str) -> Path:
    """``<name>_<suffix>.fits.gz`` beside the input, or in the folder ``out``."""
    stem = re.sub(r"(\.(fits?|fts|ftz|gz))+$", "", path.name, flags=re.IGNORECASE)
    return (Path(out) if out else path.parent) / f"{stem}_{suffix}.fits.gz"


def enhance_file(path: Path, output: Path, model: Model, *, name: str, force: bool) -> None:
    """Read one image, enhance it, write the result, say what was written.

    Parameters
    ----------
    path, output : Path
        FITS in and out.
    model : Model
        The model.
    name : str
        Where the model is from, for the header.
    force : bool
        Accept other bands, cameras and modes.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    observation = read_observation(path, force=force)
    for note in observation.notes:
        say(f"{path.name}: {note}")
    low, high = USUAL_EXPOSURE_S
    if not low <= observation.exposure_s <= high:
        say(
            f"{path.name}: EXPOSURE {observation.exposure_s / 1000:.1f} ks; the model was trained "
            f"at {TASKS[model.task].exposure_s / 1000:g} ks, trust the result less"
        )
    result = enhance(observation.counts, observation.exposure, model=model, valid=observation.valid)
    history = [
        f"xmm_jax {__version__} enhance, task {model.task}, input {path.name}",
        f"model {Path(name).name}: {json.dumps(model.origin)}",
        f"units: {json.dumps(dataclasses.asdict(model.scale))}",
    ]
    if force:
        history.append("--force: checks of camera, mode, filter and band were switched off")
    write_fits(output, to_hdus(observation, result, model, history))
    alive = observation.valid
    before = (observation.counts[alive] / observation.exposure[alive]).sum()
    say(f"wrote {output}: {result.rate.sum():.4g} count/s, input {before:.4g} count/s")


def to_hdus(
    observation: Observation, result: Enhanced, model: Model, history: Sequence[str]
) -> list[Any]:
    """FITS extensions of a result: RATE (primary), DQ, INPUT.

    Parameters
    ----------
    observation : Observation
        What went in.
    result : Enhanced
        What came out.
    model : Model
        What made it.
    history : sequence of str
        HISTORY cards.
    """
    task = TASKS[model.task]
    header = regrid_header(observation.header, upscale=model.scale.upscale)
    rate = fits.PrimaryHDU(result.rate, header)
    rate.header["EXTNAME"] = "RATE"
    rate.header["BUNIT"] = ("count s-1 pixel-1", "per pixel of this image")
    rate.header["EQUIVEXP"] = (
        task.target_exposure_s,
        "[s] RATE x EQUIVEXP: counts of such an image",
    )
    rate.header["BACKGRND"] = (task.target_background, "background is part of RATE")
    rate.header["CREATOR"] = f"xmm_jax {__version__}"
    for line in history:
        rate.header.add_history(line)
    dq = fits.ImageHDU(result.dq, header, name="DQ")
    for bit, meaning in (
        (DQ_DEAD, "dead pixel or outside the field of view"),
        (DQ_CLIPPED, "input above the clip rate of the network"),
        (DQ_SATURATED, "output at the upper limit of the network"),
    ):
        dq.header[f"DQBIT{bit.bit_length() - 1}"] = (bit, meaning)
    counts = np.where(observation.valid, observation.counts, 0).astype(np.int32)
    given = fits.ImageHDU(counts, regrid_header(observation.header), name="INPUT")
    given.header["BUNIT"] = "count"
    return [rate, dq, given]


class _Callable(types.ModuleType):
    """The module made callable: ``xmm_jax.enhance(...)`` is the function of the same name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Enhanced:
        return enhance(*args, **kwargs)


# Importing a submodule binds its name in the package, so ``xmm_jax.enhance`` may be this module
# although the public name is the function.
sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    main()
