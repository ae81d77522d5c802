"""Who runs the network: JAX or, on a CPU, onnxruntime, which is faster there.

1.8 and 1.9 times on two cores (benchmarks/bench_enhance.py); both give the same answer to 1e-5.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.model import Model
from xmm_jax.models.rrdb import RRDB
from xmm_jax.onnx_graph import to_onnx
from xmm_jax.step import Batch, respond_with

BackendName = Literal["auto", "jax", "onnxruntime"]
# Memory of onnxruntime over that of XLA for the same network and image: 1.8 (sr) and 1.6 (dn) for
# one call, half as much again for what it keeps between calls. Its memory pattern would take a
# third more and no less time.
ONNX_MEMORY = 2.7


class Backend(NamedTuple):
    """Who runs a network.

    Attributes
    ----------
    respond : callable
        From images to network units, as `xmm_jax.model.Model.respond`.
    memory : float
        What it takes over what ``bytes_per_pixel`` of the network says.
    """

    respond: Callable[[Batch], Any]
    memory: float = 1.0


def find_backend(model: Model, backend: BackendName = "auto") -> Backend:
    """Who gives the answers of a model.

    Parameters
    ----------
    model : Model
        The model.
    backend : str
        ``jax``, ``onnxruntime``, or ``auto``: onnxruntime where JAX has nothing but a CPU, the
        packages of the extra `onnx` are there and the network has an ONNX graph; else JAX.

    Returns
    -------
    Backend

    Raises
    ------
    InputError
        If onnxruntime is asked for and is not there, or knows no graph for the network.
    """
    if backend == "jax" or (backend == "auto" and not _suits(model)):
        return Backend(model.respond)
    try:
        import onnxruntime
    except ImportError:
        raise InputError("--backend=onnxruntime needs: pip install 'xmm-jax[onnx]'") from None
    graph = to_onnx(model.network, model.params).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def answer(inputs: jax.Array) -> jax.Array:
        (said,) = session.run(None, {"inputs": np.asarray(inputs)})
        return jnp.asarray(said)

    respond = functools.partial(respond_with, answer, model.scale, symmetric=model.symmetric)
    return Backend(respond, ONNX_MEMORY)


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
