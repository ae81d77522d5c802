"""Samples of a flow: without seams, in planes of a FITS file, refused where there are none."""

import dataclasses

import jax
import numpy as np
import pytest
from astropy.io import fits

import xmm_jax
from xmm_jax import enhance
from xmm_jax.enhancement import MARGIN, answer
from xmm_jax.errors import InputError
from xmm_jax.flow_config import FlowNetwork
from xmm_jax.model import Model, load_model, make_network, save_model
from xmm_jax.models import init
from xmm_jax.nddata import as_given
from xmm_jax.sampling import Sampling, check_sampling, draw_noise, together

KIND = FlowNetwork(filters=4, blocks=1, levels=2, steps=1, width=8)
SHAPE = (43, 38)


@pytest.fixture(scope="module")
def model():
    network, scale = make_network("sr", KIND)
    params = init(jax.random.key(1), network, 2)
    rng = np.random.default_rng(1)
    disturbed = jax.tree.map(
        lambda p: p + np.float32(0.05) * rng.standard_normal(p.shape, np.float32), params["flow"]
    )
    return Model("sr", network, params | {"flow": disturbed}, scale, {})


@pytest.fixture(scope="module")
def image():
    counts = np.random.default_rng(0).poisson(1.0, SHAPE)
    exposure = np.full(SHAPE, 2e4, np.float32)
    exposure[7] = 0
    return as_given(counts, exposure)


def test_an_image_in_parts_has_no_seams(model, image):
    """Windows of the input and of the noise: the memory decides how many there are."""
    reach = model.network.reach
    big = as_given(np.random.default_rng(2).poisson(1.0, (6 * reach + 5, 50)), 2e4)
    least = 17e-9 * reach**2 * model.network.bytes_per_pixel
    sampling = Sampling(2, 0.9)
    (whole,) = answer(model, [big], sampling=sampling)
    (parts,) = answer(model, [big], sampling=sampling, max_memory=least)
    assert whole.shape == (2 * (6 * reach + 5), 100, 3)
    np.testing.assert_allclose(parts, whole, atol=2e-4)
    assert np.abs(whole[..., 1] - whole[..., 2]).max() > 0.05


def test_the_result_is_the_mean_of_samples_and_their_deviation(model, image):
    kind = {"model": model, "samples": 3, "temperature": 0.9}
    result = xmm_jax.enhance(image.counts, image.exposure, **kind)
    assert result.samples.shape == (3, 86, 76)
    np.testing.assert_allclose(result.rate, result.samples.mean(0), rtol=1e-4, atol=1e-10)
    np.testing.assert_allclose(result.std, result.samples.std(0, ddof=1), rtol=1e-4)
    assert not result.rate[14:16].any()
    assert result.std[20:].max() > 0
    again = xmm_jax.enhance(image.counts, image.exposure, **kind)
    np.testing.assert_array_equal(again.rate, result.rate)
    other = xmm_jax.enhance(image.counts, image.exposure, **kind, seed=1)
    assert np.abs(other.rate - result.rate).max() > 0
    # At temperature 0 every sample is the one image.
    still = xmm_jax.enhance(image.counts, image.exposure, **kind | {"temperature": 0.0})
    plain = xmm_jax.enhance(image.counts, image.exposure, model=model)
    np.testing.assert_allclose(still.rate, plain.rate, rtol=1e-5, atol=1e-12)
    assert plain.std is None
    assert still.std.max() <= 1e-6 * still.rate.max()


def test_samples_do_not_depend_on_what_else_is_answered(model, image):
    other = image._replace(counts=image.counts[::-1].copy())
    sampling = Sampling(2, 0.9)
    both = answer(model, [other, image], sampling=sampling)
    (alone,) = answer(model, [image], sampling=sampling)
    np.testing.assert_allclose(both[1], alone, atol=1e-4)


def test_model_sample_gives_rates(model, image):
    batch = {
        name: getattr(image, name)[None, :, :, None] for name in ("counts", "exposure", "valid")
    }
    first, again, other = (model.sample(jax.random.key(k), batch, 0.9) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (1, 86, 76, 1)
    assert np.abs(first - other).max() > 0
    assert not np.asarray(first)[:, 14:16].any()
    with pytest.raises(InputError, match="samples need a flow"):
        load_model("sr").sample(jax.random.key(0), batch)


def test_enhance_writes_planes(model, image, tmp_path, capsys):
    save_model(tmp_path / "flow", model)
    source = fits.PrimaryHDU(image.counts.astype("i2"), fits.Header({"EXPOSURE": 2e4}))
    source.writeto(tmp_path / "image.fits")
    flags = [f"{tmp_path / 'image.fits'}", f"--model={tmp_path / 'flow'}", "--force"]
    flags += ["--compress=none", "--no-support", f"--out={tmp_path}", "--temperature=0.9"]
    enhance.main([*flags, "--samples=3", "--keep_samples"])
    with fits.open(tmp_path / "image_SR.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["RATE", "STD", "SAMPLES", "DQ", "INPUT"]
        rate, std, samples = (hdus[name].data for name in ("RATE", "STD", "SAMPLES"))
        for name in ("RATE", "STD", "SAMPLES"):
            assert hdus[name].header["BUNIT"] == "count s-1 pixel-1"
        assert '"samples": 3, "temperature": 0.9, "seed": 0' in str(hdus[0].header["HISTORY"])
    assert samples.shape == (3, *rate.shape)
    np.testing.assert_allclose(samples.mean(0), rate, rtol=1e-4, atol=1e-10)
    np.testing.assert_allclose(samples.std(0, ddof=1), std, rtol=1e-4, atol=1e-12)
    enhance.main([*flags, "--samples=2"])
    with fits.open(tmp_path / "image_SR.fits") as hdus:
        assert "SAMPLES" not in hdus
        assert "STD" in hdus
    for more, says in (
        (["--samples=2", "--task=both", "--model="], "--samples is for one flow"),
        (["--samples=2", "--model=", "--task=sr"], "samples need a flow"),
        (["--samples=2", "--backend=onnxruntime"], "only JAX runs a flow"),
        (["--keep_samples"], "--samples=16"),
        (["--samples=2", "--temperature=3"], "--temperature=3: 0 to 1"),
        (["--samples=1"], "at least 2"),
    ):
        with pytest.raises(SystemExit):
            enhance.main([*flags, *more])
        assert says in capsys.readouterr().err.strip().splitlines()[-1]


def test_samples_that_are_not_finite_are_refused(model):
    with pytest.raises(InputError, match="not finite"):
        together(np.array([[[1.0, np.inf]]], np.float32), 0.9)
    check_sampling(Sampling(), dataclasses.replace(load_model("sr")))


def test_noise_is_of_its_place():
    noise = draw_noise(jax.random.key(0), (40, 50), upscale=2, temperature=0.5)
    assert noise.shape == (40, 50, 2, 2)
    assert np.std(noise) == pytest.approx(0.5, rel=0.05)
    assert MARGIN  # drawn for the padded frame
