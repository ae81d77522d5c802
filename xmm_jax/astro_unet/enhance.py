"""``enhance --task=astro_unet``: drizzled FITS images as if exposed several times longer."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from tyro.conf import Positional

from xmm_jax import __version__
from xmm_jax.astro_unet.config import AstroConfig
from xmm_jax.astro_unet.model import AstroModel, load_run
from xmm_jax.data.fitsfile import in_header, write_fits
from xmm_jax.data.hst import FILTERS, Drizzled, read_drizzled, remove_cosmic_rays
from xmm_jax.errors import InputError
from xmm_jax.flags import parse_flags
from xmm_jax.log import progress, say
from xmm_jax.worklist import find_items, outputs

SUFFIX = "AU"
UNITS = {"electron/s": "ELECTRONS/S", "electron": "ELECTRONS"}


@dataclasses.dataclass(frozen=True)
class AstroEnhanceConfig:
    """What to enhance with which network."""

    files: Positional[tuple[str, ...]] = ()
    """Drizzled FITS images, patterns, or folders, searched to the bottom."""
    task: Literal["astro_unet"] = AstroConfig.task
    """astro_unet: images of HST; sr and dn, of XMM-Newton, and herschel have flags of their own."""
    list: tuple[str, ...] = ()
    """Text files with a name in each line."""
    model: str = ""
    """Run folder of `train --task=astro_unet`; needed."""
    ratio: float = 2.0
    """How many times longer the exposure is to seem."""
    windows: Literal["parts", "published"] = "parts"
    """parts: without seams.
    published: the mean of windows of 256 pixels every 32 pixels, which is 64 times the work."""
    cosmic_rays: bool = False
    """Take cosmic rays out first with astroscrappy (extra `hst`)."""
    unit: Literal["electron/s", "electron"] = "electron/s"
    """Unit of the result; electron: in the exposure that the image seems to have."""
    out: str = ""
    """Folder for the results; empty: beside each input."""


def main(argv: Sequence[str] | None = None) -> None:
    """Enhance as the command line says.

    Raises
    ------
    InputError
        If the settings, the model or a file cannot be used.
    """
    config = parse_flags(
        AstroEnhanceConfig(), argv, verb="enhance", description="Denoise HST images in FITS files."
    )
    if not config.model:
        raise InputError("--model=RUN is needed: a run of `xmm-jax train --task=astro_unet`")
    if not config.ratio >= 1:
        raise InputError(f"--ratio={config.ratio:g}: exposures are at least those of the input")
    items = find_items(config.files, lists=config.list)
    model = load_run(config.model)
    if config.ratio not in model.config.ratios:
        say(f"note: {model.name} was trained for ratios {model.config.ratios} only")
    failed = []
    names = outputs(items, config.out, SUFFIX)
    for item, output in progress(
        list(zip(items, names, strict=True)), total=len(items), label="enhancing"
    ):
        try:
            enhance_file(item.path, output, model, config)
        except InputError as error:
            if len(items) == 1:
                raise
            say(f"failed: {error}")
            failed.append(item)
    if failed:
        raise InputError(f"{len(failed)} of {len(items)} failed, see above")


def enhance_file(path: Path, output: Path, model: AstroModel, config: AstroEnhanceConfig) -> None:
    """Enhance one image.

    Raises
    ------
    InputError
        If it cannot be used, or the result not be written.
    """
    image = read_drizzled(path)
    if config.cosmic_rays:
        image = remove_cosmic_rays(image)
    if image.band is None:
        say(f"{path.name}: filter {image.filter}; trained on {' and '.join(FILTERS)}")
    rate = model.denoise(
        image.rate,
        image.valid,
        exposure_s=image.exposure_s,
        ratio=config.ratio,
        band=1 if image.band is None else image.band,
        published=config.windows == "published",
    )
    write_fits(output, to_hdus(rate, image, model, config))
    before, after = (float(one[image.valid].sum()) for one in (image.rate, rate))
    say(f"wrote {output}: {after:.5g} electron/s, input {before:.5g} electron/s")


def to_hdus(
    rate: np.ndarray, image: Drizzled, model: AstroModel, config: AstroEnhanceConfig
) -> list[fits.PrimaryHDU | fits.ImageHDU]:
    """Extensions with a ``rate`` [electron/s/pixel]: SCI, headed as the input; WHT, 1 = live."""
    exposure_s = image.exposure_s * config.ratio
    data = rate * np.float32(exposure_s if config.unit == "electron" else 1.0)
    header = image.header.copy()
    for name in ("EXTNAME", "CHECKSUM", "DATASUM", "BSCALE", "BZERO"):
        header.remove(name, ignore_missing=True)
    header["BUNIT"] = UNITS[config.unit]
    header["EXPTIME"] = (exposure_s, "[s] as which the image seems exposed")
    header["EXPTRUE"] = (image.exposure_s, "[s] real exposure")
    header["XJMODEL"] = (in_header(model.name), "network")
    header["XJSTEP"] = (model.step, "of its training")
    header["XJRATIO"] = (config.ratio, "EXPTIME over EXPTRUE")
    header.add_history(f"xmm_jax {__version__} enhance --task=astro_unet, after Astro U-net")
    valid = image.valid.astype(np.uint8)
    return [
        fits.PrimaryHDU(),
        fits.ImageHDU(data, header, name="SCI"),
        fits.ImageHDU(valid, name="WHT"),
    ]
