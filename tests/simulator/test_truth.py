import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.instrument import camera, vignetting
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import agn, observe, truth
from xmm_jax.simulator.optics import Optics
from xmm_jax.simulator.sky import Extended
from xmm_jax.simulator.variations import Variations

CLOSE = Variations(blends=0.5)


# The sky needs of the optics its vignetting alone.
VIGNETTING = vignetting.vignetting_map(PN, *camera.canvas_axes(PN, 2))
OPTICS = Optics(None, None, VIGNETTING)


def flat_extended(key, camera, preset, vignetting, maps=None):
    """A quick sky: even light, as bright as a map that is one number says."""
    zero = jnp.float32(0.0)
    rate = jnp.full(vignetting.shape, 1e-6 if maps is None else maps)
    return rate, Extended(zero, zero, zero, zero, jnp.int32(0))


def test_catalogue_is_the_same_alone_and_in_a_batch(monkeypatch):
    monkeypatch.setattr(truth, "draw_extended", flat_extended)
    keys = jax.random.split(jax.random.key(3), 3)
    draw = functools.partial(observe.draw_truth, preset="reference")
    alone = [jax.device_get(jax.jit(draw)(key, OPTICS)) for key in keys]
    batch = jax.jit(jax.vmap(draw, (0, None)))(keys, OPTICS)
    for name in ("x", "y", "rate", "component"):
        expected = np.stack([getattr(one, name) for one in alone])
        np.testing.assert_allclose(getattr(batch, name), expected, rtol=1e-6)
    for one in alone:
        np.testing.assert_array_equal(one.component, one.rate > 0)


def test_table_holds_the_extended_source_then_the_points():
    extended = Extended(*map(np.float32, (240.0, 220.0, 33.0, 1.5)), np.int32(2))
    points = ([243.0, 333.0, 9.0], [223.0, 223.0, 9.0], [2.0, 1.0, 0.0])
    made = truth.Truth(*map(np.float32, points), np.int32([1, 2, 0]), extended, np.float32(7.0))
    table = truth.truth_columns(made, PN)
    assert list(table["component"]) == ["extended", "point", "companion"]
    assert list(table["x"]) == [240.0, 243.0, 333.0]
    assert list(table["rate"]) == [7.0, 2.0, 1.0]
    # Vignetting: 1 on the axis, 0.7562 at 6 arcmin.
    np.testing.assert_allclose(table["seen_rate"][1:], [2.0, 0.7562], atol=1e-3)
    assert table["sigma"][0] == 33.0
    assert np.isnan(table["sigma"][1:]).all()
    assert len({len(column) for column in table.values()}) == 1


def test_companions_follow_the_brightest():
    keys = jax.random.split(jax.random.key(8), 60)
    rate = jnp.geomspace(100.0, 1.0, 80)
    points = (jnp.linspace(0, 400, 80), jnp.linspace(400, 0, 80), rate)
    give = jax.jit(jax.vmap(lambda key: agn.add_companions(key, PN, points, 0.4)))
    (x, y, found), companion = jax.device_get(give(keys))
    assert x.shape == (60, 144)
    np.testing.assert_array_equal(found[:, :64], np.broadcast_to(rate[:64], (60, 64)))
    np.testing.assert_array_equal(found[:, 128:], np.broadcast_to(rate[64:], (60, 16)))
    np.testing.assert_array_equal(companion[0], (np.arange(144) >= 64) & (np.arange(144) < 128))
    on = found[:, 64:128] > 0
    assert on.mean() == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / on.size))
    separation = 4 * np.hypot(x[:, 64:128] - x[:, :64], y[:, 64:128] - y[:, :64])
    assert separation.max() <= 12.001
    assert separation.mean() == pytest.approx(6.0, abs=4 * 12 / np.sqrt(12 * on.size))
    ratio = (found[:, 64:128] / found[:, :64])[on]
    assert ratio.min() >= 0.0999
    assert np.log10(ratio).mean() == pytest.approx(-0.5, abs=4 / np.sqrt(12 * ratio.size))


def test_a_thicker_filter_dims_the_whole_sky(monkeypatch):
    monkeypatch.setattr(truth, "draw_extended", flat_extended)
    draw = functools.partial(observe.draw_truth, variations=CLOSE)
    both = jax.jit(lambda key: [draw(key, OPTICS, filter_name=name) for name in ("thin", "medium")])
    thin, medium = both(jax.random.key(1))
    np.testing.assert_allclose(medium.rate, 0.976 * thin.rate, rtol=1e-5)
    np.testing.assert_allclose(medium.extended_rate, 0.976 * thin.extended_rate, rtol=1e-5)
    assert set(np.unique(thin.component)) == {0, 1, 2}


def test_maps_of_the_user_are_passed_on(monkeypatch):
    monkeypatch.setattr(truth, "draw_extended", flat_extended)
    draw = jax.jit(lambda key, maps: observe.draw_truth(key, OPTICS, maps=maps))
    drawn = draw(jax.random.key(1), jnp.float32(3.0))
    assert float(drawn.extended_rate) == pytest.approx(3.0 * 864**2)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"filter_name": "thick"}, "'thick'.*thin, medium"),
        ({"preset": "reference", "filter_name": "medium"}, "physical"),
        ({"preset": "reference", "variations": CLOSE}, "physical"),
    ],
)
def test_what_cannot_be_drawn_is_named(options, word):
    with pytest.raises(InputError, match=word):
        observe.draw_truth(jax.random.key(0), OPTICS, **options)
