import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from xmm_jax.instrument.camera import PN, canvas_axes
from xmm_jax.simulator import compact

HOST = 1000.0
X, Y = ((axis - centre) * 4 for axis, centre in zip(canvas_axes(PN, 2), (243, 223), strict=True))


@pytest.fixture(scope="module")
def draw(plain_frame):
    dark = jnp.zeros((864, 864))
    add = jax.jit(lambda key, recipe: compact.add_compact(key, recipe, plain_frame, PN, dark, HOST))
    return lambda seed, recipe: np.asarray(add(jax.random.key(seed), recipe), float)


def test_nothing_asked_for_is_nothing_added(draw, recipe_with):
    assert not draw(0, recipe_with()).any()


@pytest.mark.parametrize("seed", [0, 1])
def test_knots_have_their_share_of_the_light(draw, recipe_with, seed):
    light = draw(seed, recipe_with("knots", knots=30.0, knot_share=0.1))
    assert light.sum() == pytest.approx(0.1 * HOST, rel=1e-3)


def test_a_knot_is_a_gaussian_of_two_arcsec(draw, recipe_with):
    light = draw(2, recipe_with("knots", knots=1.0, knot_share=0.2))
    total = light.sum()
    for axis, place in ((0, X), (1, Y)):
        profile = light.sum(axis=axis)
        mean = (profile * place).sum() / total
        width = np.sqrt((profile * (place - mean) ** 2).sum() / total)
        # The taper to 16 arcsec squeezes it: (1 - r^2 / 16^2)^2 takes 2 r^2 / 16^2 of the light.
        assert width == pytest.approx(2.0, rel=0.06)


def test_satellites_keep_their_distance_and_their_light(draw, recipe_with):
    for seed in range(3):
        light = draw(seed, recipe_with("satellites", satellites=5.0))
        assert 5 * 1e-3 * HOST * 0.999 < light.sum() < 5 * 0.03 * HOST
        assert 1 <= ndimage.label(light > 0)[1] <= 5
        peak = np.argwhere((light == ndimage.maximum_filter(light, 9)) & (light > 0))
        distance = np.hypot(X[peak[:, 1]], Y[peak[:, 0]])
        assert distance.min() > 60 - 3
        assert distance.max() < 480 + 3


def test_a_jet_is_a_chain_on_one_side_and_a_lobe_at_either_end(draw, recipe_with):
    for seed in range(3):
        light = draw(seed, recipe_with("jet", jet_length=120.0, jet_share=0.1))
        # The chain has the share, each lobe 0 to 1 of it.
        assert 0.1 * HOST * 0.999 < light.sum() < 0.3 * HOST
        # Lobes of 36 arcsec about 120; the chain fills -0 to 150 on the other.
        assert not light[:, np.abs(X) > 120 * 1.3 + 100].any()
        behind = light[:, X < -120 + 60].sum() / HOST
        assert 0 < behind < 0.1
        middle = light[:, (X > -20) & (X < 100)].sum()
        assert middle > 0.3 * 0.1 * HOST
