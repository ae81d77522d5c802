import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument import camera, vignetting
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import sky
from xmm_jax.simulator.families import FAMILIES
from xmm_jax.simulator.presets import PRESETS

X, Y = camera.canvas_axes(PN, 2)
VIGNETTING = vignetting.vignetting_map(PN, X, Y)


@functools.cache
def draw(name):
    return jax.jit(lambda key: sky.draw_extended(key, PN, PRESETS[name], VIGNETTING))


def box_mean(rate, x, y, zoom):
    """Vignetted mean [count/s/native pixel] in 144 zoom arcsec about a place."""
    rows = np.flatnonzero(np.abs(Y - y) * 4 <= 72 * zoom)
    columns = np.flatnonzero(np.abs(X - x) * 4 <= 72 * zoom)
    cut = np.ix_(rows, columns)
    return 4 * np.mean(np.asarray(rate, float)[cut] * VIGNETTING[cut])


@pytest.mark.parametrize("sigma", [5.0, 50.0])
@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_published_brightness_of_the_central_box(sigma, zoom):
    # Formula measured on twelve published files, good to 1.5 %.
    gauss = np.exp(-((X - 243)[None, :] ** 2 + (Y - 223)[:, None] ** 2) / (2 * 30.0**2))
    extended = sky.Extended(*map(jnp.float32, (243.0, 223.0, sigma, zoom)), jnp.int32(0))
    rate = sky.normalise(jnp.float32(gauss), PN, VIGNETTING, extended)
    expected = (1.14e-5 + 1.472e-5 * sigma) / zoom
    assert box_mean(rate, 243, 223, zoom) == pytest.approx(expected, rel=0.03)


def test_a_ring_about_a_dark_box_is_scaled_by_its_mean_and_darkness_stays_dark():
    radius = np.hypot((X - 243)[None, :], (Y - 223)[:, None])
    ring = np.float32((radius > 100) & (radius < 150))
    extended = sky.Extended(*map(jnp.float32, (243.0, 223.0, 10.0, 1.0)), jnp.int32(0))
    rate = np.asarray(sky.normalise(jnp.asarray(ring), PN, VIGNETTING, extended), float)
    assert 4 * np.mean(rate * VIGNETTING) == pytest.approx(1.14e-5 + 1.472e-4, rel=1e-3)
    assert not np.any(sky.normalise(jnp.zeros_like(ring), PN, VIGNETTING, extended))


def test_drawn_sources_have_the_brightness_they_claim():
    low, high = PRESETS["physical"].brightness
    exact = 0
    for key in jax.random.split(jax.random.key(11), 6):
        rate, extended = draw("physical")(key)
        x, y, sigma, zoom, _ = (float(value) for value in extended)
        assert low <= sigma <= high
        assert np.isfinite(rate).all()
        assert (np.asarray(rate) >= 0).all()
        ratio = box_mean(rate, x, y, zoom) / ((1.14e-5 + 1.472e-5 * sigma) / zoom)
        assert ratio < 1.01  # darker only where the middle is a hole
        exact += ratio > 0.99
    assert exact >= 4


def test_brightness_is_log_uniform_and_all_families_come():
    # The image is not asked for, and the compiler leaves it out.
    numbers = jax.jit(jax.vmap(lambda key: draw("physical")(key)[1]))
    drawn = numbers(jax.random.split(jax.random.key(12), 300))
    share, _ = np.histogram(
        np.log10(drawn.sigma), bins=3, range=np.log10(PRESETS["physical"].brightness)
    )
    assert share.sum() == 300
    assert (np.abs(share - 100) < 4 * np.sqrt(300 * 2 / 9)).all()
    assert set(np.asarray(drawn.family).tolist()) == set(range(len(FAMILIES)))


@pytest.mark.slow
def test_a_batch_is_its_fields_one_by_one():
    keys = jax.random.split(jax.random.key(2), 2)
    batch, drawn = jax.jit(jax.vmap(draw("physical")))(keys)
    for i, key in enumerate(keys):
        alone, extended = draw("physical")(key)
        assert int(drawn.family[i]) == int(extended.family)
        scale = float(jnp.max(alone))
        np.testing.assert_allclose(batch[i], alone, rtol=1e-3, atol=1e-5 * scale)


def test_binning_keeps_the_sum_of_each_block():
    image = jnp.arange(24.0 * 24).reshape(24, 24)
    binned = sky.bin_sky(image, 1)
    assert binned.shape == (12, 12)
    assert binned[3, 7] == image[6:8, 14:16].sum()
    np.testing.assert_array_equal(sky.bin_sky(image, 2), image)
