"""Photometry against closed forms and against the rates that were planted."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.instrument import psf
from xmm_jax.instrument.camera import PN, from_native
from xmm_jax.metrics import photometry
from xmm_jax.metrics.photometry import bias_and_scatter, measure, signal_to_noise

X = np.array([243.3, 120.4, 330.0])
Y = np.array([225.1, 300.2, 90.6])
RATE = np.array([0.01, 0.02, 0.005])


def points(upscale):
    """Point sources as the simulator draws them, on a dark frame."""
    stamp, column, row = psf.stamps(
        PN, jnp.asarray(X), jnp.asarray(Y), upscale, half_width=31, core_scale=0.9
    )
    image = jnp.zeros((upscale * 411, upscale * 403))
    return np.asarray(psf.add_stamps(image, stamp * RATE[:, None, None], column, row))


def test_encircled_energy_on_axis_is_that_of_a_king_profile():
    # Core 5.4 arcsec = 1.35 pixels, slope 1.58: 1 - (1 + r^2 / a^2)^(1 - slope), in a square box
    # of 63 pixels, which is worth a circle of radius 63 / sqrt(pi).
    def king(radius):
        return 1 - (1 + (radius / 1.35) ** 2) ** (1 - 1.58)

    whole = king(63 / np.sqrt(np.pi))
    for radius in (4.0, 7.5, 15.0, 22.5):
        share = photometry.encircled_energy(radius)[0]
        assert share == pytest.approx(king(radius) / whole, rel=0.03)
    assert np.all(np.diff([photometry.encircled_energy(r) for r in (2.0, 5.0, 9.0)], axis=0) > 0)


@pytest.mark.parametrize("upscale", [1, 2])
def test_planted_rates_come_back(upscale):
    image = points(upscale)
    live = np.ones(image.shape, bool)
    for flat in (0.0, 4e-6):
        found = measure(image + flat, live, X, Y, upscale=upscale)
        np.testing.assert_allclose(found["flux"], RATE, rtol=0.01)
    expected = 4e-6 + 0.002 * RATE.max() / (np.pi * (11.25**2 - 7.5**2))
    assert found["background"] == pytest.approx(4e-6, abs=10 * expected)


def test_a_wide_psf_looks_faint_unless_it_is_asked_for():
    native = points(1)
    fine = native.repeat(2, 0).repeat(2, 1) / 4
    live = np.ones(fine.shape, bool)
    narrow = measure(fine, live, X, Y, upscale=2)["flux"] / RATE
    wide = measure(fine, live, X, Y, upscale=2, psf_pixel_arcsec=4.0)["flux"] / RATE
    assert np.all(narrow < 0.85)
    np.testing.assert_allclose(wide, 1.0, atol=0.02)


def test_error_is_the_noise_of_the_background_and_dead_apertures_are_nan():
    rng = np.random.default_rng(0)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(30, 370, 30.0), np.arange(30, 370, 30)))
    image = rng.normal(5.0, 0.3, (400, 400))
    live = np.ones(image.shape, bool)
    live[:, 100:104] = False
    image[~live] = np.nan
    found = measure(image, live, x, y, upscale=1)
    dead = np.abs(x - 101.5) < 3.75
    gone = np.isnan(found["flux"])
    assert gone[dead].all()
    assert not gone[np.abs(x - 101.5) > 7].any()
    good = ~gone
    # 3.75 pixels of radius, corrected as a point source; the ring adds a few per cent.
    share = photometry.encircled_energy(3.75)[0]
    assert found["error"][good].mean() == pytest.approx(
        0.3 * np.sqrt(np.pi) * 3.75 / share, rel=0.1
    )
    assert found["flux"][good].std() == pytest.approx(found["error"][good].mean(), rel=0.25)
    assert abs(found["flux"][good].mean()) < 4 * found["error"].max() / np.sqrt(good.sum())


def test_nothing_to_measure():
    found = measure(np.zeros((9, 9)), np.ones((9, 9), bool), X[:0], X[:0], upscale=1)
    assert all(len(column) == 0 for column in found.values())


def test_bias_and_scatter_of_known_errors():
    rng = np.random.default_rng(1)
    truth = 10 ** rng.uniform(-3, -1, 4000)
    off = rng.normal(0.05, 0.1, truth.size)
    off[:200] = 5.0  # outliers, which medians do not see
    found = bias_and_scatter(np.append(truth * (1 + off), np.nan), np.append(truth, 1.0))
    assert found["bias"] == pytest.approx(0.05, abs=0.015)
    assert found["scatter"] == pytest.approx(0.1, rel=0.12)
    assert found["rfe"] == pytest.approx(np.abs(off).mean(), rel=1e-9)
    straight = bias_and_scatter(0.003 + 1.2 * truth, truth)
    assert (straight["slope"], straight["intercept"]) == pytest.approx((1.2, 0.003), rel=1e-6)
    assert np.isnan(bias_and_scatter(truth[:1], truth[:1])["bias"])


def test_signal_to_noise_of_astro_u_net():
    table = {"flux": [30.0, 8.0, np.nan], "error": [3.0, 0.0, 1.0], "background": [4.0, 2.0, 1.0]}
    table = {name: np.array(column) for name, column in table.items()}
    assert signal_to_noise(table) == pytest.approx((30 / 5 + 8 / 2) / 2)


def test_position_convention():
    image = np.zeros((822, 806))
    row, column = (int(from_native(one, 2)) for one in (100.25, 50.25))
    image[row, column] = 1.0  # its centre is at native (50.25, 100.25)
    live = np.ones(image.shape, bool)
    apart = np.array([3.74, -3.74])
    # Just inside of 15 arcsec on both sides, just outside beyond.
    flux = measure(image, live, 50.25 + apart * 0.95, np.full(2, 100.25), upscale=2)["flux"]
    np.testing.assert_allclose(flux[0], flux[1], rtol=0.01)
    assert flux[0] > 1
    outside = measure(image, live, 50.25 + apart * 1.1, np.full(2, 100.25), upscale=2)["flux"]
    np.testing.assert_allclose(outside, 0.0, atol=1e-6)


def test_without_photutils_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "photutils", None)
    with pytest.raises(InputError, match="evaluate"):
        measure(np.zeros((9, 9)), np.ones((9, 9), bool), X, Y, upscale=1)
