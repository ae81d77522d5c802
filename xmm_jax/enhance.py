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

from tyro.conf import Positional

from xmm_jax import __version__
from xmm_jax.config import TASKS
from xmm_jax.data.fitsfile import write_fits
from xmm_jax.data.observation import Observation, read_observation
from xmm_jax.domain import compare
from xmm_jax.enhancement import MEMORY_GB, enhance, open_model
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import progress, say
from xmm_jax.model import Model
from xmm_jax.planes import Enhanced, to_hdus
from xmm_jax.support import UNSUPPORTED


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
    max_memory: float = MEMORY_GB
    """What the network may use at once [GB]; larger images are answered in parts, without seams."""
    force: bool = False
    """Accept other bands, cameras and modes; written to the header."""


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
    asked: Any = {name: getattr(config, name) for name in ("conserve", "support", "max_memory")}
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
