import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument import camera, vignetting
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import sky
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


@pytest.mark.parametrize("name", ["reference", "physical"])
def test_drawn_sources_have_the_brightness_they_claim(name):
    low, high = PRESETS[name].brightness
    families = set()
    for key in jax.random.split(jax.random.key(11), 12):
        rate, extended = draw(name)(key)
        x, y, sigma, zoom, family = (float(value) for value in extended)
        assert low <= sigma <= high
        assert np.isfinite(rate).all()
        assert (np.asarray(rate) >= 0).all()
        expected = (1.14e-5 + 1.472e-5 * sigma) / zoom
        assert box_mean(rate, x, y, zoom) == pytest.approx(expected, rel=0.01)
        families.add(family)
    assert len(families) == len(sky.FAMILIES)


def test_the_physical_sky_is_log_uniform_in_brightness():
    drawn = [
        float(draw("physical")(key)[1].sigma) for key in jax.random.split(jax.random.key(5), 60)
    ]
    # 60 log-uniform numbers from 1 to 1000: a third lies in each factor of ten, +- 6 %.
    share, _ = np.histogram(np.log10(drawn), bins=3, range=(0, 3))
    assert share.sum() == 60
    assert (np.abs(share - 20) < 4 * np.sqrt(60 * 2 / 9)).all()


def test_a_family_without_texture_is_its_formula():
    # Half the central brightness of a beta model lies where (1 + r^2/rc^2) ** (0.5 - 3 beta) = 1/2,
    # on a circle, and far out the slope is 1 - 6 beta.
    radius = jnp.array([[1e-3, 1.0, 10.0, 1e4, 2e4]])
    zero = jnp.zeros_like(radius)
    for seed in range(5):
        key = jax.random.key(seed)
        along = np.asarray(sky.beta_model(key, radius, zero, zero))
        across = np.asarray(sky.beta_model(key, zero, radius, zero))
        np.testing.assert_allclose(along, across, rtol=1e-6)
        slope = np.log2(along[0, 4] / along[0, 3])
        assert 1 - 6 * 1.0 - 0.01 <= slope <= 1 - 6 * 0.4 + 0.01
        assert (np.diff(along) < 0).all()


def test_cool_cores_are_more_peaked():
    radius = jnp.geomspace(1.0, 600.0, 50)[None, :]
    zero = jnp.zeros_like(radius)
    keys = jax.random.split(jax.random.key(0), 200)
    peak = {}
    for name, family in (("beta", sky.beta_model), ("cool", sky.cool_core)):
        profile = jax.vmap(lambda key, family=family: family(key, radius, zero, zero))(keys)[:, 0]
        peak[name] = float(jnp.median(profile[:, 0] / profile[:, 30]))
    assert peak["cool"] > 2 * peak["beta"]


def test_texture_is_a_unit_field_with_a_steep_spectrum():
    make = jax.jit(sky.draw_texture, static_argnums=(1, 2))
    slopes = []
    for key in jax.random.split(jax.random.key(3), 8):
        field = np.asarray(make(key, 256, 2.0), float)
        assert field.mean() == pytest.approx(0.0, abs=1e-4)
        assert field.std() == pytest.approx(1.0, abs=1e-3)
        power = np.abs(np.fft.fft2(field)) ** 2
        wave = np.hypot(np.fft.fftfreq(256, 2.0)[:, None], np.fft.fftfreq(256, 2.0)[None, :])
        # 60 arcsec to 20 arcsec: inside the outer scale, outside the cut at 3 arcsec.
        edges = np.geomspace(1 / 60, 1 / 20, 6)
        ring = [power[(wave >= a) & (wave < b)].mean() for a, b in itertools.pairwise(edges)]
        middle = np.sqrt(edges[1:] * edges[:-1])
        slopes.append(np.polyfit(np.log(middle), np.log(ring), 1)[0])
    assert -4.5 < min(slopes) < max(slopes) < -1.0


def test_binning_keeps_the_sum_of_each_block():
    image = jnp.arange(24.0 * 24).reshape(24, 24)
    binned = sky.bin_sky(image, 1)
    assert binned.shape == (12, 12)
    assert binned[3, 7] == image[6:8, 14:16].sum()
    np.testing.assert_array_equal(sky.bin_sky(image, 2), image)
