"""Validation figures: means over images whatever the batches, the input row by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.losses import combine
from xmm_jax.models.stretch import Scale, to_target
from xmm_jax.validation import figures, mean_over, table

SCALE = Scale("sqrt", 0.0022336, 0.0005584, 2, 2)


def batch(count=3, side=20):
    rng = np.random.default_rng(1)
    fine = (count, 2 * side, 2 * side, 1)
    valid = np.ones((count, side, side, 1), bool)
    valid[:, :, 4] = False
    return {
        "counts": rng.poisson(5.0, valid.shape).astype(np.int32),
        "exposure": np.where(valid, np.float32(2e4), np.float32(0)),
        "valid": valid,
        "target": rng.uniform(0, 20, fine).astype(np.float32),
        "target_exposure": np.full(fine, 1e5, np.float32),
        "target_valid": valid.repeat(2, 1).repeat(2, 2),
    }


def test_the_input_row_is_the_input_repeated_and_shared_out():
    given = batch()
    loss = combine({"l1": 1.0}, stretch="sqrt")
    result = figures(jnp.zeros_like(given["target"]), given, scale=SCALE, loss=loss)
    rate = given["counts"] / 2e4 * given["valid"]
    shown = np.clip(rate.repeat(2, 1).repeat(2, 2) / 4 / 0.0005584, 0, 1)
    truth = np.clip(given["target"] / 1e5 * given["target_valid"] / 0.0005584, 0, 1)
    expected = np.abs(shown - truth).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(result["input/L1"], expected, rtol=1e-5)
    np.testing.assert_allclose(result["prediction/L1"], truth.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert "input/MS_SSIM" not in result


def test_a_perfect_prediction_scores_perfectly():
    given = batch()
    truth = to_target(
        SCALE, *(given[name] for name in ("target", "target_exposure", "target_valid", "exposure"))
    )
    loss = combine({"l1": 1.0}, stretch="sqrt")
    result = figures(truth, given, scale=SCALE, loss=loss)
    np.testing.assert_allclose(result["prediction/PSNR"], 80.0, atol=0.1)
    np.testing.assert_allclose(result["prediction/SSIM"], 1.0, atol=1e-4)
    np.testing.assert_allclose(result["loss"], loss.offset, atol=1e-6)


def test_means_weigh_images_not_batches():
    sums = [{"loss": 6.0, "weight": 3.0}, {"loss": 4.0, "weight": 1.0}]
    assert mean_over(lambda part: part, sums) == {"loss": pytest.approx(2.5)}


def test_the_table_shows_both_rows_and_gaps():
    means = {f"{row}/PSNR": value for row, value in (("input", 31.25), ("prediction", 33.5))}
    text = table(40, means | {"loss": 0.5})
    lines = text.splitlines()
    assert lines[0].startswith("step 40: validation loss 0.5000")
    assert lines[1].split()[:2] == ["input", "31.25"]
    assert lines[2].split()[:2] == ["prediction", "33.5"]
    assert "nan" in lines[1]
