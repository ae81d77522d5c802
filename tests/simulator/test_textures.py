import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import textures


def test_turbulence_keeps_the_mean_and_has_the_spectrum_it_was_given():
    draw = jax.jit(lambda key, slope: textures.draw_fields(key, 256, 2.0, slope, 1e3))
    wave = np.hypot(np.fft.fftfreq(256, 2.0)[:, None], np.fft.fftfreq(256, 2.0)[None, :])
    edges = np.geomspace(1 / 100, 1 / 20, 6)
    for slope in (2.0, 3.6):
        first, second = (
            np.asarray(field, float) for field in draw(jax.random.key(1), jnp.float32(slope))
        )
        power, found = np.abs(np.fft.fft2(first)) ** 2 + np.abs(np.fft.fft2(second)) ** 2, []
        # Steep fields share their few largest waves by chance.
        assert abs(np.mean(first * second)) < (0.2 if slope < 3 else 0.6)
        assert abs(first.mean()) < 1e-3
        for low, high in itertools.pairwise(edges):
            found.append(power[(wave >= low) & (wave < high)].mean())
        middle = np.sqrt(edges[1:] * edges[:-1])
        # The cut at 3 arcsec steepens by 2 * 9/2 * k^2 at most 0.02 in ln power.
        assert abs(np.polyfit(np.log(middle), np.log(found), 1)[0] + slope) < 0.35
        np.testing.assert_allclose(first.std(), 1.0, rtol=1e-3)
    noise = jax.random.normal(jax.random.key(2), (1000, 1000))
    assert abs(float(jnp.mean(textures.lognormal(noise, jnp.float32(0.5)))) - 1) < 0.005


# Two straight lines of zeros down the canvas, at columns 0 and 128.
WAVE = np.sin(2 * np.pi * np.arange(256) / 256)[None, :] * np.ones((256, 1))


def ridges(seed, width, warp_arcsec):
    draw = jax.jit(lambda key: textures.ridges(key, jnp.float32(WAVE), width, warp_arcsec, 2.0))
    return np.asarray(draw(jax.random.key(seed)), float)


def test_unbent_ridges_fade_exponentially_from_where_the_field_is_zero():
    np.testing.assert_allclose(
        ridges(0, 0.1, 0.0), 0.1 + 0.9 * np.exp(-np.abs(WAVE) / 0.1), atol=1e-5
    )


def test_bent_ridges_stay_near_their_line_in_one_piece_and_periodic():
    warp_arcsec, moved = 12.0, []
    for seed in range(4):
        light = ridges(seed, 0.1, warp_arcsec)
        assert light.min() >= 0.1
        assert light.max() <= 1.0
        line = 64 + np.argmax(light[:, 64:192], axis=1)
        # Two waves of warp / sqrt(2) each, 2 arcsec a pixel.
        assert np.abs(line - 128).max() <= np.sqrt(2) * warp_arcsec / 2 + 1
        # Slope of at most 0.42 / (1 - 0.42): no fold, and the last row meets the first.
        assert np.abs(np.diff(np.append(line, line[0]))).max() <= 2
        moved.append(np.abs(line - 128).max())
    assert max(moved) > 3


def test_leaves_are_even_patches_with_sharp_edges(plain_frame):
    draw = jax.jit(lambda key: textures.leaves(key, plain_frame, PN, 864))
    logarithms, sizes = [], []
    for seed in range(4):
        image = np.asarray(draw(jax.random.key(seed)))
        values = np.unique(image)
        assert 20 < len(values) <= textures.LEAVES + 1  # no values between: edges of one pixel
        assert (image[0] == 1).all()
        logarithms += list(np.log(values[values != 1]))
        for value in values[values != 1]:
            rows, columns = np.nonzero(image == value)
            # Radius of 6 to 50 arcsec, cut at the patch of 32 pixels.
            assert max(np.ptp(rows), np.ptp(columns)) <= 2 * 50 / 2 + 1
            sizes.append(len(rows) * 4 / np.pi)
        assert ndimage.label(image != 1)[1] >= 2
    # ln brightness is normal with sigma 0.8: 4 sigma of a standard deviation.
    number = len(logarithms)
    assert np.std(logarithms) == pytest.approx(0.8, abs=4 * 0.8 / np.sqrt(2 * number))
    # Density r^-3 between 6 and 50: half are smaller than 6 / sqrt(1 - 0.5 (1 - 0.12^2)) = 8.4
    # arcsec along, and flatter across: most areas are small, few are large.
    assert np.median(sizes) < 8.5**2
    assert max(sizes) > 15**2
