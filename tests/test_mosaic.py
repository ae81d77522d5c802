"""Mosaics against a loop over windows, plain tiles and the other way to answer large images."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmm_jax.errors import InputError
from xmm_jax.mosaic import mosaic, starts
from xmm_jax.tiling import by_parts

RNG = np.random.default_rng(0)


def pointwise(images):
    """A network that sees one pixel, with two outputs."""
    return np.stack([images["rate"] ** 2 + images["flag"], images["rate"] * 3], axis=-1)


def edgy(images):
    """What it says depends on the place in the window and on all of the window."""
    rate = images["rate"]
    place = np.arange(rate.shape[1])[:, None] - 0.3 * np.arange(rate.shape[2])
    return (rate * place + rate.mean(axis=(1, 2), keepdims=True))[..., None].astype(np.float32)


def picture(shape):
    rate = RNG.random(shape, dtype=np.float32)
    return {"rate": rate, "flag": RNG.random(shape) > 0.5}


def brute(answer, images, window, stride):
    """All of it in memory: pad by a window, answer, add, divide by how often a pixel was held."""
    height, width = images["rate"].shape[1:]
    pad = ((0, 0), (window, 2 * window), (window, 2 * window))
    padded = {name: np.pad(image, pad) for name, image in images.items()}
    total, held = np.zeros((*padded["rate"].shape, 1)), np.zeros(padded["rate"].shape)
    for top in range(0, height + window + 1, stride):
        for left in range(0, width + window + 1, stride):
            cut = np.s_[:, top : top + window, left : left + window]
            total[cut] += answer({name: image[cut] for name, image in padded.items()})
            held[cut] += 1
    inner = np.s_[:, window : window + height, window : window + width]
    assert (held[inner] == (window // stride) ** 2).all()
    return total[inner] / held[inner][..., None]


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    number=st.integers(1, 2),
    geometry=st.sampled_from([(8, 2), (8, 8), (6, 3), (4, 1)]),
    batch=st.integers(1, 9),
)
def test_equals_a_loop_over_windows(height, width, number, geometry, batch):
    window, stride = geometry
    images = picture((number, height, width))
    found = mosaic(edgy, images, window=window, stride=stride, batch=batch)
    assert found.dtype == np.float32
    expected = brute(edgy, images, window, stride)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_published_geometry_holds_each_pixel_64_times():
    seen = []

    def answer(images):
        seen.append(len(images["rate"]))
        return images["rate"][..., None]

    images = {"rate": RNG.random((1, 300, 40), dtype=np.float32)}
    found = mosaic(answer, images)
    np.testing.assert_allclose(found[..., 0], images["rate"], rtol=1e-6)
    assert sum(seen) >= len(starts(300, 256, 32)) * len(starts(40, 256, 32))
    assert set(seen) == {8}
    for pixel in (0, 31, 32, 299):
        assert sum(start <= pixel < start + 256 for start in starts(300, 256, 32)) == 8


@pytest.mark.parametrize("shape", [(2, 40, 33), (1, 16, 70)])
def test_equals_the_tiler_for_what_is_local(shape):
    images = picture(shape)
    found = mosaic(pointwise, images, window=16, stride=4)
    tiled = by_parts(pointwise, images, side=16, reach=4, upscale=1)
    np.testing.assert_allclose(found, tiled, rtol=1e-6)


def test_stride_of_a_window_is_plain_tiles():
    images = picture((1, 20, 30))
    found = mosaic(edgy, images, window=8, stride=8, batch=3)
    padded = np.pad(images["rate"], ((0, 0), (0, 4), (0, 2)))
    for top in range(0, 20, 8):
        for left in range(0, 30, 8):
            tile = edgy({"rate": padded[:, top : top + 8, left : left + 8]})
            part = found[:, top : top + 8, left : left + 8]
            np.testing.assert_allclose(part, tile[:, : part.shape[1], : part.shape[2]], rtol=1e-6)


def test_answers_may_be_device_arrays():
    images = picture((1, 9, 9))
    found = mosaic(lambda some: jnp.asarray(some["rate"])[..., None], images, window=4, stride=2)
    np.testing.assert_allclose(found[..., 0], images["rate"], rtol=1e-6)


@pytest.mark.parametrize(("window", "stride"), [(8, 3), (8, 16), (8, 0)])
def test_a_stride_that_does_not_fit_is_refused(window, stride):
    with pytest.raises(InputError, match="must divide"):
        mosaic(edgy, picture((1, 9, 9)), window=window, stride=stride)
