import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, ndimage
from scipy.special import jv

from xmm_jax.simulator import hstpsf

ARCSEC = np.pi / 180 / 3600


def annular_airy(v):
    """Intensity over its peak of an annulus whose hole is 0.33, v = pi D theta / lambda."""
    v = np.maximum(v, 1e-9)
    hole = 0.33
    wave = 2 * jv(1, v) / v - hole**2 * 2 * jv(1, hole * v) / (hole * v)
    return (wave / (1 - hole**2)) ** 2


def distance(side, step):
    index = (np.arange(side) - side // 2) * step
    return np.hypot(index[:, None], index[None, :])


@pytest.fixture(scope="module")
def bare():
    return hstpsf.diffraction(588.7, 0.01, 161, vanes=False)


def test_diffraction_without_vanes_is_the_annular_airy_pattern(bare):
    v = np.pi * 2.4 * distance(161, 0.01) * ARCSEC / 588.7e-9
    np.testing.assert_allclose(bare / bare.max(), annular_airy(v), atol=2e-3)


@pytest.mark.parametrize("radius", [0.1, 0.2, 0.4, 0.7])
def test_encircled_energy_is_the_integral_of_the_annular_airy_pattern(bare, radius):
    edge = np.pi * 2.4 * radius * ARCSEC / 588.7e-9
    # Parseval: over the plane the integral of v I(v) is 2 / (1 - hole^2).
    inside = integrate.quad(lambda v: v * annular_airy(v), 0, edge, limit=200)[0]
    share = inside * (1 - 0.33**2) / 2
    assert bare[distance(161, 0.01) <= radius].sum() == pytest.approx(share, abs=0.006)


def test_all_light_of_the_aperture_arrives():
    assert hstpsf.diffraction(530.8, 0.02, 801).sum() == pytest.approx(1, abs=3e-3)


@pytest.mark.parametrize(("vanes", "low", "high"), [(True, 3.0, 5.0), (False, 0.9, 1.1)])
def test_vanes_make_four_spikes_on_the_diagonals(vanes, low, high):
    ring = np.abs(distance(241, 0.01) - 1.0) < 0.15
    y, x = np.indices((241, 241)) - 120
    turn = np.degrees(np.arctan2(y, x)) % 90
    light = hstpsf.diffraction(588.7, 0.01, 241, vanes=vanes)
    diagonal, straight = ring & (np.abs(turn - 45) < 3), ring & (np.abs(turn - 45) > 25)
    assert low < light[diagonal].mean() / light[straight].mean() < high


@pytest.mark.parametrize("band", [0, 1])
def test_a_stamp_is_as_wide_and_as_concentrated_as_wfc3(band):
    fine = hstpsf.stamp(band, oversample=2).astype(float)
    middle = fine.shape[0] // 2
    profile = fine[middle, middle : middle + 6]
    width = 2 * np.interp(-0.5, -profile / profile[0], np.arange(6) * 0.02)
    assert 0.070 < width < 0.082  # [arcsec]
    share = fine[distance(fine.shape[0], 0.02) <= 0.2].sum() / 4
    assert 0.80 < share < 0.88
    assert fine[distance(fine.shape[0], 0.02) <= 1.0].sum() / 4 > 0.95


def test_stamps_sum_to_one_and_are_their_own_half_turn():
    for band in range(2):
        native, fine = hstpsf.stamp(band), hstpsf.stamp(band, oversample=2)
        assert native.shape == (129, 129)
        assert native.dtype == np.float32
        assert native.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(native, native[::-1, ::-1], atol=1e-8)
        np.testing.assert_allclose(fine[::2, ::2], native, rtol=1e-3, atol=1e-7)
        assert hstpsf.stamp(band, half_width=20).sum() == pytest.approx(1, abs=1e-5)
        with pytest.raises(ValueError, match="read-only"):
            native[0, 0] = 1
    assert hstpsf.stamp(0).max() > hstpsf.stamp(1).max()  # shorter waves, sharper image


draw = jax.jit(hstpsf.image_of)
DARK = np.zeros((400, 400), np.float32)


def one(x, y, flux=1.0, band=0):
    stars = (np.float32([value]) for value in (x, y, flux))
    return np.asarray(draw(*stars, DARK, band), float)


@pytest.mark.parametrize("part", [(0, 0), (0.5, 0.5), (0.3, -0.2), (-0.45, 0.1), (0.25, 0.49)])
def test_a_star_lands_where_it_belongs_with_all_its_light(part):
    image = one(100 + part[0], 97 + part[1], 7.0)
    y, x = np.indices(image.shape)
    total = image.sum()
    assert total == pytest.approx(7, rel=2e-4)
    assert (image * x).sum() / total - 100 == pytest.approx(part[0], abs=0.01)
    assert (image * y).sum() / total - 97 == pytest.approx(part[1], abs=0.01)


@pytest.mark.parametrize("band", [0, 1])
def test_a_star_between_pixels_is_the_stamp_between_its_samples(band):
    np.testing.assert_allclose(
        one(100, 100, band=band)[36:165, 36:165], hstpsf.stamp(band), atol=4e-4
    )
    half_way = hstpsf.stamp(band, oversample=2)[1::2, 1::2]  # the spline leaves 0.2 % of the peak
    np.testing.assert_allclose(one(99.5, 99.5, band=band)[36:164, 36:164], half_way, atol=4e-4)


def test_a_star_anywhere_is_the_stamp_shifted_by_its_phase():
    fine = np.pad(hstpsf.stamp(0, oversample=2).astype(float), 20)
    wave = ndimage.fourier_shift(np.fft.fft2(fine), (2 * 0.31, -2 * 0.17))
    shifted = np.fft.ifft2(wave).real[20:-20, 20:-20][::2, ::2]
    # A thousandth of the peak.
    np.testing.assert_allclose(one(99.83, 100.31)[36:165, 36:165], shifted, atol=1.5e-4)


def test_extended_light_goes_through_the_same_optics_as_stars():
    light = DARK.copy()
    light[2 * 90, 2 * 110 + 1] = 3.0
    nothing = jnp.zeros((1,))
    image = draw(nothing, nothing, nothing, light, 1)
    np.testing.assert_allclose(image, one(110.5, 90, 3.0, band=1), atol=1e-3)
