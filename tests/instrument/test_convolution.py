import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument import camera, convolution, detector, psf, vignetting
from xmm_jax.instrument.camera import PN

HALF_WIDTH = 15
draw_stamps = jax.jit(
    psf.stamps, static_argnums=(0, 3), static_argnames=("half_width", "core_scale")
)


@functools.cache
def tables(rank, upscale=1):
    basis = convolution.low_rank_basis(PN, rank=rank, half_width=HALF_WIDTH)
    maps = convolution.coefficient_maps(PN, basis, upscale)
    return maps, convolution.kernel_transforms(basis, upscale * PN.canvas)


@functools.cache
def blur(rank, upscale=1):
    convolve = jax.jit(convolution.convolve)
    maps, transforms = tables(rank, upscale)
    return lambda sky, factor=1.0: convolve(sky, maps * np.float32(factor), transforms)


def canvas_position(column, row, upscale=1):
    x, y = camera.canvas_axes(PN, upscale)
    return jnp.float32(x[column]), jnp.float32(y[row])


@pytest.fixture(scope="module")
def textured():
    """A lognormal 128^2 crop off axis, its image by one stamp per pixel, and where it lies."""
    rng = np.random.default_rng(3)
    wave = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :])
    power = (wave + 1 / 64) ** -1.5
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(128, 128))) * power)
    crop = np.exp(0.8 * field / field.std())
    low_x, low_y = 30, 60
    columns, rows = np.meshgrid(np.arange(128) + low_x, np.arange(128) + low_y)
    x, y = canvas_position(columns.ravel(), rows.ravel())

    @jax.jit
    def add_row(image, args):
        x, y, light, column, row = args
        stamp, *_ = draw_stamps(PN, x, y, 1, half_width=HALF_WIDTH)
        return psf.add_stamps(image, stamp * light[:, None, None], column, row), None

    args = (x, y, jnp.float32(crop.ravel()), columns.ravel(), rows.ravel())
    args = [jnp.asarray(value).reshape(128, 128) for value in args]
    image, _ = jax.lax.scan(add_row, jnp.zeros((PN.canvas, PN.canvas)), tuple(args))
    sky = np.zeros((PN.canvas, PN.canvas), np.float32)
    sky[low_y : low_y + 128, low_x : low_x + 128] = crop
    inside = (slice(low_y + 15, low_y + 113), slice(low_x + 15, low_x + 113))
    return jnp.asarray(sky), np.asarray(image), inside


@pytest.mark.parametrize(("rank", "tolerance"), [(6, 0.015), (12, 0.006)])
def test_low_rank_against_brute_force(textured, rank, tolerance):
    sky, expected, inside = textured
    image = np.asarray(blur(rank)(sky))
    relative = image[inside] / expected[inside] - 1
    assert np.sqrt(np.mean(relative**2)) < tolerance


@pytest.mark.parametrize(("column", "row"), [(90, 330), (257, 233), (380, 150)])
def test_one_source_as_stamp_and_by_transform(column, row):
    x, y = canvas_position(np.array([column]), np.array([row]))
    stamp, *_ = draw_stamps(PN, x, y, 1, half_width=HALF_WIDTH)
    sky = jnp.zeros((PN.canvas, PN.canvas)).at[row, column].set(1.0)
    image = np.asarray(blur(12)(sky))
    found = image[row - 15 : row + 16, column - 15 : column + 16]
    np.testing.assert_allclose(found, stamp[0], atol=0.02 * float(stamp.max()))
    assert image.sum() == pytest.approx(1.0, abs=5e-3)


def test_light_is_conserved(textured):
    sky, *_ = textured
    for upscale in (1, 2):
        fine = jnp.asarray(np.asarray(sky).repeat(upscale, 0).repeat(upscale, 1))
        factor = vignetting.vignetting_map(PN, *camera.canvas_axes(PN, upscale))
        image = blur(6, upscale)(fine, factor)
        assert float(image.sum()) == pytest.approx(float((fine * factor).sum()), rel=5e-3)
        assert float(image.min()) >= 0.0


def test_flat_sky_shows_the_vignetting():
    factor = vignetting.vignetting_map(PN, *camera.canvas_axes(PN, 1))
    image = np.asarray(blur(6)(jnp.ones((PN.canvas, PN.canvas)), factor))
    image, factor = (camera.crop_canvas(PN, one, 1) for one in (image, factor))
    live = detector.mask(PN)
    # On the axis, where the PSF begins to be drawn out around it, exact PSFs make a dip of 1.1 %.
    on_axis = np.zeros_like(live)
    on_axis[222:225, 242:245] = True
    np.testing.assert_allclose(image[live & ~on_axis], factor[live & ~on_axis], rtol=0.01)
    np.testing.assert_allclose(image[on_axis], factor[on_axis], rtol=0.015)


def test_a_blob_keeps_its_place_at_both_resolutions():
    centre = np.array([310.3, 120.8])  # native pixels of the frame
    for upscale in (1, 2):
        x, y = camera.canvas_axes(PN, upscale)
        sky = np.exp(-((x - centre[0])[None, :] ** 2 + (y - centre[1])[:, None] ** 2) / (2 * 3**2))
        image = np.asarray(blur(6, upscale)(jnp.float32(sky)), float)
        found = [(image * x[None, :]).sum(), (image * y[:, None]).sum()] / image.sum()
        np.testing.assert_allclose(found, centre, atol=0.05)


def test_kernels_are_orthonormal_and_rank_is_obeyed():
    basis = convolution.low_rank_basis(PN, rank=5, half_width=HALF_WIDTH)
    assert basis.kernels.shape == (5, 31, 31)
    flat = basis.kernels.reshape(5, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(5), atol=1e-6)


@pytest.mark.parametrize(("rank", "mean", "largest"), [(6, 0.022, 0.06), (12, 0.006, 0.025)])
def test_psf_error_over_the_field(rank, mean, largest):
    # Half the sum of absolute differences, at live pixels chosen at random.
    maps, _ = tables(rank)
    kernels = convolution.low_rank_basis(PN, rank=rank, half_width=HALF_WIDTH).kernels
    rows, columns = np.nonzero(detector.mask(PN))
    chosen = np.random.default_rng(0).integers(0, len(rows), 128)
    x, y = jnp.float32(columns[chosen]), jnp.float32(rows[chosen])
    exact = np.asarray(draw_stamps(PN, x, y, 1, half_width=HALF_WIDTH)[0])
    at = maps[:, rows[chosen] + PN.canvas_low[1], columns[chosen] + PN.canvas_low[0]]
    error = np.abs(np.einsum("kp,kyx->pyx", at, kernels) - exact).sum(axis=(1, 2)) / 2
    assert error.mean() < mean
    assert error.max() < largest
