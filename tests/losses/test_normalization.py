"""Normalised losses: the published table, and the constants quoted for it."""

import numpy as np
import pytest

from xmm_jax.losses.normalization import TABLE, fit

# Slope and offset of each loss in the published code (utils/loss_functions.py).
PUBLISHED = {
    "linear": {
        "l1": (27.4047684, -0.574677994),
        "poisson": (6.58327847, -1.18762344),
        "psnr": (-0.11938873, 3.64911652),
        "ssim": (-2.97441999, 2.14693635),
        "ms_ssim": (-2.85143998, 2.73738238),
    },
    "sqrt": {
        "l1": (9.65623793, -0.518926226),
        "poisson": (12.2699387, -5.13742331),
        "psnr": (-0.121713729, 2.79661636),
        "ssim": (-3.0684259, 1.41791961),
        "ms_ssim": (-3.01659125, 2.63650075),
    },
    "asinh": {
        "l1": (5.65195275, -0.454247442),
        "poisson": (0.438846711, -0.229209637),
        "psnr": (-0.110424028, 2.15547703),
        "ssim": (-3.28245528, 1.20203512),
        "ms_ssim": (-1.61890886, 1.33689493),
    },
    "log": {
        "l1": (4.07166124, -0.436482085),
        "poisson": (0.398358762, -0.261602199),
        "psnr": (-0.110852455, 1.86653364),
        "ssim": (-3.41460083, 1.17667145),
        "ms_ssim": (-2.04331835, 1.63097671),
    },
}


@pytest.mark.parametrize("stretch", PUBLISHED)
def test_table_is_the_published_one(stretch):
    assert TABLE.keys() == {*PUBLISHED, "counts"}
    assert TABLE[stretch].keys() == {*PUBLISHED[stretch], "l2"}
    for name, pair in PUBLISHED[stretch].items():
        np.testing.assert_allclose(TABLE[stretch][name], pair, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("untrained", "trained"), [(0.3, 0.1), (14.0, 23.5), (-2.0, -7.0)])
def test_fit_takes_untrained_to_one_and_trained_to_zero(untrained, trained):
    slope, offset = fit(untrained, trained)
    assert slope * untrained + offset == pytest.approx(1)
    assert slope * trained + offset == pytest.approx(0)


def test_fit_needs_a_difference():
    with pytest.raises(ValueError, match="nothing to normalise by"):
        fit(0.5, 0.5)


@pytest.mark.parametrize("stretch", PUBLISHED)
def test_l2_agrees_with_the_psnr_of_the_same_row(stretch):
    """An error that PSNR calls untrained (1) or trained (0) is called the same by L2."""
    slope, offset = PUBLISHED[stretch]["psnr"]
    for normalised in (0.0, 1.0):
        mse = 10 ** (-(normalised - offset) / slope / 10)
        affine = TABLE[stretch]["l2"]
        assert affine.slope * mse + affine.offset == pytest.approx(normalised, abs=1e-4)
