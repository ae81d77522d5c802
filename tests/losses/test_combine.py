"""Sums of losses, and the gradient of every loss against finite differences in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.losses import BOTH_OUTPUTS, LOSSES, combine
from xmm_jax.losses.normalization import fit


def _images(seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:194, :203]
    target = 0.5 + 0.3 * np.sin(y / 11 + 1) * np.cos(x / 29)
    prediction = np.clip(target + 0.15 * rng.standard_normal((2, *target.shape)), 0.05, 0.95)
    targets = np.clip(target + 0.05 * rng.standard_normal(prediction.shape), 0.06, 0.94)
    return prediction[..., None], targets[..., None]


PREDICTION, TARGET = _images()


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - set(BOTH_OUTPUTS)))
def test_gradient_is_that_of_finite_differences(name):
    direction = np.random.default_rng(1).standard_normal(PREDICTION.shape)
    step = 1e-7
    # No pixel crosses the kink of L1 within the step.
    assert np.all(np.abs(PREDICTION - TARGET) > step * np.abs(direction))
    with jax.enable_x64(True):
        loss = jax.jit(LOSSES[name])
        ends = [loss(jnp.asarray(PREDICTION + sign * step * direction), TARGET) for sign in (1, -1)]
        slope = np.asarray(ends[0] - ends[1]) / (2 * step)
    gradient = jax.jit(jax.grad(lambda p, t: LOSSES[name](p, t).sum()))(
        PREDICTION.astype(np.float32), TARGET.astype(np.float32)
    )
    assert gradient.dtype == jnp.float32
    ours = np.sum(np.asarray(gradient, np.float64) * direction, axis=(1, 2, 3))
    scale = np.sqrt(np.sum(np.square(np.asarray(gradient, np.float64)), axis=(1, 2, 3)))
    np.testing.assert_allclose(ours / scale, slope / scale, atol=1e-3)
    assert np.all(scale > 0)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_gradients_stay_finite_for_blank_and_equal_images(name):
    gradient = jax.jit(jax.grad(lambda p, t: LOSSES[name](p, t).sum()))
    zeros, ones, some = (jnp.asarray(a, jnp.float32) for a in
                         (0 * TARGET, 0 * TARGET + 1, TARGET))  # fmt: skip
    for a in (zeros, ones, some, 1 - some):
        for b in (zeros, ones, some):
            assert np.isfinite(gradient(a, b)).all()


def test_loss_of_the_paper():
    """5.433 - 0.0609 PSNR - 1.508 MS-SSIM, with rounding of the last digit given."""
    loss = combine({"psnr": 1.0, "ms_ssim": 1.0}, stretch="sqrt")
    assert loss.offset == pytest.approx(5.433, abs=5e-4)
    assert loss.slopes == {
        "psnr": pytest.approx(-0.0609, abs=5e-5),
        "ms_ssim": pytest.approx(-1.508, abs=5e-4),
    }
    prediction, target = (jnp.asarray(a, jnp.float32) for a in (PREDICTION, TARGET))
    values = loss(prediction, target)
    terms = {name: LOSSES[name](prediction, target) for name in ("psnr", "ms_ssim")}
    expected = (
        2.79661636
        + 2.63650075
        - 0.121713729 / 2 * terms["psnr"]
        - 3.01659125 / 2 * terms["ms_ssim"]
    )
    assert values.shape == (2,)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_weights_count_relative_to_their_sum():
    small, large = (combine({"l1": w, "ssim": 3 * w}, stretch="log") for w in (0.1, 10.0))
    assert small.slopes == pytest.approx(large.slopes)
    assert small.slopes["l1"] == pytest.approx(4.07166124 / 4, rel=1e-6)
    assert small.slopes["ssim"] == pytest.approx(-3.41460083 * 0.75, rel=1e-6)
    assert small.offset == pytest.approx(large.offset)


def test_normalisation_of_ones_own():
    loss = combine({"l2": 2.0}, stretch="cubic", table={"cubic": {"l2": fit(0.5, 0.1)}})
    assert (loss.slopes["l2"], loss.offset) == (pytest.approx(2.5), pytest.approx(-0.25))


@pytest.mark.parametrize(
    ("weights", "stretch", "message"),
    [
        ({"mse": 1.0}, "sqrt", "choose from l1, l2, poisson, psnr, ssim, ms_ssim"),
        ({"l2": 1.0}, "cubic", "no normalisation"),
        ({"l1": 1.0}, "cubic", "no normalisation for the stretch 'cubic'"),
        ({"l1": 0.0}, "sqrt", "positive"),
        ({"l1": float("inf")}, "sqrt", "positive"),
        ({}, "sqrt", "no loss is named"),
    ],
)
def test_wrong_sums_are_refused(weights, stretch, message):
    with pytest.raises(InputError, match=message):
        combine(weights, stretch=stretch)
