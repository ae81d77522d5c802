"""Interpolation against jax.image and closed forms; dead pixels against what was under them."""

import jax
import numpy as np
import pytest
from jax import image as jax_image

from xmm_jax.errors import InputError
from xmm_jax.models.interpolation import (
    KERNELS,
    count_rate,
    enlarge,
    fill_dead,
    finish,
    interpolate,
)

IMAGE = np.random.default_rng(0).gamma(1.0, 1.0, (19, 23))
HOLES = np.random.default_rng(1).random((19, 23)) < 0.85
HOLES[:6, :5] = False


@pytest.mark.parametrize(
    ("kernel", "theirs"),
    [("nearest", "nearest"), ("bilinear", "linear"), ("bicubic", "cubic"), ("lanczos", "lanczos3")],
)
@pytest.mark.parametrize("upscale", [1, 2, 3])
def test_agrees_with_jax_image_away_from_the_edges(kernel, theirs, upscale):
    fine = tuple(upscale * side for side in IMAGE.shape)
    expected = jax_image.resize(
        IMAGE.astype(np.float32), fine, theirs, precision=jax.lax.Precision.HIGHEST
    )
    inside = (slice(3 * upscale, -3 * upscale),) * 2
    ours = enlarge(IMAGE, upscale, kernel=kernel) * upscale**2
    np.testing.assert_allclose(ours[inside], np.asarray(expected)[inside], atol=2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("upscale", [1, 2, 4])
def test_keeps_the_sum_of_every_image(kernel, upscale):
    assert enlarge(IMAGE, upscale, kernel=kernel).sum() == pytest.approx(IMAGE.sum(), rel=1e-12)


def test_cubic_reproduces_a_parabola():
    y, x = np.mgrid[:14, :12]
    fine_y, fine_x = (np.mgrid[:28, :24] + 0.5) / 2 - 0.5

    def surface(x, y):
        return 3 + 0.5 * x - y + 0.2 * x * y + 0.1 * x**2 - 0.3 * y**2

    ours = 4 * enlarge(surface(x, y), 2, kernel="bicubic")
    np.testing.assert_allclose(ours[4:-4, 4:-4], surface(fine_x, fine_y)[4:-4, 4:-4], rtol=1e-10)


def test_unknown_kernel():
    with pytest.raises(InputError, match="kernel 'spline' is unknown"):
        enlarge(IMAGE, 2, kernel="spline")


def test_dead_pixels_are_filled_from_their_neighbours():
    y, x = np.mgrid[:19, :23]
    ramp = 1.0 + 0.01 * x + 0.02 * y
    np.testing.assert_array_equal(fill_dead(ramp, HOLES)[HOLES], ramp[HOLES])
    np.testing.assert_allclose(fill_dead(ramp, HOLES), ramp, atol=0.12)
    far = np.zeros((60, 80), bool)
    far[20:30, 30:50] = True
    np.testing.assert_allclose(fill_dead(np.where(far, 7.0, -1e9), far), 7.0)
    assert not fill_dead(ramp, np.zeros_like(HOLES)).any()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_flat_sky_stays_flat_beside_dead_pixels(kernel):
    exposure = np.where(np.arange(23) < 11, 1000.0, 400.0) * np.ones((19, 1))
    rate = interpolate(0.25 * exposure, exposure, HOLES, upscale=2, kernel=kernel)
    live = HOLES.repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(rate[live], 0.25 / 4, rtol=1e-6)
    assert not rate[~live].any()
    assert rate.dtype == np.float32


def test_light_is_kept_with_dead_pixels():
    exposure = np.full(IMAGE.shape, 50.0)
    rate = finish(3 * IMAGE, 100 * IMAGE, exposure, HOLES, upscale=2)
    assert rate.sum() == pytest.approx(2 * IMAGE[HOLES].sum(), rel=1e-5)
    assert not finish(IMAGE, IMAGE, exposure, np.zeros_like(HOLES), upscale=2).any()


def test_pixels_without_exposure_are_dead():
    exposure = np.where(HOLES, 50.0, 0.0)
    rate = count_rate(np.ones((19, 23), np.int32), exposure, np.ones_like(HOLES))
    np.testing.assert_array_equal(rate, np.where(HOLES, 0.02, 0.0))
