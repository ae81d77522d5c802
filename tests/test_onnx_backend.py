"""Another runtime gives the same image."""

import dataclasses
import sys

import numpy as np
import pytest

from xmm_jax import load_model
from xmm_jax.enhancement import enhance
from xmm_jax.errors import InputError
from xmm_jax.onnx_backend import find_backend

COUNTS = np.random.default_rng(0).poisson(0.7, (67, 58))


@pytest.mark.parametrize("task", ["sr", "dn"])
def test_equal_images(task):
    pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = load_model(task)
    one, other = (
        enhance(COUNTS, 2e4, model=model, backend=backend) for backend in ("jax", "onnxruntime")
    )
    for name in ("rate", "err_lo", "err_hi"):
        first, second = (getattr(result, name) for result in (one, other))
        np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5 * first.max())


def test_auto_goes_without(monkeypatch):
    model = load_model("dn")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert find_backend(model).respond == model.respond
    with pytest.raises(InputError, match=r"pip install 'xmm-jax\[onnx\]'"):
        find_backend(model, "onnxruntime")


def test_auto_leaves_other_networks_to_jax():
    model = dataclasses.replace(load_model("dn"), network=object())
    assert find_backend(model).respond == model.respond
