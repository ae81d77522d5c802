"""The network as an ONNX graph, written node by node, to run without JAX.

``session.run(None, {"inputs": x})`` takes and gives what `xmm_jax.model.Model.apply` does: network
units, ``[b, y, x, c]`` to ``[b, s*y, s*x, outputs]``, float32, any b, y and x. Extra ``onnx``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.models.published import to_state_dict
from xmm_jax.models.rrdb import LOG_WIDTH, RESIDUAL, ROUNDING, RRDB, SLOPE, UPSAMPLING_SLOPE

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 8
Node = Callable[..., str]


def to_onnx(network: Any, params: Any) -> "onnx.ModelProto":
    """Write a network with its weights as an ONNX model.

    Parameters
    ----------
    network : RRDB
        The graph.
    params : pytree
        Its weights.

    Returns
    -------
    onnx.ModelProto
        Opset 17; checked.

    Raises
    ------
    InputError
        If the package `onnx` is missing, or the network is of another kind.
    """
    onnx, helper = _package()
    if not isinstance(network, RRDB):
        raise InputError(
            f"no ONNX graph is known for a network {type(network).__name__}; leave --onnx away"
        )
    state = to_state_dict(params)
    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {}

    def node(kind: str, *inputs: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{kind}_{len(nodes)}"], **options))
        return nodes[-1].output[0]

    def constant(value: Any, kind: type = np.float32) -> str:
        name = f"constant_{len(constants)}"
        constants[name] = np.asarray(value, kind)
        return name

    outputs = _graph(network, node, constant)
    nodes.append(helper.make_node("Identity", [outputs], ["outputs"]))
    arrays = {name: np.asarray(array, np.float32) for name, array in state.items()} | constants
    axes = {
        "inputs": ["b", "y", "x", network.in_channels],
        "outputs": ["b", "finer_y", "finer_x", network.outputs],
    }
    given, said = (
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)]
        for name, sizes in axes.items()
    )
    graph = helper.make_graph(
        nodes,
        "rrdb",
        given,
        said,
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="xmm_jax",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _package() -> tuple[Any, Any]:
    """Package onnx, which is an extra, and the part of it that makes graphs."""
    try:
        import onnx
        from onnx import helper
    except ImportError:
        raise InputError("ONNX files need: pip install 'xmm-jax[onnx]'") from None
    return onnx, helper


def _graph(network: RRDB, node: Node, constant: Callable[..., str]) -> str:
    """Nodes from ``inputs`` to the answer, whose name is returned."""
    step, upscale = network.unshuffle, network.upscale
    given = node("Transpose", "inputs", perm=[0, 3, 1, 2])
    size = node("Slice", node("Shape", given), constant([2], np.int64), constant([4], np.int64))
    x = given
    if step > 1:
        room = node("Mod", node("Neg", size), constant(step, np.int64))
        zeros = constant([0, 0], np.int64)
        pads = node("Concat", constant([0] * 4, np.int64), zeros, room, axis=0)
        x = node("SpaceToDepth", node("Pad", x, pads), blocksize=step)
    first = _conv(node, "conv_first", x)
    y = first
    for block in range(network.blocks):
        inner = y
        for k in (1, 2, 3):
            inner = _dense(node, constant, f"RRDB_trunk.{block}.RDB{k}", inner)
        y = _residual(node, constant, y, inner)
    y = node("Add", first, _conv(node, "trunk_conv", y))
    for name in ("upsampling.0", "upsampling2")[: upscale * step // 2]:
        y = node("LeakyRelu", _conv(node, name, y), alpha=UPSAMPLING_SLOPE)
        y = node("DepthToSpace", y, blocksize=2, mode="CRD")  # the channel order of PyTorch
    if upscale * step > 1:
        y = node("LeakyRelu", _conv(node, "HRconv", y), alpha=SLOPE)
    y = _conv(node, "conv_last", y)
    ends = node("Mul", size, constant(upscale, np.int64))
    y = node("Slice", y, constant([0, 0], np.int64), ends, constant([2, 3], np.int64))
    image = _channels(node, constant, y, 0, 1)
    if upscale == 1:
        image = node("Add", image, _channels(node, constant, given, 0, 1))
    image = _end(node, constant, image, network.end)
    if network.outputs > 1:
        width = _channels(node, constant, y, 1, network.outputs)
        image = node("Concat", image, node("Add", width, constant(LOG_WIDTH)), axis=1)
    return node("Transpose", image, perm=[0, 2, 3, 1])


def _conv(node: Node, name: str, x: str) -> str:
    return node("Conv", x, f"{name}.weight", f"{name}.bias", pads=[1, 1, 1, 1])


def _dense(node: Node, constant: Callable[..., str], name: str, x: str) -> str:
    seen = [x]
    for k in range(1, 5):
        joined = node("Concat", *seen, axis=1) if k > 1 else x
        seen.append(node("LeakyRelu", _conv(node, f"{name}.conv{k}", joined), alpha=SLOPE))
    last = _conv(node, f"{name}.conv5", node("Concat", *seen, axis=1))
    return _residual(node, constant, x, last)


def _residual(node: Node, constant: Callable[..., str], x: str, y: str) -> str:
    return node("Add", x, node("Mul", y, constant(RESIDUAL)))


def _channels(node: Node, constant: Callable[..., str], x: str, low: int, high: int) -> str:
    edges = (constant([edge], np.int64) for edge in (low, high, 1))
    return node("Slice", x, *edges)


def _end(node: Node, constant: Callable[..., str], image: str, end: str) -> str:
    """Counterpart of `xmm_jax.models.rrdb.ENDS`."""
    if end == "clamp":
        return node("Clip", image, constant(0.0), constant(1.0))
    root = node("Sqrt", node("Add", node("Mul", image, image), constant(4 * ROUNDING**2)))
    return node("Mul", node("Add", image, root), constant(0.5))
