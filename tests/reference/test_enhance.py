"""Enhance the real images: exact sky positions, files that open cleanly."""

import re

import jax
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax import enhance
from xmm_jax.config import NetworkConfig
from xmm_jax.model import Model, make_network, save_model
from xmm_jax.models import init
from xmm_jax.planes import DQ_DEAD

pytestmark = pytest.mark.reference

# The cards that the FITS standard needs for a tangent projection, and no others.
WCS_KEY = re.compile(r"(CTYPE|CUNIT|CRPIX|CRVAL|CDELT)[12]|(CD|PC)[12]_[12]|EQUINOX|RADESYS")


@pytest.fixture(scope="module", params=["sr", "dn"])
def model(request, tmp_path_factory):
    """Random weights: where a pixel lies does not depend on them."""
    network, scale = make_network(request.param, NetworkConfig(size="tiny"))
    params = init(jax.random.key(0), network, 2)
    folder = tmp_path_factory.mktemp("model") / request.param
    save_model(folder, Model(request.param, network, params, scale, {"made": "by a test"}))
    return folder


def files(shared):
    data = shared / "data"
    return sorted([*(data / "images").glob("*.gz"), *(data / "real" / "20ks").glob("*.gz")])


def test_the_sky_stays_where_it_is(shared, model, tmp_path):
    task = model.name
    upscale = {"sr": 2, "dn": 1}[task]
    enhance.main([*map(str, files(shared)), f"--model={model}", f"--out={tmp_path}"])
    for path in files(shared):
        name = path.name.removesuffix(".fits.gz") + f"_{task.upper()}.fits.gz"
        with fits.open(tmp_path / name, checksum=True) as hdus:
            hdus.verify("exception")
            assert hdus["RATE"].data.shape == (411 * upscale, 403 * upscale)
            assert np.isfinite(hdus["RATE"].data).all()
            assert any("by a test" in line.replace("\n", "") for line in hdus[0].header["HISTORY"])
            y, x = np.mgrid[0:411:41, 0:403:40].reshape(2, -1)
            given, made = WCS(hdus["INPUT"].header), WCS(hdus["RATE"].header)
            fine = [upscale * p + (upscale - 1) / 2 for p in (x, y)]
            apart = given.pixel_to_world(x, y).separation(made.pixel_to_world(*fine))
            assert apart.arcsec.max() < 0.01
            with fits.open(path) as original:
                if original[0].header["CTYPE1"] == "RA---TAN":
                    # Against the file itself, by its CD or PC matrix alone.
                    cards = original[0].header.cards
                    header = fits.Header([c for c in cards if WCS_KEY.fullmatch(c.keyword)])
                    there = WCS(header).pixel_to_world(x, y)
                    assert there.separation(made.pixel_to_world(*fine)).arcsec.max() < 0.01
            live = hdus["DQ"].data & DQ_DEAD == 0
            assert 0.78 < live.mean() < 0.81
