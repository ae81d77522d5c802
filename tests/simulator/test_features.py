import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from xmm_jax.instrument.camera import PN, canvas_axes
from xmm_jax.simulator import features

X, Y = ((axis - centre) * 4 for axis, centre in zip(canvas_axes(PN, 2), (243, 223), strict=True))


def test_a_cold_front_jumps_by_the_number_it_says(recipe_with):
    # Around a small circle the spiral is crossed once: one sharp edge of almost the full jump.
    recipe = recipe_with(front_jump=3.0, front_radius=200.0, front_soft=1.0, front_pitch=20.0)
    angle = jnp.linspace(-np.pi, np.pi, 4001)[:-1]
    x, y = 60 * jnp.cos(angle), 60 * jnp.sin(angle)
    factor = np.asarray(features.cold_front(recipe, x, y, angle))
    assert 0.999 < factor.min() < 1.05
    assert 2.8 < factor.max() <= 3.0
    steps = np.abs(np.diff(np.append(factor, factor[0])))
    assert (steps > 0.02).sum() <= 40  # the edge takes less than a hundredth of the turn


def test_a_shock_compresses_by_rankine_hugoniot_at_its_nose_only(recipe_with):
    recipe = recipe_with(mach=2.0, shock_radius=100.0, shock_angle=50.0)
    x = jnp.float32([[150.0, 45.0, -90.0]])
    factor = np.asarray(features.shock(jax.random.key(0), recipe, x, jnp.zeros_like(x)))[0]
    compression = 4 * 4 / 7
    assert factor[0] == 1.0
    assert 1.05 < factor[1] < compression**2
    assert factor[2] < 1.01


def test_a_shock_has_an_edge_at_its_nose_and_none_at_its_flanks(recipe_with):
    recipe = recipe_with(mach=2.5, shock_radius=100.0, shock_angle=40.0)
    key = jax.random.key(1)
    behind = 50.0 * float(jax.random.uniform(key))

    def along(distance, angle):
        """Factor at places about the centre of the sphere."""
        x = jnp.float32(np.atleast_2d(distance * np.cos(angle) - behind))
        y = jnp.float32(np.atleast_2d(distance * np.sin(angle)))
        return np.asarray(features.shock(key, recipe, x, y))[0]

    nose = along(np.array([98.0, 100.5]), 0.0)
    assert nose[1] == 1.0
    assert nose[0] > 1.5
    # Steps of half a degree, less than a pixel at 100 arcsec.
    turn = np.deg2rad(np.arange(-180, 180, 0.5))
    flank = along(np.full(turn.shape, 90.0), turn)
    assert np.abs(np.diff(flank)).max() < 0.02 * (flank.max() - 1)
    assert np.argmax(flank) == pytest.approx(360, abs=1)
    np.testing.assert_allclose(flank[np.abs(turn) > np.deg2rad(80.5)], 1.0, atol=1e-6)


def draw_cavities(recipe, frame, seed):
    draw = jax.jit(lambda key: features.cavities(key, recipe, frame, PN, 864))
    return np.asarray(draw(jax.random.key(seed)), float)


def test_cavities_are_two_opposite_ellipses_as_deep_and_large_as_asked(recipe_with, plain_frame):
    numbers = {"cavity_pairs": 1.0, "cavity_distance": 60.0, "cavity_size": 0.5, "cavity_rim": 0.0}
    recipe = recipe_with("cavities", cavity_depth=0.4, **numbers)
    factor = draw_cavities(recipe, plain_frame, 3)
    assert factor.min() == pytest.approx(0.6, abs=0.005)
    assert factor.max() == 1.0
    labels, number = ndimage.label(factor < 0.8)
    assert number == 2
    angles = []
    for row, column in ndimage.center_of_mass(labels > 0, labels, [1, 2]):
        x, y = np.interp(column, range(864), X), np.interp(row, range(864), Y)
        distance = np.hypot(x, y)
        assert 0.8 * 60 - 1 < distance < 1.2 * 60 + 1
        angles.append(np.arctan2(y, x))
        # Half depth at the edge of an ellipse of this area; the taper of the patch takes a little.
        area = 4 * (labels == labels[round(row), round(column)]).sum()
        assert area == pytest.approx(np.pi * (0.5 * distance) ** 2, rel=0.08)
    off = abs(np.angle(np.exp(1j * (angles[1] - angles[0]))))
    assert np.pi - 0.8 <= off <= np.pi


def test_rims_of_cavities_are_brighter_by_what_was_asked(recipe_with, plain_frame):
    numbers = {"cavity_pairs": 1.0, "cavity_distance": 30.0, "cavity_size": 0.5, "cavity_rim": 0.3}
    factor = draw_cavities(recipe_with("cavities", cavity_depth=0.1, **numbers), plain_frame, 3)
    # 1 + 0.3 less the hole, of which sigmoid(-2) = 0.12 reaches the rim; two rims may overlap.
    assert 1.25 < factor.max() < 1.3**2
    assert (
        draw_cavities(recipe_with(**numbers), plain_frame, 3).tolist()
        == np.ones((864, 864)).tolist()
    )
