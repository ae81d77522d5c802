"""Richardson-Lucy against scikit-image, and a point that has to get narrower."""

import numpy as np
import pytest
from scipy import signal

from xmm_jax.models.richardson_lucy import king_kernel, richardson_lucy, richardson_lucy_variant


def test_king_profile():
    kernel = king_kernel(1.5, 2.0, half_width=200)
    assert kernel.sum() == pytest.approx(1.0)
    # (1 + (r / core)^2)^-2 holds r^2 / (r^2 + core^2) of the light within r.
    y, x = np.mgrid[-200:201, -200:201]
    assert kernel[np.hypot(x, y) < 10.5].sum() == pytest.approx(
        10.5**2 / (10.5**2 + 2.25), rel=5e-3
    )
    assert kernel[200, 203] / kernel[200, 200] == pytest.approx(5.0**-2)


def test_is_that_of_scikit_image_away_from_the_edges():
    restoration = pytest.importorskip("skimage.restoration")
    counts = np.random.default_rng(0).poisson(30.0, (60, 70)) + 1
    kernel = np.random.default_rng(1).random((5, 3))
    kernel /= kernel.sum()
    expected = restoration.richardson_lucy(counts.astype(float), kernel, num_iter=3, clip=False)
    ours = richardson_lucy_variant(
        counts,
        np.ones(counts.shape),
        np.ones(counts.shape, bool),
        upscale=1,
        iterations=3,
        forward=lambda image: signal.convolve2d(image, kernel, "same"),
        adjoint=lambda image: signal.convolve2d(image, kernel[::-1, ::-1], "same"),
        restore=lambda image: image,
    )
    inside = (slice(14, -14),) * 2
    ratio = ours[inside] / expected[inside]  # one number: the sum of the frame is set anew
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)


def test_a_point_gets_half_as_wide():
    """Noise-free image of a point between pixels, full PSF, on a grid twice finer."""
    fine = np.zeros((96, 112))
    fine[50, 61] = 5e5
    seen = signal.fftconvolve(fine, king_kernel(3.0, 1.58, half_width=30), "same")
    counts = np.maximum(seen.reshape(48, 2, 56, 2).sum(axis=(1, 3)), 0) + 1e-3
    exposure, valid = np.full(counts.shape, 1e4), np.ones(counts.shape, bool)
    wanted = signal.fftconvolve(fine, king_kernel(1.5, 1.58, half_width=30), "same") / 1e4
    rate = richardson_lucy(counts, exposure, valid, upscale=2, iterations=200)
    assert np.unravel_index(rate.argmax(), rate.shape) == (50, 61)
    assert rate.max() > 2.2 * seen.max() / 1e4
    few = richardson_lucy(counts, exposure, valid, upscale=2, iterations=3)
    assert np.abs(rate - wanted).sum() < 0.2 * np.abs(few - wanted).sum()
    assert rate.sum() == pytest.approx(counts.sum() / 1e4, rel=1e-5)


def test_dead_pixels_do_not_dim_their_neighbours():
    exposure = np.full((50, 60), 1e3)
    exposure[:, 33:] = 400.0
    valid = np.ones(exposure.shape, bool)
    valid[20:24, :] = False
    rate = richardson_lucy(0.03 * exposure, exposure, valid, upscale=1, iterations=10)
    inside = valid[8:-8, 8:-8]
    # The sky is dark beyond the frame, so only its inside is flat.
    np.testing.assert_allclose(rate[8:-8, 8:-8][inside], 0.03, rtol=0.08)
