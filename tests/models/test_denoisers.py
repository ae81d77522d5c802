"""Denoisers on a known field, and what happens where their libraries are absent."""

import sys

import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.models import denoisers

Y, X = np.mgrid[:64, :72]
TRUTH = (3.0 + 40.0 * np.exp(-0.5 * ((X - 40.0) ** 2 + (Y - 25.0) ** 2) / 6.0**2)) / 2e4
EXPOSURE = np.full(Y.shape, 2e4)
VALID = (X % 30 != 7) & (Y > 3)
COUNTS = np.random.default_rng(11).poisson(TRUTH * EXPOSURE)
CASES = {
    "wiener": (denoisers.wiener, {"size": 5}, None),
    "tv": (denoisers.total_variation, {"weight": 1.0}, "skimage.restoration"),
    "nlm": (denoisers.non_local_means, {"strength": 0.8}, "skimage.restoration"),
    "bm3d": (denoisers.bm3d, {"sigma": 1.0}, "bm3d"),
}


@pytest.mark.parametrize("name", CASES)
def test_takes_most_of_the_noise_and_no_light(name):
    method, options, module = CASES[name]
    if module:
        pytest.importorskip(module)
    rate = method(COUNTS, EXPOSURE, VALID, upscale=1, **options)
    noise = np.mean((COUNTS / EXPOSURE - TRUTH)[VALID] ** 2)
    assert np.mean((rate - TRUTH)[VALID] ** 2) < 0.25 * noise
    blank = VALID & (np.hypot(X - 40, Y - 25) > 25)
    assert rate[blank].mean() == pytest.approx(TRUTH[blank].mean(), rel=0.05)
    assert rate[VALID].sum() == pytest.approx((COUNTS / EXPOSURE)[VALID].sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["tv", "nlm", "bm3d"])
def test_absent_library_names_its_extra(monkeypatch, name):
    method, options, module = CASES[name]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"xmm-jax\[{denoisers.EXTRAS[module]}\]"):
        method(COUNTS, EXPOSURE, VALID, upscale=1, **options)
