"""A small run of Herschel super-resolution, and real maps in a folder."""

import dataclasses

import jax
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax.herschel.config import PRESETS, GalaxyGANConfig
from xmm_jax.simulator.submm import draw_field

SIDE = 129  # odd: the common grid, which has a pixel in the middle, is then the grid of the files


@pytest.fixture(scope="session")
def config():
    """Two filters, two levels, crops of 32 from fields of 64."""
    return dataclasses.replace(
        PRESETS["tiny"],
        network=GalaxyGANConfig(filters=2, depth=2, dropout=0.0),
        fields=3,
        side=64,
        crop=32,
        steps=4,
        eval_every=2,
        eval_fields=3,
        log_every=1,
        run="unused",
    )


@pytest.fixture(scope="session")
def field():
    """What the maps of the folder show."""
    return jax.device_get(draw_field(jax.random.key(11), side=SIDE))


@pytest.fixture(scope="session")
def write_maps(field):
    """Write the four maps of the field to a folder, as FITS files of 2 arcsec."""

    def write(folder):
        folder.mkdir()
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.1, 2.2]
        wcs.wcs.crpix, wcs.wcs.cdelt = [(SIDE + 1) / 2] * 2, [-2 / 3600, 2 / 3600]
        planes = np.moveaxis(np.concatenate([field.bands, field.observed_target], -1), -1, 0)
        for band, plane in zip((250, 350, 500, 450), planes, strict=True):
            plane = np.array(plane) + 5.0  # a level, which no real map has of its own
            if band == 500:
                plane[:3] = np.nan
            header = wcs.to_header()
            header["BUNIT"], header["WAVELNTH"] = "mJy/beam", (float(band), "[um]")
            fits.ImageHDU(plane, header).writeto(folder / f"map{band}.fits")
        return folder

    return write


@pytest.fixture(scope="session")
def maps(write_maps, tmp_path_factory):
    pytest.importorskip("reproject")
    return write_maps(tmp_path_factory.mktemp("real") / "cosmos")
