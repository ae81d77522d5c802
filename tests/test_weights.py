"""The models that come with the package: small, complete, better than their input."""

import jax
import numpy as np
import pytest

import xmm_jax
from xmm_jax.config import SimulatedConfig
from xmm_jax.fields import draw_samples
from xmm_jax.model import shipped

TASKS = ("sr", "dn")
NAME = "sim-physical-0-200000000"  # a field that no training saw


@pytest.mark.parametrize("task", TASKS)
def test_a_model_is_small_and_complete(task):
    folder = shipped(task)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8e6
    names = ("settings.json", "weights.npz", "card.md", "intervals.json", "apertures.json")
    assert {*names} <= {file.name for file in folder.iterdir()}
    model = xmm_jax.load_model(task)
    assert model.task == task
    assert model.domain.exposure_s == (5e3, 1e5)
    assert model.symmetric
    assert model.intervals is not None
    card = (folder / "card.md").read_text()
    for name in ("this model", "bm3d", "starlet", "input"):
        assert f"| {name} |" in card


@pytest.mark.parametrize("task", [pytest.param("sr", marks=pytest.mark.slow), "dn"])
def test_it_is_better_than_its_input_and_says_by_how_much_it_may_err(task):
    """The truth lies in 68 % intervals of some 68 % of pixels."""
    config = SimulatedConfig()
    sample = next(iter(draw_samples([NAME], task=task, config=config)))
    arrays = [sample[key][..., 0] for key in ("counts", "exposure", "valid")]
    result = xmm_jax.enhance(*arrays[:2], task=task, valid=arrays[2])
    live = sample["target_valid"][..., 0]
    truth = sample["target"][..., 0][live] / sample["target_exposure"][..., 0][live]
    s = live.shape[0] // arrays[0].shape[0]
    seen = np.divide(*arrays[:2], out=np.zeros(arrays[0].shape), where=arrays[2]) / s**2
    error = np.abs(result.rate[live] - truth).mean()
    assert error < 0.3 * np.abs(seen.repeat(s, 0).repeat(s, 1)[live] - truth).mean()
    low = result.rate[live] - result.err_lo[live]
    high = result.rate[live] + result.err_hi[live]
    # One field is one draw: its errors have their background in common.
    assert 0.3 < np.mean((low <= truth) & (truth <= high)) < 0.95
    assert not result.dq[live].any()


@pytest.mark.slow
def test_a_correction_takes_the_error_bars_along():
    sample = next(iter(draw_samples([NAME], task="dn", config=SimulatedConfig())))
    arrays = {key: sample[key][..., 0] for key in ("counts", "exposure", "valid")}
    own, corrected = (
        xmm_jax.enhance(**arrays, task="dn", conserve=conserve) for conserve in (False, True)
    )
    total = arrays["counts"][arrays["valid"]].sum()
    missed = [
        abs((one.rate * arrays["exposure"]).sum() - total) / total for one in (own, corrected)
    ]
    assert missed[1] < max(missed[0], 3 / np.sqrt(total))
    live = own.rate > 0
    for name in ("err_lo", "err_hi"):
        shares = [getattr(one, name)[live] / one.rate[live] for one in (own, corrected)]
        np.testing.assert_allclose(shares[1], shares[0], rtol=1e-3)


def test_half_precision_keeps_three_digits():
    for leaf in jax.tree.leaves(xmm_jax.load_model("dn").params):
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, np.asarray(leaf, np.float16))
