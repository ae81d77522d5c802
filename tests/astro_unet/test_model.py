import functools

import numpy as np
import pytest

from xmm_jax.astro_unet.config import UNetConfig
from xmm_jax.astro_unet.images import draw_image
from xmm_jax.astro_unet.model import (
    SIDE,
    AstroModel,
    electrons,
    make_network,
    segmentation,
    stabilise,
    start_params,
)
from xmm_jax.models.unet import REACH
from xmm_jax.mosaic import mosaic


def model(config, **network):
    kind = UNetConfig(filters=2, **network)
    return AstroModel("run", kind, start_params(0, kind), 1, config)


def test_stabilised_electrons_have_a_noise_of_one_and_come_back():
    random = np.random.default_rng(0)
    for level in (0.0, 30.0, 1000.0, 50_000.0):
        # Read noise and sky of 25 electrons^2, and the photons themselves.
        seen = random.poisson(level, 20_000) + random.normal(0, 5, 20_000)
        stable = np.asarray(stabilise(seen.astype(np.float32)))
        assert stable.std() == pytest.approx(1, rel=0.15)
        assert np.allclose(electrons(stable), seen, rtol=1e-4, atol=1e-2)


def test_the_map_of_objects_shows_the_star():
    random = np.random.default_rng(0)
    sky = random.normal(0.1, 0.02, (1, 64, 64, 1)).astype(np.float32)
    sky[0, 30:35, 20:25, 0] += 0.5
    found = np.asarray(segmentation(sky))[0, ..., 0]
    assert np.all(found[30:35, 20:25] == 1)
    assert found.mean() < 0.03


def test_the_whole_network_of_the_paper_is_asked_for():
    import jax

    shapes = jax.eval_shape(lambda: start_params(0, UNetConfig()))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == 7_761_345


@pytest.mark.parametrize("form", ["plain", "residual"])
def test_parts_answer_as_the_whole_image_does(config, form, monkeypatch):
    """Sides that are no multiple of 16, more than one part along both axes."""
    answering = model(config, form=form)
    image = draw_image(3, 400)
    rate, valid = image.rate[:396, :389], image.valid[:396, :389]
    about = {"exposure_s": 500.0, "ratio": 2.0, "band": 0, "published": False}
    assert max(rate.shape) < SIDE + 2 * REACH  # in one go
    whole = answering.denoise(rate, valid, **about)
    monkeypatch.setattr("xmm_jax.astro_unet.model.SIDE", 96)
    parts = answering.denoise(rate, valid, **about)
    scale = np.abs(whole).max()
    assert np.allclose(parts, whole, atol=1e-5 * scale)
    assert np.all(whole[~valid] == 0)


def test_published_windows_are_those_of_the_mosaic(config, monkeypatch):
    answering = model(config)
    image = draw_image(3, 64)
    smaller = functools.partial(mosaic, window=32, stride=16)
    monkeypatch.setattr("xmm_jax.astro_unet.model.mosaic", smaller)
    about = {"exposure_s": 500.0, "ratio": 2.0, "band": 0}
    found = answering.denoise(image.rate, image.valid, **about, published=True)
    network, total, number = make_network(answering.network), np.zeros((64, 64)), np.zeros((64, 64))
    padded = np.pad(np.where(image.valid, image.rate, 0), 32)
    for y in range(16, 96, 16):
        for x in range(16, 96, 16):
            part = padded[y : y + 32, x : x + 32]
            said = network.apply(
                {"params": answering.params}, part[None, ..., None], np.array([2.0], np.float32)
            )
            whole = np.zeros((128, 128))
            whole[y : y + 32, x : x + 32] = np.asarray(said)[0, ..., 0]
            total += whole[32:96, 32:96]
            inside = np.zeros((128, 128))
            inside[y : y + 32, x : x + 32] = 1
            number += inside[32:96, 32:96]
    assert np.all(number == 4)
    expected = np.where(image.valid, total / number, 0)
    assert np.allclose(found, expected, atol=1e-5 * np.abs(expected).max())
