"""A small run of Astro U-net."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.astro_unet.config import UNetConfig
from xmm_jax.astro_unet.presets import PRESETS


@pytest.fixture(scope="session")
def config():
    """Two filters, crops of 32 from fields of 64."""
    return dataclasses.replace(
        PRESETS["tiny"],
        network=UNetConfig(filters=2, form="residual"),
        fields=3,
        side=64,
        crop=32,
        steps=4,
        eval_every=2,
        eval_fields=2,
        log_every=1,
        run="unused",
    )


@pytest.fixture(scope="session")
def drizzled(tmp_path_factory):
    """Twenty drizzled images of 64 x 48 pixels, 1000 s; the first has a dead corner."""
    folder = tmp_path_factory.mktemp("drizzled")
    rng = np.random.default_rng(0)
    for number in range(20):
        rate = rng.normal(0.0, 0.01, (64, 48)).astype(np.float32)
        y, x = rng.integers(8, 40, 2)
        rate[y - 2 : y + 3, x - 2 : x + 3] += 2.0
        weight = np.ones_like(rate)
        if number == 0:
            weight[:8, :8] = 0
        primary = fits.PrimaryHDU()
        primary.header["EXPTIME"] = 1000.0
        primary.header["FILTER"] = ("F555W", "F606W")[number % 2]
        science = fits.ImageHDU(rate, name="SCI")
        science.header["BUNIT"] = "ELECTRONS/S"
        science.header["CRVAL1"] = 150.0
        hdus = fits.HDUList([primary, science, fits.ImageHDU(weight, name="WHT")])
        hdus.writeto(folder / f"visit{number:02d}_drz.fits")
    return folder
