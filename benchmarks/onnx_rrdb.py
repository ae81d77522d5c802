"""The network as an ONNX graph, written node by node: to time onnxruntime.

session = onnxruntime.InferenceSession(to_onnx(params).SerializeToString())
session.run(None, {"input": ...})  # [b, c, y, x] -> [b, 1, s*y, s*x], any b, y, x
"""

import numpy as np
import onnxruntime
from alternate import Runner
from onnx import TensorProto, helper, numpy_helper

from xmm_jax.models.published import to_state_dict


def to_onnx(params):
    """ONNX model (opset 17) with the weights of an `xmm_jax.models.rrdb.RRDB`."""
    state = to_state_dict(params)
    nodes, constants = [], dict(state)

    def node(kind, *inputs, **options):
        nodes.append(helper.make_node(kind, list(inputs), [f"{kind}_{len(nodes)}"], **options))
        return nodes[-1].output[0]

    def conv(name, x):
        return node("Conv", x, f"{name}.weight", f"{name}.bias", pads=[1, 1, 1, 1])

    def residual(x, y, factor="residual"):
        return node("Add", x, node("Mul", y, factor))

    def dense(name, x):
        seen = [x]
        for i in range(1, 5):
            y = conv(f"{name}.conv{i}", node("Concat", *seen, axis=1) if i > 1 else x)
            seen.append(node("LeakyRelu", y, alpha=0.2))
        return residual(x, conv(f"{name}.conv5", node("Concat", *seen, axis=1)))

    blocks = len({name.split(".")[1] for name in state if name.startswith("RRDB_trunk")})
    first = y = conv("conv_first", "input")
    for block in range(blocks):
        inner = y
        for i in range(1, 4):
            inner = dense(f"RRDB_trunk.{block}.RDB{i}", inner)
        y = residual(y, inner)
    y = node("Add", first, conv("trunk_conv", y))
    if "HRconv.weight" in state:
        y = node("LeakyRelu", conv("upsampling.0", y), alpha=0.01)
        y = node("DepthToSpace", y, blocksize=2, mode="CRD")  # the channel order of PyTorch
        y = conv("conv_last", node("LeakyRelu", conv("HRconv", y), alpha=0.2))
    else:
        constants["image"] = np.array([0])
        y = node("Add", conv("conv_last", y), node("Gather", "input", "image", axis=1))
    nodes.append(helper.make_node("Clip", [y, "low", "high"], ["output"]))

    constants |= {"residual": np.float32(0.2), "low": np.float32(0), "high": np.float32(1)}
    graph = helper.make_graph(
        nodes,
        "rrdb",
        [_image("input", state["conv_first.weight"].shape[1])],
        [_image("output", 1)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _image(name, channels):
    shape = ["b", channels, f"{name}_y", f"{name}_x"]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def runner(case, cores):
    """onnxruntime on the CPU, all cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    session = onnxruntime.InferenceSession(
        to_onnx(case.params).SerializeToString(), options, ["CPUExecutionProvider"]
    )
    inputs = {"input": np.asarray(case.inputs).transpose(0, 3, 1, 2).copy()}
    return Runner("onnxruntime", lambda: session.run(None, inputs)[0], lambda out: out)
