"""Structural similarity and its blur against skimage, dm_pix, and plain numpy in float64."""

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.losses.ssim import blur, ms_ssim, ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _images(height, width, *, seed=0, batch=1):
    """Noise on a slope, different along each axis."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    clean = 0.3 + 0.2 * np.sin(y / 9) * np.cos(x / 23) + 0.2 * x / width
    images = np.clip(clean + 0.2 * rng.standard_normal((2, batch, height, width)), 0, 1)
    images[1] = np.clip(0.7 * images[0] + 0.3 * images[1], 0, 1)
    return images.astype(np.float32)[..., None]


def _blur(image, taps, sigma):
    offset = np.arange(taps) - taps // 2
    weights = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * sigma**2))
    windows = np.lib.stride_tricks.sliding_window_view(image, (taps, taps))
    return np.einsum("yxij,ij->yx", windows, weights / weights.sum())


def _terms(a, b, *, taps=13):
    mean_a, mean_b = _blur(a, taps, 2.5), _blur(b, taps, 2.5)
    var_a, var_b = _blur(a * a, taps, 2.5) - mean_a**2, _blur(b * b, taps, 2.5) - mean_b**2
    covariance = _blur(a * b, taps, 2.5) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.05**2
    contrast = (2 * covariance + c2) / (var_a + var_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * contrast).mean(), contrast.mean()


def _pool(image):
    """2 x 2 means of PyTorch's avg_pool2d with padding 1 on odd sides, zeros counted."""
    height, width = image.shape
    pad_y, pad_x = height % 2, width % 2
    padded = np.pad(image, ((pad_y, pad_y), (pad_x, pad_x)))
    rows, columns = (padded.shape[0] - 2) // 2 + 1, (padded.shape[1] - 2) // 2 + 1
    return np.array(
        [
            [padded[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(columns)]
            for i in range(rows)
        ]
    )


def _ms_ssim(a, b):
    product = 1.0
    for scale, weight in enumerate(WEIGHTS):
        similarity, contrast = _terms(a, b)
        product *= max(similarity if scale == 4 else contrast, 0) ** weight
        a, b = _pool(a), _pool(b)
    return product


def test_ssim_is_that_of_dm_pix():
    a, b = jnp.asarray(_images(40, 57, batch=2))
    expected = dm_pix.ssim(a, b, filter_size=13, filter_sigma=2.5, k1=0.01, k2=0.05)
    np.testing.assert_allclose(ssim(a, b), expected, rtol=2e-5)


def test_ssim_is_that_of_skimage():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = _images(44, 51, seed=1)
    expected = metrics.structural_similarity(
        a[0, ..., 0].astype(float), b[0, ..., 0].astype(float), gaussian_weights=True, sigma=2.5,
        use_sample_covariance=False, K1=0.01, K2=0.05, data_range=1.0,
    )  # fmt: skip
    # Windows of skimage end at 3.5 sigma: 19 taps; its mean leaves out the edges.
    np.testing.assert_allclose(ssim(a, b, taps=19), expected, rtol=2e-5)


@pytest.mark.parametrize("taps", [13, 19, 7])
def test_ssim_against_numpy(taps):
    a, b = _images(33, 46, seed=2)
    expected, _ = _terms(*(x[0, ..., 0].astype(np.float64) for x in (a, b)), taps=taps)
    np.testing.assert_allclose(ssim(a, b, taps=taps), expected, rtol=2e-5)


def test_reflected_padding_has_one_window_per_pixel():
    a, b = _images(25, 31, seed=3)
    wide = (np.pad(x[0, ..., 0].astype(np.float64), 9, mode="reflect") for x in (a, b))
    expected, _ = _terms(*wide, taps=19)
    np.testing.assert_allclose(ssim(a, b, taps=19, mirror=True), expected, rtol=2e-5)


@pytest.mark.parametrize(("height", "width"), [(193, 198), (201, 195)])
def test_ms_ssim_against_numpy(height, width):
    """Sides that are odd at one scale or another, where padding and pooling can go wrong."""
    a, b = _images(height, width, seed=4)
    expected = _ms_ssim(*(x[0, ..., 0].astype(np.float64) for x in (a, b)))
    np.testing.assert_allclose(ms_ssim(a, b), expected, rtol=5e-5)


def test_each_image_of_a_batch_has_its_own_value():
    a, b = _images(36, 33, batch=3)
    alone = [float(ssim(a[i : i + 1], b[i : i + 1])[0]) for i in range(3)]
    np.testing.assert_allclose(ssim(a, b), alone, rtol=1e-6)
    assert len(set(alone)) == 3


def test_equal_images_are_perfect():
    a, _ = _images(194, 200)
    np.testing.assert_allclose(ssim(a, a), 1, atol=1e-5)
    np.testing.assert_allclose(ms_ssim(a, a), 1, atol=1e-5)


def test_opposite_images_count_as_zero():
    a, _ = _images(194, 200)
    assert _terms(*(x[0, ..., 0].astype(np.float64) for x in (1 - a, a)))[1] < 0
    np.testing.assert_array_equal(ms_ssim(1 - a, a), 0)


@pytest.mark.parametrize(("height", "width"), [(192, 400), (400, 192), (30, 30)])
def test_ms_ssim_of_a_small_image_is_refused(height, width):
    image = jnp.zeros((1, height, width, 1))
    with pytest.raises(ValueError, match=f"193 pixels or more .* got {height} x {width}"):
        ms_ssim(image, image)


def test_images_smaller_than_the_window_are_refused():
    image = jnp.zeros((1, 12, 40, 1))
    with pytest.raises(InputError, match="SSIM needs an image of 13 pixels"):
        ssim(image, image)


def test_blur_and_its_slope_with_weights_that_are_not_symmetric():
    """The slope of <blur(x), g> is the transpose of the blur, here as an explicit matrix."""
    weights = (0.1, 0.4, 0.3, 0.15)
    rows, columns = (
        np.array([np.roll([*weights, *np.zeros(side - 4)], i) for i in range(side - 3)])
        for side in (9, 12)
    )
    rng = np.random.default_rng(5)
    image, slope = rng.standard_normal((2, 9, 12)), rng.standard_normal((2, 6, 9))
    value, back = jax.vjp(lambda x: blur(x, weights), jnp.asarray(image, jnp.float32))
    np.testing.assert_allclose(value, rows @ image @ columns.T, atol=2e-6)
    np.testing.assert_allclose(
        back(jnp.asarray(slope, jnp.float32))[0], rows.T @ slope @ columns, atol=2e-6
    )


def test_the_two_passes_of_the_blur_are_not_fused():
    """As one loop XLA:CPU works out 13 x 13 taps for each pixel, which takes 4 times as long."""
    image = jnp.zeros((4, 64, 80))
    compiled = jax.jit(lambda x: blur(x, (1 / 13,) * 13)).lower(image).compile()
    assert compiled.memory_analysis().temp_size_in_bytes >= 4 * 52 * 80 * image.itemsize
