"""Denoise or super-resolve FITS images: ``python -m xmm_jax.enhance FILE... --task=sr``.

Beside each input (or under ``--out``) comes ``<name>_SR.fits.gz`` or ``<name>_DN.fits.gz`` with the
planes of `xmm_jax.planes`.
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

import jax.numpy as jnp
import numpy as np
from tyro.conf import Positional

from xmm_jax import __version__
from xmm_jax.aperture import counts_within
from xmm_jax.backprojection import conserve as back_projected
from xmm_jax.config import TASKS
from xmm_jax.data.fitsfile import write_fits
from xmm_jax.data.observation import Observation, read_observation
from xmm_jax.domain import compare
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.instrument.camera import PN, angle_map
from xmm_jax.log import progress, say
from xmm_jax.losses.pixel import stated_width
from xmm_jax.model import Model, load_model
from xmm_jax.models.stretch import to_rate
from xmm_jax.planes import DQ_CLIPPED, DQ_DEAD, DQ_SATURATED, Enhanced, to_hdus
from xmm_jax.support import UNSUPPORTED, check_support, dq_bits

# Dead pixels around the image (rows, columns), which make the pn frame the 416 x 416 of training.
MARGIN = ((2, 3), (6, 7))


@dataclasses.dataclass(frozen=True)
class EnhanceConfig:
    """What to enhance with which model."""

    files: Positional[tuple[str, ...]] = ()
    """FITS images (plain, .gz, .FTZ) or patterns such as 'images/*.fits.gz'."""
    model: str = ""
    """Model folder, or run folder (its best weights); empty: the one that comes with the package
    for the task."""
    task: Literal["", "sr", "dn"] = ""
    """sr: 2" pixels, half the PSF, no background. dn: less noise at the same pixels."""
    conserve: bool = False
    """Correct the result until the telescope would see the photons of the input in it, within their
    noise (docs/support.md)."""
    support: bool = True
    """Ask the photons about every feature of the result: RESIDUAL, SOURCES, bits of DQ."""
    out: str = ""
    """Folder for the results; empty: beside each input."""
    force: bool = False
    """Accept other bands, cameras and modes; written to the header."""


def enhance(
    counts: np.ndarray,
    exposure: np.ndarray,
    *,
    model: Model | str | Path = "",
    task: str = "",
    valid: np.ndarray | None = None,
    conserve: bool = False,
    support: bool = False,
) -> Enhanced:
    """Denoise or super-resolve one image.

    Parameters
    ----------
    counts : array
        Counts per pixel, ``[y, x]``.
    exposure : array
        Live time [s], ``[y, x]``, 0 where dead.
    model : Model or path
        From `xmm_jax.load_model`, or the folder to load it from; empty: the one that comes with the
        package for the task.
    task : str
        ``sr`` or ``dn``; empty: whatever the model is for.
    valid : array of bool, optional
        True = use the pixel; all with exposure by default.
    conserve : bool
        Correct the result until it predicts the input within its noise.
    support : bool
        Also ask the photons about every feature of the result. Both need the frame of the camera,
        411 x 403.

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
    s = model.scale.upscale
    rows, columns = (
        slice(s * low, s * (low + n)) for (low, _), n in zip(MARGIN, counts.shape, strict=True)
    )
    said = np.asarray(model.respond(batch))[0, rows, columns]
    seconds = np.where(valid, exposure, 0.0).astype(np.float32)
    own = _rates(model, said[..., 0], seconds)
    rate, background = own, TASKS[model.task].target_background
    if conserve:
        corrected = back_projected(own, counts, exposure, valid, with_background=background)
        rate = corrected.rate.astype(np.float32)
    errors = _errors(model, said, seconds)
    if errors is not None:
        # The interval is about the answer of the network; a correction moves it along.
        moved = np.divide(rate, own, out=np.ones_like(own), where=own > 0)
        errors = tuple(moved * np.maximum(error, 0) for error in (own - errors[0], errors[1] - own))
    dq = _quality(model, counts, exposure, valid, rate)
    checked = None
    if support:
        checked = check_support(rate, counts, exposure, valid, with_background=background)
        if model.apertures is not None:
            places = checked.features["x_out"], checked.features["y_out"]
            fluxes = counts_within(rate, seconds, valid, places, model.apertures)
            checked = dataclasses.replace(checked, features=checked.features | fluxes)
        dq = dq | dq_bits(checked)
    return Enhanced(rate, dq.astype(np.uint8), *(errors or (None, None)), support=checked)


def _rates(model: Model, image: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Rate of an image in network units [count/s/pixel], 0 where there is no exposure."""
    s = model.scale.upscale
    rates = to_rate(model.scale, jnp.asarray(image)[..., None], jnp.asarray(seconds)[..., None])
    return np.where(seconds.repeat(s, 0).repeat(s, 1) > 0, np.asarray(rates)[..., 0], 0.0)


def _errors(
    model: Model, said: np.ndarray, seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper end of the interval [count/s/pixel], if the model knows it."""
    if model.intervals is None:
        return None
    s = model.scale.upscale
    angle = angle_map(PN, s) if seconds.shape == PN.shape else None
    width = np.asarray(stated_width(said[..., 1]))
    fine = seconds.repeat(s, 0).repeat(s, 1)
    low, high = model.intervals.bounds(said[..., 0], width, fine, angle)
    return _rates(model, low, seconds), _rates(model, high, seconds)


def _quality(
    model: Model, counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray, rate: np.ndarray
) -> np.ndarray:
    """Quality bits: dead, and where the units of the network end."""
    s = model.scale.upscale
    dq = DQ_DEAD * ~valid.repeat(s, 0).repeat(s, 1)
    if not model.scale.clips:
        return dq
    seen = np.divide(counts, exposure, out=np.zeros(counts.shape), where=valid)
    clipped = (seen > model.scale.clip_rate).repeat(s, 0).repeat(s, 1)
    saturated = rate >= np.float32(model.scale.target_clip_rate) * (1 - 1e-6)
    return dq + DQ_CLIPPED * clipped + DQ_SATURATED * saturated


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Enhance as the command line says."""
    config = parse_flags(
        EnhanceConfig(), argv, verb="enhance", description="Denoise or super-resolve FITS images."
    )
    files = find_files(config.files)
    model = open_model(config.model, config.task)
    outputs = [output_path(path, config.out, TASKS[model.task].suffix) for path in files]
    if twice := sorted(str(path) for path, n in Counter(outputs).items() if n > 1):
        raise InputError(f"several inputs would be written to {twice[0]}; run them apart")
    failed = []
    pairs = list(zip(files, outputs, strict=True))
    for path, output in progress(pairs, total=len(pairs), label="enhancing"):
        try:
            enhance_file(path, output, model, config)
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
    """Load a model where only its folder or its task is given, and check what it is for.

    Raises
    ------
    InputError
        If it is for another task, or no model, or neither folder nor task is given.
    """
    if model == "" and not task:
        raise InputError("say --task=sr (finer pixels, no background) or --task=dn (less noise)")
    model = task if model == "" else model
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


def enhance_file(path: Path, output: Path, model: Model, config: EnhanceConfig) -> None:
    """Read one image, enhance it, write the result, say what was written.

    Parameters
    ----------
    path, output : Path
        FITS in and out.
    model : Model
        The model.
    config : EnhanceConfig
        Whether to accept other kinds of images and to check the result; where the model is from.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    observation = read_observation(path, force=config.force)
    notes = [*observation.notes, *_differences(path, observation, model, config.force)]
    for note in notes:
        say(f"{path.name}: {note}")
    asked: Any = {"conserve": config.conserve, "support": config.support}
    arrays = observation.counts, observation.exposure
    result = enhance(*arrays, model=model, valid=observation.valid, **asked)
    history = [
        f"xmm_jax {__version__} enhance, task {model.task}, input {path.name}",
        f"model {Path(config.model).name or model.task}: {json.dumps(model.origin)}",
        f"units: {json.dumps(dataclasses.asdict(model.scale))}",
        *(f"note: {note}" for note in notes),
    ]
    if config.force:
        history.append("--force: checks of camera, mode, filter and band were switched off")
    write_fits(output, to_hdus(observation, result, model, history))
    alive = observation.valid
    before = (observation.counts[alive] / observation.exposure[alive]).sum()
    say(f"wrote {output}: {result.rate.sum():.4g} count/s, input {before:.4g} count/s")
    if result.support is not None:
        features, erased = result.support.features, result.support.erased
        doubtful = int((features["verdict"] == UNSUPPORTED).sum())
        say(
            f"{len(features['x'])} features, {doubtful} of them not supported by the photons; "
            f"{len(erased['x'])} that the photons show may be missing"
        )


def _differences(
    path: Path, observation: Observation, model: Model, force: bool
) -> tuple[str, ...]:
    try:
        return compare(observation, model.domain)
    except InputError as error:
        if not force:
            raise InputError(f"{path}: {error}") from None
        return (f"forced: {error}",)


class _Callable(types.ModuleType):
    """The module made callable: ``xmm_jax.enhance(...)`` is the function of the same name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Enhanced:
        return enhance(*args, **kwargs)


# Importing a submodule binds its name in the package, so ``xmm_jax.enhance`` may be this module
# although the public name is the function.
sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    main()
