import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.modeling.models import Sersic2D
from scipy.special import gammaincinv

from xmm_jax.simulator import extended


@pytest.mark.parametrize(("index", "rel"), [(0.5, 3e-3), (1, 1e-4), (2.5, 1e-5), (4, 1e-5)])
def test_b_halves_the_light(index, rel):
    exact = gammaincinv(2 * index, 0.5)
    assert float(extended.sersic_b(jnp.float32(index))) == pytest.approx(exact, rel=rel)


def profile(radius, index, ratio, turn=0.4, part=(0.2, -0.3), half=400):
    axis = np.arange(-half, half + 1, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    light = extended.sersic(x - part[0], y - part[1], radius, index, ratio, turn)
    return x - part[0], y - part[1], np.asarray(light, float)


@pytest.mark.parametrize(("index", "ratio"), [(0.5, 1.0), (1.0, 0.5), (4.0, 0.3)])
def test_the_shape_is_that_of_astropy(index, ratio):
    x, y, light = profile(20.0, index, ratio)
    theirs = Sersic2D(1.0, r_eff=20.0, n=index, ellip=1 - ratio, theta=0.4)(x, y)
    seen = (np.hypot(x, y) > 10) & (theirs > 1e-4)
    share = light[seen] / theirs[seen]
    assert share.std() / share.mean() < 0.02


@pytest.mark.parametrize(("radius", "index", "ratio"), [(10.0, 1.0, 0.6), (8.0, 2.0, 1.0)])
def test_half_of_the_light_is_within_the_effective_radius(radius, index, ratio):
    x, y, light = profile(radius, index, ratio)
    along = np.cos(0.4) * x + np.sin(0.4) * y
    across = (np.cos(0.4) * y - np.sin(0.4) * x) / ratio
    assert light[np.hypot(along, across) < radius].sum() == pytest.approx(0.5, abs=0.015)
    assert light.sum() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("part", [(0.0, 0.0), (0.5, 0.5), (0.2, -0.3)])
@pytest.mark.parametrize(("radius", "index", "limit"), [(5.0, 4.0, 0.08), (2.0, 4.0, 0.15)])
def test_pixels_sum_to_the_flux_wherever_the_cusp_lies(part, radius, index, limit):
    # A share of 0.03 of the light of n = 4 lies beyond 80 radii or less.
    assert profile(radius, index, 1.0, part=part)[2].sum() == pytest.approx(1, abs=limit)


def test_stamps_have_flux_one_and_their_centre_and_can_be_mapped():
    numbers = [np.float32(v) for v in ([0, 0.3], [0, -0.4], [3, 6], [1, 0.8], [0.5, 1], [0.3, 2])]
    stamps = jax.vmap(lambda *row: extended.sersic_stamp(*row, half_width=40))(*numbers)
    assert stamps.shape == (2, 81, 81)
    axis = np.arange(-40, 41)
    for stamp, x, y in zip(np.asarray(stamps, float), *numbers[:2], strict=True):
        assert stamp.sum() == pytest.approx(1, abs=1e-5)
        # Light fades about the middle of the stamp, which pulls it a little.
        assert (stamp.sum(0) * axis).sum() == pytest.approx(x, abs=0.05)
        assert (stamp.sum(1) * axis).sum() == pytest.approx(y, abs=0.05)
        assert stamp[0, 0] == 0
        assert (stamp >= 0).all()


def test_clouds_are_positive_of_mean_one_with_a_power_law():
    draw = jax.jit(jax.vmap(lambda key: extended.clouds(key, 128, 3.0, 500.0, 0.5)))
    light = np.asarray(draw(jax.random.split(jax.random.key(0), 30)), float)
    assert (light > 0).all()
    assert light.mean() == pytest.approx(1, rel=0.05)
    power = np.mean(np.abs(np.fft.fft2(np.log(light))) ** 2, axis=0)
    wave = np.fft.fftfreq(128)
    wave = np.hypot(wave[:, None], wave[None, :])
    # Between the box and the smoothing, where the power falls as k^-3.
    ring = (wave > 0.02) & (wave < 0.08)
    slope = np.polyfit(np.log(wave[ring]), np.log(power[ring]), 1)[0]
    assert slope == pytest.approx(-3, abs=0.25)
