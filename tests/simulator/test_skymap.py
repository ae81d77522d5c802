import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument.camera import PN, canvas_axes
from xmm_jax.instrument.vignetting import vignetting_map
from xmm_jax.simulator import frame, sky, skymap
from xmm_jax.simulator.presets import PRESETS


def make(turn=0.0, mirror=1.0, zoom=1.0, centre=(243.0, 223.0)):
    return frame.Frame(jnp.float32(centre), *map(jnp.float32, (turn, 1.0, mirror, zoom)))


def centroid(image):
    """Centre of light [native pixel]."""
    x, y = canvas_axes(PN, 2)
    image = np.asarray(image, float)
    return (image * x[None, :]).sum() / image.sum(), (image * y[:, None]).sum() / image.sum()


def spot(x, y):
    """Map of 720 pixels of 4 arcsec with a smooth spot, [arcsec] from its middle."""
    index = (np.arange(720) - 359.5) * 4.0
    square = np.square(index[None, :] - x) + np.square(index[:, None] - y)
    return jnp.float32(np.exp(-square / (2 * 12.0**2)))


@pytest.mark.parametrize(
    ("place", "offset"),
    [
        ({}, (25, 10)),
        ({"turn": np.pi / 2}, (-10, 25)),
        ({"mirror": -1.0}, (-25, 10)),
        ({"zoom": 2.0}, (50, 20)),
        ({"centre": (253.0, 203.0)}, (35, -10)),
    ],
)
def test_a_spot_lands_where_geometry_puts_it(place, offset):
    # 100 and 40 arcsec from the middle are 25 and 10 native pixels.
    x, y = centroid(skymap.lay_map(spot(100.0, 40.0), make(**place), PN))
    assert (x - 243, y - 223) == pytest.approx(offset, abs=0.02)


def test_maps_are_drawn_in_the_place_of_recipes():
    x, y = canvas_axes(PN, 2)
    factor = vignetting_map(PN, x, y)
    maps = jnp.stack([spot(0.0, 0.0), spot(30.0, 0.0)]).astype(jnp.float16)
    draw = jax.jit(lambda key: sky.draw_extended(key, PN, PRESETS["reference"], factor, maps))
    offsets = []
    for key in jax.random.split(jax.random.key(0), 8):
        rate, extended = draw(key)
        assert int(extended.family) == -1
        assert np.isfinite(rate).all()
        where = np.subtract(centroid(rate), (extended.x, extended.y))
        offsets.append(float(np.hypot(*where) * 4 / extended.zoom))
    # Each is one of the two maps, enlarged: its spot 0 or 30 arcsec off the centre.
    assert set(np.round(offsets, -1)) == {0, 30}


def test_the_frame_and_its_inverse_agree():
    one = make(turn=0.7, mirror=-1.0, zoom=1.3)._replace(ratio=jnp.float32(0.6))
    x, y = frame.from_source(one, PN, jnp.float32([3.0, -80.0]), jnp.float32([50.0, 7.0]))
    back = np.stack(frame.to_source(one, PN, x, y))
    np.testing.assert_allclose(back, [[3.0, -80.0], [50.0, 7.0]], atol=1e-3)
