"""Who runs the network: JAX or, on a CPU, onnxruntime, which is faster there.

1.8 and 1.9 times on two cores (benchmarks/bench_enhance.py); both give the same answer to 1e-5.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.model import Model
from xmm_jax.models.rrdb import RRDB
from xmm_jax.onnx_graph import to_onnx
from xmm_jax.step import Batch, respond_with

BackendName = Literal["auto", "jax", "onnxruntime"]
Respond = Callable[[Batch], Any]


def responder(model: Model, backend: BackendName = "auto") -> Respond:
    """What gives the answers of a model.

    Parameters
    ----------
    model : Model
        The model.
    backend : str
        ``jax``, ``onnxruntime``, or ``auto``: onnxruntime where JAX has nothing but a CPU, the
        packages of the extra `onnx` are there and the network has an ONNX graph; else JAX.

    Returns
    -------
    callable
        From images to network units, as `xmm_jax.model.Model.respond`.

    Raises
    ------
    InputError
        If onnxruntime is asked for and is not there, or knows no graph for the network.
    """
    if backend == "jax" or (backend == "auto" and not _suits(model)):
        return model.respond
    try:
        import onnxruntime
    except ImportError:
        raise InputError("--backend=onnxruntime needs: pip install 'xmm-jax[onnx]'") from None
    graph = to_onnx(model.network, model.params).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def answer(inputs: jax.Array) -> jax.Array:
        (said,) = session.run(None, {"inputs": np.asarray(inputs)})
        return jnp.asarray(said)

    return lambda batch: respond_with(answer, model.scale, batch, symmetric=model.symmetric)


def _suits(model: Model) -> bool:
    """Whether onnxruntime may and can do the work of JAX."""
    if jax.default_backend() != "cpu" or not isinstance(model.network, RRDB):
        return False
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True
