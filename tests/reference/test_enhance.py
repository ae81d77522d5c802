"""Enhance the real images: exact sky positions, files that open cleanly."""

import re

import jax
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax import enhance, import_published
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


@pytest.mark.slow
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


@pytest.mark.parametrize("ending", ["onnx", "ckpt"])
@pytest.mark.parametrize("backend", ["jax", "onnxruntime"])
@pytest.mark.parametrize("task", ["sr", "dn"])
def test_published_tool_through_the_command_line(shared, tmp_path, task, backend, ending):
    """Step by step as in ``run_inference_on_real.py`` (specs/reference.md 7), but masked."""
    onnxruntime, onnx = (pytest.importorskip(name) for name in ("onnxruntime", "onnx"))
    network = shared / "golden" / f"published_{task}.onnx"
    import_published.main([str(network.with_suffix(f".{ending}")), f"--out={tmp_path / 'model'}"])
    image = files(shared)[0]
    # Ours has the published mask from its numbers: 196 pixels of 165 thousand differ.
    mask = shared / "data/detector_mask/pn_mask_500_2000_detxy_1x.fits.gz"
    flags = [f"--model={tmp_path / 'model'}", f"--backend={backend}", f"--mask={mask}"]
    flags += ["--compat", "--no-support"]
    enhance.main([str(image), *flags, f"--out={tmp_path / 'out'}"])
    s, clip_out, seconds = {"sr": (2, 0.0005584, 1e5), "dn": (1, 0.0022336, 5e4)}[task]
    counts, header = fits.getdata(image).astype(np.float32), fits.getheader(image)
    live = fits.getdata(mask) > 0
    margin = (2, 3), (6, 7)
    rate = np.pad(counts * live, margin) / np.float32(header["EXPOSURE"])
    channel = np.pad(live, margin) * np.float32(header["EXPOSURE"] / 1e5)
    inputs = np.stack([np.sqrt(np.clip(rate / 0.0022336, 0, 1)), channel])[None]
    graph = onnx.load(network)
    for edge in (*graph.graph.input, *graph.graph.output):  # written for 24 x 20 pixels
        for axis in (2, 3):
            edge.type.tensor_type.shape.dim[axis].dim_param = f"{edge.name}{axis}"
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (said,) = session.run(None, {session.get_inputs()[0].name: inputs.astype(np.float32)})
    expected = np.square(said[0, 0]) * clip_out * seconds
    (name,) = tmp_path.glob("out/*_predict_wcs_*.fits.gz")
    assert name.name.endswith(f"_predict_wcs_{task.upper()}.fits.gz")
    found = fits.getdata(name)
    assert found.shape == expected.shape == (416 * s, 416 * s)
    inside = np.pad(np.ones(live.shape, bool), margin).repeat(s, 0).repeat(s, 1)
    # In units of the network; ours is 0 where dead.
    alive = inside & np.pad(live, margin).repeat(s, 0).repeat(s, 1)
    apart = np.sqrt(found / clip_out / seconds) - said[0, 0]
    assert np.abs(apart[alive]).max() < 1e-5
    (name,) = tmp_path.glob("out/*_input_wcs_*.fits.gz")
    np.testing.assert_allclose(fits.getdata(name), np.pad(counts, margin), atol=1e-3)
