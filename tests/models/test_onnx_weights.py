"""Graphs written here with the package onnx: found by order, whatever the exporter calls them."""

import sys

import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.models.onnx_weights import read_onnx
from xmm_jax.models.published import from_state_dict


@pytest.fixture
def onnx():
    pytest.importorskip("onnx.helper")
    import onnx

    return onnx


def _write(path, onnx, arrays, *, numbered=True):
    """A chain of convolutions, which is all that is read of a graph."""
    helper, to_tensor = onnx.helper, onnx.numpy_helper.from_array
    nodes, tensors = [], []
    for i, pair in enumerate(arrays):
        names = [f"onnx::Conv_{97 * i % 1009}_{part}" for part in range(len(pair))]
        tensors += [to_tensor(a, name) for a, name in zip(pair, names, strict=True)]
        nodes.append(helper.make_node("Conv", [f"x{i}", *names], [f"y{i}"]))
        nodes.append(helper.make_node("LeakyRelu", [f"y{i}"], [f"x{i + 1}"], alpha=0.2))
    tensors.reverse()
    edge = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in ("x0", f"x{len(arrays)}")
    ]
    graph = helper.make_graph(nodes, "g", edge[:1], edge[1:], initializer=tensors)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def _arrays(filters, blocks, in_channels, upscale):
    channels = [in_channels, *[i * filters for _ in range(3 * blocks) for i in (1, 2, 3, 4, 5)]]
    channels += [filters] * (2 if upscale == 1 else 4)
    outputs = [filters] * (len(channels) - 1) + [1]
    if upscale == 2:
        outputs[-3] = 4 * filters
    rng = np.random.default_rng(1)
    return [
        (rng.random((out, into, 3, 3)).astype(np.float32), rng.random(out).astype(np.float32))
        for out, into in zip(outputs, channels, strict=True)
    ]


@pytest.mark.parametrize("upscale", [1, 2])
def test_convolutions_are_named_by_their_order(tmp_path, onnx, upscale):
    arrays = _arrays(2, 3, 1, upscale)
    settings, params = from_state_dict(read_onnx(_write(tmp_path / "a.onnx", onnx, arrays)))
    assert settings == {"upscale": upscale, "in_channels": 1, "filters": 2, "blocks": 3}
    # Convolution 1 + 15 b + 5 (d - 1) + (i - 1) is number i of dense block d of block b.
    kernel, bias = arrays[1 + 15 * 2 + 5 * 1 + 3]
    layer = params["RRDB_trunk"]["RDB2"]["conv4"]
    np.testing.assert_array_equal(layer["kernel"][2], kernel.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(layer["bias"][2], bias)
    np.testing.assert_array_equal(params["conv_last"]["bias"], arrays[-1][1])


def test_other_graphs_are_refused(tmp_path, onnx):
    arrays = _arrays(2, 1, 1, 2)
    for some, count in ((arrays[:-1], 19), (arrays[:3], 3), ([], 0)):
        with pytest.raises(InputError, match=f"{count} convolutions, not those"):
            read_onnx(_write(tmp_path / "a.onnx", onnx, some))
    without_bias = [pair[:1] for pair in arrays]
    with pytest.raises(InputError, match="20 convolutions, not those"):
        read_onnx(_write(tmp_path / "a.onnx", onnx, without_bias))


def test_weights_in_other_files_are_refused(tmp_path, onnx):
    path = _write(tmp_path / "a.onnx", onnx, _arrays(2, 1, 1, 2))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="are not in the file"):
        read_onnx(path)


def test_damaged_files_are_refused(tmp_path, onnx):
    path = _write(tmp_path / "a.onnx", onnx, _arrays(2, 1, 1, 2))
    whole = path.read_bytes()
    for raw in (whole[: len(whole) // 2], whole[:-1], b"not a graph at all", b""):
        path.write_bytes(raw)
        with pytest.raises(InputError, match=r"a\.onnx: ") as caught:
            read_onnx(path)
        assert "\n" not in str(caught.value)


def test_absence_of_the_package_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'xmm-jax\[onnx\]'"):
        read_onnx(tmp_path / "a.onnx")
