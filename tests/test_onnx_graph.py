"""The ONNX graph says what JAX says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xmm_jax
from xmm_jax.errors import InputError
from xmm_jax.models import apply, build, init
from xmm_jax.models.published import read_published
from xmm_jax.models.rrdb import RRDB
from xmm_jax.onnx_graph import OPSET, to_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
SIZES = ((1, 32, 32), (2, 41, 56), (1, 67, 45))


def session(network, params):
    model = to_onnx(network, params)
    assert model.opset_import[0].version == OPSET
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize(
    "options",
    [{}, {"unshuffle": 2, "end": "positive", "outputs": 2}, {"in_channels": 1, "unshuffle": 2}],
)
def test_equal_to_jax_at_any_size(upscale, options):
    network = build(size="tiny", upscale=upscale, **options)
    params = init(jax.random.key(0), network, network.in_channels)
    run = session(network, params)
    for size in SIZES:
        inputs = np.asarray(
            jax.random.uniform(jax.random.key(1), (*size, network.in_channels), maxval=2.0)
        )
        (found,) = run.run(None, {"inputs": inputs})
        expected = np.asarray(apply(network, params, jnp.asarray(inputs)))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("task", ["sr", "dn"])
def test_shipped_models(task):
    model = xmm_jax.load_model(task)
    run = session(model.network, model.params)
    inputs = np.random.default_rng(0).gamma(1.0, 1.0, (1, 50, 61, 2)).astype(np.float32)
    (found,) = run.run(None, {"inputs": inputs})
    np.testing.assert_allclose(found, np.asarray(model.apply(jnp.asarray(inputs))), atol=1e-5)


@pytest.mark.reference
@pytest.mark.parametrize("task", ["sr", "dn"])
def test_published_networks(shared, task):
    """What the published PyTorch code says of the same inputs, [b, c, y, x]."""
    path = shared / "golden" / f"published_{task}.npz"
    settings, params = read_published(path.with_suffix(".ckpt"))
    file = np.load(path)
    run = session(RRDB(**settings), params)
    (found,) = run.run(None, {"inputs": file["input"].transpose(0, 2, 3, 1)})
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), file["output"], atol=1e-6)


def test_another_network():
    with pytest.raises(InputError, match="no ONNX graph is known"):
        to_onnx(object(), {})
