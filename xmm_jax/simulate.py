"""Draw simulated observations as FITS images: ``python -m xmm_jax.simulate --n=4 --out=FOLDER``.

Field i gives ``sim-<preset>-<seed>-<i>.fits.gz`` (counts, EXPOSURE, MASK; `enhance` reads it),
``..._target.fits.gz`` (TARGET: counts expected or observed in the target exposure, EXPOSURE, MASK)
and ``..._truth.fits.gz`` (CATALOGUE: every source that was drawn). ``preview.png`` shows the first.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits

from xmm_jax import __version__
from xmm_jax.config import TASKS, SimulatedConfig, TaskName, check_simulated
from xmm_jax.data.fitsfile import write_fits
from xmm_jax.data.observation import Observation, write_observation
from xmm_jax.data.wcs import regrid_header
from xmm_jax.errors import InputError, command
from xmm_jax.fields import catalogue, draw_samples, exposures, names_of, number_of
from xmm_jax.flags import parse_flags
from xmm_jax.instrument.camera import PN
from xmm_jax.log import progress, say
from xmm_jax.preview import Shown, can_draw, write_sheet
from xmm_jax.simulator.truth import Truth, truth_columns

FILTERS = {"thin": "Thin1", "medium": "Medium"}  # as the FILTER card of real files says it
UNITS = {"x": "pixel", "y": "pixel", "rate": "count s-1", "seen_rate": "count s-1"}
PREVIEW_FIELDS = 12


@dataclasses.dataclass(frozen=True)
class SimulateConfig:
    """What to draw."""

    n: int = 1
    """Number of fields."""
    task: TaskName = "sr"
    """Which target. sr: 100 ks, 2" pixels, half the PSF, no background. dn: 50 ks, 4" pixels."""
    preset: Literal["physical", "reference"] = "physical"
    """Simulator preset: measured sky and camera, or the quirks of the published SIXTE files."""
    target_kind: Literal["expected", "observed"] = "expected"
    """Noise-free expected counts, or counts with Poisson noise."""
    exposure_ks: float = 0.0
    """Exposure of the input [ks], 1 to 1000; 0 = that of the task."""
    target_exposure_ks: float = 0.0
    """Exposure of the target [ks], 1 to 1000; 0 = that of the task."""
    filter: Literal["thin", "medium"] = "thin"
    """Optical blocking filter (medium: physical preset only)."""
    varied: bool = False
    """Another detector in every field: dead and weak columns, bad pixels, exposures of the CCDs."""
    blends: float = 0.0
    """Share of the bright point sources that get a companion within 12", 0 to 1."""
    maps: str = ""
    """Folder of sky maps (FITS, npy) to use as extended sources; empty: drawn ones."""
    preview: Literal["auto", "yes", "no"] = "auto"
    """Write preview.png; auto: if matplotlib is installed."""
    seed: int = 0
    """Seed of the fields; field i depends on (seed, i) alone."""
    out: str = "simulated"
    """Folder to write to."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Simulate as the command line says."""
    config = parse_flags(
        SimulateConfig(), argv, verb="simulate", description="Draw simulated observations as FITS."
    )
    simulate(config)


def simulate(config: SimulateConfig) -> None:
    """Draw and write the fields that the settings describe.

    Raises
    ------
    InputError
        For settings that cannot be, or files that cannot be written.
    """
    if config.n < 1:
        raise InputError(f"--n must be at least 1, got {config.n}")
    if config.preview == "yes" and not can_draw():
        raise InputError("--preview=yes needs matplotlib: pip install 'xmm-jax[plot]'")
    simulated = find_simulated(config)
    names = names_of(simulated, seed=config.seed)
    fixed: dict[str, Any] = {"task": config.task, "config": simulated, "seed": config.seed}
    samples, truth_of = draw_samples(names, **fixed), catalogue(**fixed)
    out, shown = Path(config.out), []
    for sample in progress(samples, total=config.n, label="simulating"):
        name = sample["source_id"]
        write_field(out / name, sample, config)
        write_truth(out / f"{name}_truth.fits.gz", truth_of(number_of(name)), config)
        if len(shown) < PREVIEW_FIELDS:
            shown.append(Shown(name, sample["counts"][..., 0], sample["target"][..., 0]))
    say(f"wrote {3 * config.n} files to {out}")
    if config.preview != "no" and can_draw():
        say(f"wrote {write_sheet(out / 'preview.png', shown)}")
    elif config.preview == "auto":
        say("no preview.png: it needs pip install 'xmm-jax[plot]'")


def find_simulated(config: SimulateConfig) -> SimulatedConfig:
    """What to simulate.

    Raises
    ------
    InputError
        If it cannot be.
    """
    simulated = SimulatedConfig(
        fields=config.n,
        sky=config.preset,
        target_kind=config.target_kind,
        exposure_ks=config.exposure_ks,
        target_exposure_ks=config.target_exposure_ks,
        filter=config.filter,
        varied=config.varied,
        blends=config.blends,
        maps=config.maps,
    )
    check_simulated(simulated)
    return simulated


def write_field(stem: Path, sample: Mapping[str, Any], config: SimulateConfig) -> None:
    """Write input and target of one simulated field.

    Parameters
    ----------
    stem : Path
        Name of the files without ending.
    sample : mapping
        One pair on the native frame.
    config : SimulateConfig
        What drew it.
    """
    task = TASKS[config.task]
    images = {name: value[..., 0] for name, value in sample.items() if np.ndim(value) == 3}
    exposure_s, target_exposure_s = exposures(config.task, find_simulated(config))
    header = detector_header(config)
    observation = Observation(
        counts=images["counts"],
        exposure=images["exposure"],
        valid=images["valid"],
        exposure_s=exposure_s,
        header=header,
        obs_id=stem.name,
        filter=FILTERS[config.filter],
    )
    write_observation(stem.with_name(f"{stem.name}.fits.gz"), observation)
    fine = regrid_header(header, upscale=task.upscale)
    fine["EXPOSURE"] = (target_exposure_s, "[s]")
    target = fits.PrimaryHDU(images["target"], fine)
    target.header["EXTNAME"] = "TARGET"
    target.header["BUNIT"] = ("count", f"{config.target_kind} counts")
    exposure = fits.ImageHDU(images["target_exposure"], fine, name="EXPOSURE")
    mask = fits.ImageHDU(images["target_valid"].astype(np.uint8), fine, name="MASK")
    write_fits(stem.with_name(f"{stem.name}_target.fits.gz"), [target, exposure, mask])


def write_truth(path: Path, truth: Truth, config: SimulateConfig) -> None:
    """Write the catalogue of one field as a FITS table.

    Parameters
    ----------
    path : Path
        The file to write.
    truth : Truth
        What was drawn.
    config : SimulateConfig
        What drew it.
    """
    columns = truth_columns(truth, PN)
    for name, axis, origin in zip(("detx", "dety"), ("x", "y"), PN.det_origin, strict=True):
        columns[name] = origin + PN.det_step * columns[axis]
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, _format(values), UNITS.get(name), array=values)
            for name, values in columns.items()
        ],
        name="CATALOGUE",
    )
    table.header["COMMENT"] = "x, y: pixels of the input image from 0; rate: on axis, 0.5-2 keV"
    write_fits(path, [fits.PrimaryHDU(header=detector_header(config)), table])


def _format(values: np.ndarray) -> str:
    """FITS format of a column."""
    return f"{values.dtype.itemsize // 4}A" if values.dtype.kind == "U" else "E"


def detector_header(config: SimulateConfig) -> fits.Header:
    """Header of a simulated image: camera, mode, and the detector axes of real pn images."""
    header = fits.Header()
    header["TELESCOP"], header["INSTRUME"] = "XMM", "EPN"
    header["DATAMODE"], header["SUBMODE"] = "IMAGING", "PrimeFullWindow"
    header["SIMULATR"] = (f"xmm_jax {__version__}", f"{config.preset} sky")
    header["SIMSEED"] = (config.seed, "seed of the simulation")
    for axis, (name, origin) in enumerate(zip(("DETX", "DETY"), PN.det_origin, strict=True), 1):
        header[f"CTYPE{axis}"] = name
        header[f"CRPIX{axis}"], header[f"CRVAL{axis}"] = 1.0, origin
        header[f"CDELT{axis}"] = PN.det_step
    return header


if __name__ == "__main__":
    main()
