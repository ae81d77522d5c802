"""Planted fields are what the simulator makes of the same sources."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.vignetting import vignetting
from xmm_jax.metrics import planted
from xmm_jax.simulator.observe import expected_sources
from xmm_jax.simulator.optics import build_optics
from xmm_jax.simulator.presets import find_preset


@pytest.fixture(scope="module")
def optics():
    return build_optics("reference", upscale=2)


def test_places_keep_their_distance_and_stay_on_the_frame():
    x, y = jax.device_get(planted.places(jax.random.key(0), spacing_arcsec=100.0))
    assert len(x) == 16 * 16
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(len(x))
    assert apart.min() > 25 - 4 * np.sqrt(2)
    assert min(x.min(), y.min()) >= 0
    assert (x.max(), y.max()) < (403, 411)


def test_same_image_as_the_simulator(optics):
    x, y = jnp.float32([243.0, 120.3, 333.7]), jnp.float32([223.2, 300.0, 90.4])
    rate = jnp.float32([0.01, 0.02, 0.0])
    distance = jnp.hypot(x - PN.axis[0], y - PN.axis[1]) * PN.pixel_arcsec / 60
    pair = jax.device_get(
        planted.observe_points(jax.random.key(1), optics, x, y, rate, upscale=2, preset="reference")
    )
    constants = find_preset("reference")
    sky = jnp.zeros((2 * PN.canvas, 2 * PN.canvas))
    points = (x, y, rate / vignetting(PN, distance))
    expected = jax.jit(
        lambda sky, points, grid: expected_sources(sky, points, grid, PN, constants, 2)
    )(sky, points, optics.target)
    expected = np.where(optics.target.live, expected, 0.0) * 1e5
    np.testing.assert_allclose(pair["target"][..., 0], expected, rtol=2e-4, atol=1e-3)
    assert pair["counts"].shape == (411, 403, 1)
    assert pair["counts"].dtype == np.int32
    # 0.01 and 0.02 count/s in 20 ks, and the background of the published simulations.
    box = pair["counts"][208:239, 228:259, 0].sum()
    assert box == pytest.approx(200 + 31 * 31 * 1.11e-5 * 2e4, abs=4 * np.sqrt(420))
    assert not pair["counts"][~pair["valid"]].any()


def test_catalogue_leaves_out_what_was_not_planted():
    table = planted.as_catalogue([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.1, 0.0, 0.2])
    assert list(table["x"]) == [1.0, 3.0]
    assert list(table["component"]) == ["point", "point"]
