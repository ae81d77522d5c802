"""Names and layouts of the published checkpoints, and what is not one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.models.published import from_state_dict, read_published, to_state_dict
from xmm_jax.models.rrdb import RRDB


def _shapes(filters, blocks, in_channels, upscale):
    """Names and shapes of a published checkpoint, written down from its layers."""
    n = filters
    shapes = {"conv_first": (n, in_channels)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for i in (1, 2, 3, 4, 5):
                shapes[f"RRDB_trunk.{block}.RDB{dense}.conv{i}"] = (n, i * n)
    shapes["trunk_conv"] = (n, n)
    if upscale == 2:
        shapes["upsampling.0"], shapes["HRconv"] = (4 * n, n), (n, n)
    shapes["conv_last"] = (1, n)
    return shapes


def _state(filters=3, blocks=2, in_channels=2, upscale=2, prefix="generator."):
    rng = np.random.default_rng(0)
    state = {}
    for name, (out, channels) in _shapes(filters, blocks, in_channels, upscale).items():
        state[f"{prefix}{name}.weight"] = rng.random((out, channels, 3, 3)).astype(np.float32)
        state[f"{prefix}{name}.bias"] = rng.random(out).astype(np.float32)
    return state


@pytest.mark.parametrize(
    ("filters", "blocks", "in_channels", "upscale"), [(3, 2, 2, 2), (5, 1, 1, 1), (2, 12, 1, 2)]
)
def test_architecture_is_inferred_and_weights_come_back(filters, blocks, in_channels, upscale):
    state = _state(filters, blocks, in_channels, upscale)
    settings, params = from_state_dict(state)
    assert settings == {
        "upscale": upscale,
        "in_channels": in_channels,
        "filters": filters,
        "blocks": blocks,
    }
    inputs = jax.ShapeDtypeStruct((1, 8, 8, in_channels), jnp.float32)
    wanted = jax.eval_shape(RRDB(**settings).init, jax.random.key(0), inputs)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, wanted)
    back = to_state_dict(params)
    assert {f"generator.{name}" for name in back} == state.keys()
    for name, array in back.items():
        np.testing.assert_array_equal(array, state[f"generator.{name}"])


def test_axes_are_output_input_row_column():
    state = _state()
    kernel = state["generator.RRDB_trunk.1.RDB3.conv4.weight"]
    _, params = from_state_dict(state)
    here = params["RRDB_trunk"]["RDB3"]["conv4"]["kernel"]
    assert here[1, 0, 2, 7, 1] == kernel[1, 7, 0, 2]


@pytest.mark.parametrize("prefix", ["", "model.", "module.generator."])
def test_any_prefix_will_do_and_other_networks_are_passed_over(prefix):
    state = _state(prefix=prefix)
    if prefix:
        state["discriminator.conv.weight"] = np.zeros((1, 1, 3, 3))
    assert from_state_dict(state)[0]["filters"] == 3


def test_half_precision_becomes_float32():
    _, params = from_state_dict({name: a.astype(np.float16) for name, a in _state().items()})
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def _without(state):
    del state["generator.HRconv.bias"]


def _with_more(state):
    state["generator.upsampling.3.weight"] = np.zeros((12, 3, 3, 3))


def _misshapen(state):
    state["generator.RRDB_trunk.0.RDB1.conv2.weight"] = np.zeros((3, 9, 3, 3))


def _with_nan(state):
    state["generator.conv_last.bias"] = np.float32([np.nan])


def _without_first(state):
    del state["generator.conv_first.weight"]


def _flat_first(state):
    state["generator.conv_first.weight"] = np.zeros((3, 2))


def _with_gap(state):
    for name in [name for name in state if ".RRDB_trunk.0." in name]:
        del state[name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without, r"generator\.HRconv\.bias is missing"),
        (_with_more, r"upsampling\.3\.weight is not part of a published network"),
        (_misshapen, r"conv2\.weight is \(3, 9, 3, 3\), expected \(3, 6, 3, 3\)"),
        (_with_nan, r"conv_last\.bias has values that are not finite"),
        (_without_first, "not a published network"),
        (_flat_first, "not a convolution"),
        (_with_gap, r"RRDB_trunk\.0\.RDB1\.conv1\.bias is missing"),
    ],
)
def test_other_networks_are_refused(damage, message):
    state = _state()
    damage(state)
    with pytest.raises(InputError, match=message):
        from_state_dict(state)


@pytest.mark.parametrize("name", ["weights.npz", "weights.h5", "weights"])
def test_other_files_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"published weights are \.ckpt or \.onnx"):
        read_published(tmp_path / name)


@pytest.mark.parametrize("name", ["none.ckpt", "none.onnx"])
def test_missing_files_are_named(tmp_path, name):
    if name.endswith("onnx"):
        pytest.importorskip("onnx")
    with pytest.raises(InputError, match=rf"{name}: .*No such file"):
        read_published(tmp_path / name)
