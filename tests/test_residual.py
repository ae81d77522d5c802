"""Expectation, background and residual against the Poisson law and flat fields."""

import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.instrument.background import background_shapes
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask
from xmm_jax.residual import (
    check_sizes,
    expectation,
    fit_background,
    residual_map,
    weighted_counts,
)

EXPOSURE_S = 20_000.0


def live_field():
    valid = mask(PN)
    return valid, np.where(valid, EXPOSURE_S, 0.0)


def test_levels_of_the_background_are_found_under_a_source():
    valid, exposure = live_field()
    flat, vignetted = background_shapes(PN)
    truth = np.where(valid, (6e-6 * flat + 5e-6 * vignetted) * exposure, 0.0)
    row, column = np.indices(valid.shape)
    source = np.where(valid, 4.0 * np.exp(-np.hypot(row - 220, column - 240) / 20), 0.0)
    counts = np.random.default_rng(0).poisson(truth + source)
    found = fit_background(source, counts, exposure, valid)
    # 22 thousand counts of background: some 1 % of noise, more where the source outshines it.
    assert found.sum() == pytest.approx(truth.sum(), rel=0.03)
    far = valid & (np.hypot(row - 220, column - 240) > 150)
    assert found[far].sum() == pytest.approx(truth[far].sum(), rel=0.03)
    assert not found[~valid].any()


def test_a_known_background_is_not_fitted():
    valid, exposure = live_field()
    known = np.full(valid.shape, 0.2)
    nothing = np.zeros(tuple(2 * side for side in valid.shape))
    seen = expectation(
        nothing, known.astype(int), exposure, valid, with_background=False, background=known
    )
    np.testing.assert_array_equal(seen.background, np.where(valid, 0.2, 0.0))
    np.testing.assert_array_equal(seen.counts, seen.background)


def test_noise_free_image_leaves_unit_noise():
    valid, exposure = live_field()
    row, column = np.indices(valid.shape)
    rate = 1e-5 + 2e-4 * np.exp(-np.hypot(row - 100, column - 150) / 20)
    counts = np.random.default_rng(1).poisson(np.where(valid, rate * exposure, 0.0))
    seen = expectation(rate, counts, exposure, valid, with_background=True)
    assert not seen.background.any()
    np.testing.assert_allclose(seen.counts[valid], (rate * exposure)[valid])
    for scale in (4.0, 16.0):
        sigma = residual_map(seen.counts, counts, valid, sigma_arcsec=scale)
        assert not sigma[~valid].any()
        assert sigma[valid].std() == pytest.approx(1.0, abs=0.05)
        # Few counts are skew: the median lies below the mean.
        assert sigma[valid].mean() == pytest.approx(0.0, abs=0.15)


def test_sign_and_size_of_a_known_excess():
    valid = np.ones((60, 60), bool)
    expected = np.full(valid.shape, 4.0)
    # A Gaussian of one pixel weighs as much as a disc of 12.6: 50 counts, 5 of them missing.
    flat = residual_map(expected, 0.9 * expected, valid)[30, 30]
    area = 4 * np.pi * 4.0
    assert flat == pytest.approx(-np.sqrt(2 * area * (0.1 + 0.9 * np.log(0.9))), rel=0.01)
    assert residual_map(expected, 1.1 * expected, valid)[30, 30] > 0


def test_weighted_counts_keep_mean_and_variance_of_the_poisson_law():
    rng = np.random.default_rng(2)
    valid = np.ones((40, 40), bool)
    valid[:, 20] = False
    expected = np.linspace(0.1, 3.0, 1600).reshape(40, 40)
    draws = np.array(
        [
            [one[20, 19] for one in weighted_counts(expected, drawn, valid, sigma=2.0)]
            for drawn in rng.poisson(expected, (1500, 40, 40))
        ]
    )
    seen, wanted = draws.T
    assert wanted.std() == pytest.approx(0.0, abs=1e-6)
    assert seen.mean() == pytest.approx(wanted[0], rel=0.02)
    assert seen.var() == pytest.approx(wanted[0], rel=0.12)


def test_sizes_that_do_not_fit_are_refused():
    counts = np.zeros((40, 50))
    assert check_sizes(np.zeros((40, 50)), counts) == 1
    assert check_sizes(np.zeros((80, 100)), counts) == 2
    with pytest.raises(InputError, match="1 or 2 times"):
        check_sizes(np.zeros((120, 150)), counts)
    given = counts, counts + 1.0, counts == 0
    with pytest.raises(InputError, match="whole frame"):
        expectation(np.zeros((80, 100)), *given, with_background=True)
    with pytest.raises(InputError, match="whole frame"):
        expectation(np.zeros((40, 50)), *given, with_background=False)
