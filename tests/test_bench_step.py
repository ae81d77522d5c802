"""The networks beside ours in the benchmark compute what ours does; everybody gets their turn."""

import importlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.losses import combine
from xmm_jax.models import apply
from xmm_jax.models.published import read_published
from xmm_jax.models.rrdb import RRDB

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture(params=["sr", "dn"])
def published(request, shared):
    path = shared / "golden" / f"published_{request.param}.npz"
    settings, params = read_published(path.with_suffix(".ckpt"))
    file = np.load(path)
    return RRDB(**settings), params, file["input"], file["output"]


@pytest.mark.reference
def test_pytorch_runs_the_same_network(script, published):
    torch = pytest.importorskip("torch")
    network, params, inputs, outputs = published
    other = script("torch_rrdb").from_params(params)
    with torch.inference_mode():
        np.testing.assert_allclose(other(torch.tensor(inputs)), outputs, atol=1e-6)
        here = apply(network, params, jnp.asarray(inputs.transpose(0, 2, 3, 1)))
        there = other(torch.tensor(inputs)).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(there, here, atol=1e-5)


def test_pytorch_has_the_same_loss_and_gradient(script):
    torch = pytest.importorskip("torch")
    other = script("torch_rrdb")
    rng = np.random.default_rng(0)
    target = rng.random((2, 209, 224, 1)).astype(np.float32)  # an odd side
    prediction = np.clip(target + 0.1 * rng.standard_normal(target.shape), 0, 1).astype(np.float32)
    ours = combine({"psnr": 1.0, "ms_ssim": 2.0}, stretch="sqrt")
    value, gradient = jax.value_and_grad(lambda p: ours(p, jnp.asarray(target)).mean())(prediction)
    leaf = other.to_torch(prediction).requires_grad_()
    loss = other.combined(ours.slopes, ours.offset)(leaf, other.to_torch(target))
    (slope,) = torch.autograd.grad(loss, leaf)
    assert float(loss.detach()) == pytest.approx(float(value), rel=1e-5)
    slope = slope.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(slope, gradient, atol=1e-4 * np.abs(slope).max())


def test_the_floor_is_that_of_the_published_network(script):
    # Counted on the published PyTorch classes: GFLOP of a forward pass over 416 x 416 pixels.
    for upscale, in_channels, gflop in ((2, 2, 603.5), (2, 1, 603.4), (1, 2, 577.7), (1, 1, 577.5)):
        network = RRDB(32, 4, upscale, in_channels)
        inputs = jax.ShapeDtypeStruct((1, 8, 8, in_channels), jnp.float32)
        params = jax.eval_shape(network.init, jax.random.key(0), inputs)["params"]
        found = script("bench_step").forward_flops(params, upscale, 416**2)
        assert found / 1e9 == pytest.approx(gflop, abs=0.06)


def test_everybody_goes_first_in_turn(script, monkeypatch):
    alternate = script("alternate")
    monkeypatch.setattr(alternate, "PAUSE_S", 0.0)
    monkeypatch.setattr(alternate, "TURN_S", 0.0)
    order = []
    runners = [
        alternate.Runner(name, lambda name=name: order.append(name), lambda out: out)
        for name in "abc"
    ]
    rows = alternate.alternate(runners, 3, calls=2)
    assert "".join(order[-18:]) == "aabbcc" + "bbccaa" + "ccaabb"
    assert [len(row["turns_ms"]) for row in rows.values()] == [3, 3, 3]


def test_ratios_are_taken_within_a_round(script):
    rows = {"ours": {"turns_ms": [1.0, 10.0, 3.0]}, "other": {"turns_ms": [2.0, 20.0, 12.0]}}
    assert script("alternate").ratios(rows, "ours") == {"other": 0.5}


@pytest.mark.slow
def test_all_parts_run(script, tmp_path):
    flags = {"sizes": "tiny", "crops": 24, "loss": "l1", "rounds": 1, "torch": "eager"}
    flags = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    script("bench_step").main([*flags, "--out", str(tmp_path)])
    (path,) = tmp_path.glob("step-*.json")
    (case,) = json.loads(path.read_text())["cases"]
    for part in ("forward", "step", "loss"):
        for row in case[part]["rows"].values():
            assert row["ms"] > 0
            assert row["off_by"] < 1e-4
