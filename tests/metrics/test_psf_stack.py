"""Stacks of sources whose shape is known in closed form."""

import numpy as np
import pytest

from xmm_jax.instrument.camera import PN, from_native
from xmm_jax.metrics.psf_stack import isolated, shape, stack

FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in sigmas


def image(x, y, radial, tangential, upscale=2):
    """Gaussians of unit sum with sigmas [arcsec] along and across the way to the axis."""
    size = 4.0 / upscale
    rows, columns = np.indices((upscale * 411, upscale * 403), float)
    total = np.full(rows.shape, 1e-6)
    for one_x, one_y in zip(x, y, strict=True):
        dx = (columns - from_native(one_x, upscale)) * size
        dy = (rows - from_native(one_y, upscale)) * size
        turn = np.arctan2(one_y - PN.axis[1], one_x - PN.axis[0])
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        profile = np.exp(-0.5 * ((u / radial) ** 2 + (v / tangential) ** 2))
        total += profile * size**2 / (2 * np.pi * radial * tangential)
    return total


X, Y = np.array([150.3, 300.8, 243.2, 90.0]), np.array([223.4, 330.1, 80.7, 90.4])


def test_round_gaussians():
    found = shape(stack(image(X, Y, 3.0, 3.0), X, Y, upscale=2), 2.0)
    assert found["fwhm"] == pytest.approx(3.0 * FWHM, rel=0.02)
    assert found["hew"] == pytest.approx(3.0 * FWHM, rel=0.02)  # the same for a Gaussian
    assert found["ellipticity"] == pytest.approx(0.0, abs=0.01)


def test_arcs_about_the_axis_do_not_average_out():
    total = stack(image(X, Y, 3.0, 4.5), X, Y, upscale=2)
    found = shape(total, 2.0)
    assert found["ellipticity"] == pytest.approx(1 - 3.0 / 4.5, abs=0.01)
    assert found["fwhm"] == pytest.approx(np.sqrt(3.0 * 4.5) * FWHM, rel=0.02)
    assert total.sum() == pytest.approx(4.0, rel=0.01)
    assert shape(2.5 * total, 2.0) == pytest.approx(found, abs=1e-3)


def test_moffat_profile():
    # Half width 2.5 arcsec, slope 1.6: the profile that the fit is made for.
    half = 15
    v, u = np.mgrid[-half : half + 1, -half : half + 1] * 2.0
    core = 2.5 / np.sqrt(2 ** (1 / 1.6) - 1)
    found = shape((1 + (u**2 + v**2) / core**2) ** -1.6, 2.0)
    assert found["fwhm"] == pytest.approx(5.0, rel=1e-3)


def test_no_source_no_shape():
    assert np.isnan(shape(stack(np.zeros((822, 806)), X[:0], Y[:0], upscale=2), 2.0)["hew"])


def test_which_sources_stand_alone():
    true = {"x": np.array([50.0, 55.0, 150.0, 153.0, 250.0, 350.0, 351.0])}
    true["y"] = np.array([50.0, 50.0, 150.0, 150.0, 250.0, 350.0, 350.0])
    true["counts"] = np.array([500.0, 40.0, 500.0, 60.0, 90.0, 700.0, 9.0])
    live = np.ones((411, 403), bool)
    live[350, 353] = False  # 12 arcsec from the sixth
    assert list(np.flatnonzero(isolated(true, live))) == [0]
    live[350, 353], live[350, 354] = True, False
    assert list(np.flatnonzero(isolated(true, live))) == [0, 5]
    assert not len(isolated({name: column[:0] for name, column in true.items()}, live))
