"""Figures of images in the convention of the paper."""

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.losses import LOSSES
from xmm_jax.metrics.image import compare, upsample_input

CLIP = 0.0005584


def _rates(height=20, width=31, batch=2):
    rng = np.random.default_rng(0)
    return rng.gamma(0.5, CLIP, (2, batch, height, width, 1)).astype(np.float32)


def test_upsampling_keeps_place_and_flux():
    rate = np.random.default_rng(1).random((2, 3, 4, 1)).astype(np.float32)
    fine = np.asarray(upsample_input(rate, 2))
    assert fine.shape == (2, 6, 8, 1)
    for y in range(6):
        for x in range(8):
            np.testing.assert_allclose(fine[:, y, x], rate[:, y // 2, x // 2] / 4, rtol=1e-6)
    np.testing.assert_allclose(upsample_input(rate, 3).sum((1, 2)), rate.sum((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(upsample_input(rate, 1), rate)


def test_pixel_figures_against_numpy():
    rate, truth = _rates()
    a, b = (np.clip(x.astype(np.float64) / CLIP, 0, 1) for x in (rate, truth))
    axes = (1, 2, 3)
    expected = {
        "L1": np.abs(a - b).mean(axes),
        "L2": ((a - b) ** 2).mean(axes),
        "PSNR": -10 * np.log10(((a - b) ** 2).mean(axes) + 1e-8),
        "Poisson": (a - b * np.log(a + 1e-8)).mean(axes),
    }
    assert np.any(a == 1)
    figures = compare(rate, truth, clip_rate=CLIP)
    for name, values in expected.items():
        np.testing.assert_allclose(figures[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("stretch", "function"),
    [
        ("sqrt", np.sqrt),
        ("asinh", lambda u: np.arcsinh(u / 0.02) / np.arcsinh(50)),
        ("log", lambda u: np.minimum(np.log(1000 * u + 1) / np.log(1000), 1)),
    ],
)
def test_figures_under_a_stretch(stretch, function):
    rate, truth = _rates()
    a, b = (jnp.asarray(function(np.clip(x / CLIP, 0, 1)), jnp.float32) for x in (rate, truth))
    figures = compare(rate, truth, clip_rate=CLIP, stretch=stretch)
    for name, loss in {"L1": "l1", "SSIM": "ssim", "Poisson": "poisson"}.items():
        np.testing.assert_allclose(figures[name], LOSSES[loss](a, b), rtol=1e-4, err_msg=name)


def test_brightness_beyond_the_clip_does_not_count():
    rate, truth = _rates()
    bright = np.where(truth > CLIP, 1000 * truth, truth)
    for name, values in compare(rate, bright, clip_rate=CLIP).items():
        np.testing.assert_array_equal(values, compare(rate, truth, clip_rate=CLIP)[name])


def test_poisson_takes_the_first_image_as_the_expectation():
    rate, truth = _rates()
    there, back = (
        compare(*pair, clip_rate=CLIP)["Poisson"] for pair in ((rate, truth), (truth, rate))
    )
    assert np.all(np.abs(there - back) > 0.01)


@pytest.mark.parametrize(("width", "present"), [(193, True), (192, False)])
def test_multi_scale_similarity_needs_a_large_image(width, present):
    image = jnp.zeros((1, 200, width, 1))
    assert ("MS_SSIM" in compare(image, image, clip_rate=CLIP)) is present
