"""The blur against exact images of points, and its adjoint against the definition."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.instrument import psf
from xmm_jax.instrument.blur import build_blur
from xmm_jax.instrument.camera import PN, to_native


@functools.cache
def blurs():
    return build_blur(PN, 1)


@pytest.mark.parametrize(("column", "row"), [(250, 215), (120, 330)])
@pytest.mark.parametrize("padded", [False, True])
def test_a_point_looks_like_its_stamp(column, row, padded):
    forward, _ = blurs()
    shape, (low_x, low_y) = ((416, 416), PN.pad_low) if padded else (PN.shape, (0, 0))
    image = np.zeros(shape)
    image[row + low_y, column + low_x] = 1.0
    seen = forward(image)
    x, y = jnp.array([float(column)]), jnp.array([float(row)])
    stamp = np.asarray(psf.stamps(PN, x, y, 1, half_width=15)[0])[0]
    rows, columns = (slice(at - 15, at + 16) for at in (row + low_y, column + low_x))
    assert np.abs(seen[rows, columns] - stamp).sum() < 0.06  # six kernels for the field
    assert seen.sum() == pytest.approx(1.0, abs=0.01)


def test_finer_pixels_see_the_same_sky():
    """Pixels of 2 arcsec, binned, against those of 4; half the width is narrower."""
    images = {}
    for upscale, width in ((1, 1.0), (2, 1.0), (2, 0.5)):
        rows, columns = (upscale * side for side in PN.shape)
        y, x = np.mgrid[:rows, :columns]
        distance = np.hypot(to_native(x, upscale) - 180, to_native(y, upscale) - 290)
        source = np.exp(-0.5 * (distance / 1.5) ** 2)
        seen = build_blur(PN, upscale, width=width)[0](source / source.sum())
        images[upscale, width] = seen.reshape(rows // upscale, upscale, -1, upscale).sum((1, 3))
    full = images[1, 1.0]
    assert np.abs(images[2, 1.0] - full).sum() < 0.05
    assert images[2, 0.5].max() > 1.3 * full.max()


def test_the_adjoint_is_one():
    forward, adjoint = blurs()
    rng = np.random.default_rng(0)
    sky, image = np.zeros(PN.shape), np.zeros(PN.shape)
    sky[100:300, 50:350] = rng.random((200, 300))  # the cut at 0 must not matter
    image[90:310, 40:360] = rng.random((220, 320))
    assert np.vdot(forward(sky), image) == pytest.approx(np.vdot(sky, adjoint(image)), rel=1e-4)


def test_other_frames_are_refused():
    with pytest.raises(InputError, match="expected"):
        blurs()[0](np.zeros((100, 100)))
