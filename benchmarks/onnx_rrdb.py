"""The network in onnxruntime, to time it."""

import numpy as np
import onnxruntime
from alternate import Runner

from xmm_jax.onnx_graph import to_onnx


def runner(case, cores):
    """onnxruntime on the CPU, all cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    session = onnxruntime.InferenceSession(
        to_onnx(case.network, case.params).SerializeToString(), options, ["CPUExecutionProvider"]
    )
    inputs = {"inputs": np.asarray(case.inputs)}
    return Runner("onnxruntime", lambda: session.run(None, inputs)[0], lambda out: out)
