"""Draw simulated observations as FITS images: ``python -m xmm_jax.simulate --n=4 --out=FOLDER``.

Field i gives ``sim-<preset>-<seed>-<i>.fits.gz`` (counts, EXPOSURE, MASK; `enhance` reads it) and
``..._target.fits.gz`` (TARGET: counts expected or observed in the target exposure, EXPOSURE, MASK).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits

from xmm_jax import __version__
from xmm_jax.config import TASKS, SimulatedConfig, TaskName
from xmm_jax.data.fitsfile import write_fits
from xmm_jax.data.observation import Observation, write_observation
from xmm_jax.data.wcs import regrid_header
from xmm_jax.dataset import simulated_source
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.instrument.camera import PN
from xmm_jax.log import progress, say


@dataclasses.dataclass(frozen=True)
class SimulateConfig:
    """What to draw."""

    n: int = 1
    """Number of fields."""
    task: TaskName = "sr"
    """Which target: sr (100 ks, 2", half the PSF, no background) or dn (50 ks, 4")."""
    preset: Literal["physical", "reference"] = "physical"
    """Measured sky and camera, or the quirks of the published SIXTE files."""
    target_kind: Literal["expected", "observed"] = "expected"
    """Noise-free expected counts, or counts with Poisson noise."""
    seed: int = 0
    """Field i depends on (seed, i) alone."""
    out: str = "simulated"
    """Folder to write to."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Simulate as the command line says."""
    config = parse_flags(
        SimulateConfig(), argv, verb="simulate", description="Draw simulated observations as FITS."
    )
    if config.n < 1:
        raise InputError(f"--n must be at least 1, got {config.n}")
    simulated = SimulatedConfig(config.n, config.preset, config.target_kind)
    source = simulated_source(config.task, simulated, seed=config.seed)
    out = Path(config.out)
    for name, draw in progress(source.items(), total=config.n, label="simulating"):
        for sample in draw():
            write_field(out / name, sample, config)
    say(f"wrote {2 * config.n} files to {out}")


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
    header = detector_header(config)
    observation = Observation(
        counts=images["counts"],
        exposure=images["exposure"],
        valid=images["valid"],
        exposure_s=task.exposure_s,
        header=header,
        obs_id=stem.name,
        filter="Thin1",
    )
    write_observation(stem.with_name(f"{stem.name}.fits.gz"), observation)
    fine = regrid_header(header, upscale=task.upscale)
    fine["EXPOSURE"] = (task.target_exposure_s, "[s]")
    target = fits.PrimaryHDU(images["target"], fine)
    target.header["EXTNAME"] = "TARGET"
    target.header["BUNIT"] = ("count", f"{config.target_kind} counts")
    exposure = fits.ImageHDU(images["target_exposure"], fine, name="EXPOSURE")
    mask = fits.ImageHDU(images["target_valid"].astype(np.uint8), fine, name="MASK")
    write_fits(stem.with_name(f"{stem.name}_target.fits.gz"), [target, exposure, mask])


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
