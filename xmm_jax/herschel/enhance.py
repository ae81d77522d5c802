"""``enhance --task=herschel``: maps of SPIRE in, a map at 450 um as SCUBA-2 would see it out."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from tyro.conf import Positional

from xmm_jax import __version__
from xmm_jax.data.fitsfile import in_header, write_fits
from xmm_jax.errors import InputError
from xmm_jax.flags import parse_flags
from xmm_jax.herschel.config import HerschelConfig
from xmm_jax.herschel.model import HerschelModel, load_run
from xmm_jax.herschel.region import read_bands
from xmm_jax.log import say
from xmm_jax.simulator.submm import TARGET_FWHM_ARCSEC

SUFFIX = "_450.fits.gz"


@dataclasses.dataclass(frozen=True)
class HerschelEnhanceConfig:
    """What to enhance with which network."""

    folder: Positional[str] = ""
    """Folder with one FITS map each at 250, 350 and 500 um (mJy/beam, Jy/beam, MJy/sr)."""
    task: Literal["herschel"] = HerschelConfig.task
    """herschel: maps of SPIRE; sr and dn, of XMM-Newton, and astro_unet have flags of their own."""
    model: str = ""
    """Run folder of `train --task=herschel`; needed."""
    out: str = ""
    """FITS file to write; empty: beside the folder, FOLDER_450.fits.gz."""
    overwrite: bool = False
    """Replace a file that is there."""


def main(argv: Sequence[str] | None = None) -> None:
    """Enhance as the command line says.

    Raises
    ------
    InputError
        If the settings, the model or the maps cannot be used.
    """
    config = parse_flags(
        HerschelEnhanceConfig(),
        argv,
        verb="enhance",
        description="Make a map at 450 um from maps of Herschel/SPIRE.",
    )
    if not config.folder or not config.model:
        raise InputError("FOLDER and --model=RUN are needed: maps of SPIRE, and a trained run")
    folder = Path(config.folder).absolute()
    output = Path(config.out) if config.out else folder.with_name(folder.name + SUFFIX)
    if output.exists() and not config.overwrite:
        raise InputError(f"{output}: is there; give --overwrite to replace it, or another --out")
    model = load_run(config.model)
    bands, valid, header = read_bands(str(folder))
    live = valid[..., 0]
    say(f"{live.shape[1]} x {live.shape[0]} pixels of 2 arcsec, {live.mean():.0%} live")
    image = np.where(live, model.super_resolve(bands), np.nan).astype(np.float32)
    write_fits(output, [fits.PrimaryHDU(image, to_header(header, model))])
    peak = float(np.nanmax(image))
    say(f"wrote {output}: brightest pixel {peak:.3g} mJy/beam")


def to_header(grid: fits.Header, model: HerschelModel) -> fits.Header:
    """Header of the result: the grid, unit, beam, and where it comes from."""
    header = grid.copy()
    header["BUNIT"] = "mJy/beam"
    header["BMAJ"] = header["BMIN"] = TARGET_FWHM_ARCSEC / 3600
    header["WAVELNTH"] = (450.0, "[um]")
    header["XJMODEL"] = (in_header(model.name), "network")
    header["XJSTEP"] = (model.step, "of its training")
    header.add_history(f"xmm_jax {__version__} enhance --task=herschel, after Lauritsen et al.")
    header.add_comment("Not observed: what a network expects at 450 um from 250, 350, 500 um.")
    return header
