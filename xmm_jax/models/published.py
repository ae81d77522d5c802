"""Weights of the published networks (Sweere et al. 2022): PyTorch checkpoints and ONNX files.

In PyTorch a layer is ``generator.RRDB_trunk.<block>.RDB1.conv1.weight`` ordered (out, in, y, x);
here it is ``RRDB_trunk/RDB1/conv1/kernel`` ordered (block, y, x, in, out).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from xmm_jax.errors import InputError
from xmm_jax.models.onnx_weights import read_onnx
from xmm_jax.models.rrdb import RRDB
from xmm_jax.models.torch_zip import read_torch

TRUNK = "RRDB_trunk"
# Layers that PyTorch keeps in a list of their own.
LISTED = {"upsampling": "upsampling.0"}
PARTS = {"kernel": "weight", "bias": "bias"}
FIRST = "conv_first.weight"


def read_published(path: Path) -> tuple[dict[str, int], Any]:
    """Settings and weights of a published network.

    Parameters
    ----------
    path : Path
        ``.ckpt`` (PyTorch 1.6 or later, also ``.pt`` and ``.pth``) or ``.onnx``.

    Returns
    -------
    settings : dict of str to int
        ``upscale``, ``in_channels``, ``filters``, ``blocks``: fields of `RRDB`.
    params : dict
        Weights, float32.

    Raises
    ------
    InputError
        If the file is missing, damaged, needs more than tensors, or holds another network.
    """
    if path.suffix.lower() not in (".ckpt", ".pt", ".pth", ".onnx"):
        raise InputError(f"{path}: published weights are .ckpt or .onnx files; give one")
    state = read_onnx(path) if path.suffix.lower() == ".onnx" else read_checkpoint(path)
    try:
        return from_state_dict(state)
    except InputError as error:
        raise InputError(f"{path}: {error}; only the published networks are understood") from None


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a PyTorch checkpoint: its ``state_dict`` if it has one, else all of it.

    Returns
    -------
    dict of str to ndarray
        As `from_state_dict` takes them.

    Raises
    ------
    InputError
        As `read_torch`, or if there are no arrays.
    """
    content = read_torch(path)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise InputError(f"{path}: its state_dict is not a dict; give a published checkpoint")
    return {
        name: array
        for name, array in state.items()
        if isinstance(name, str) and isinstance(array, np.ndarray)
    }


def from_state_dict(state: Mapping[str, np.ndarray]) -> tuple[dict[str, int], Any]:
    """Settings and weights from arrays under the published names.

    Parameters
    ----------
    state : mapping of str to array
        For example ``generator.conv_first.weight`` [network units]; names without the prefix of
        ``conv_first`` are ignored.

    Returns
    -------
    settings : dict of str to int
        As `read_published`.
    params : dict
        Weights, float32.

    Raises
    ------
    InputError
        If an array is missing, left over, misshapen or not finite.
    """
    prefix = next((n.removesuffix(FIRST) for n in state if n.endswith(FIRST)), None)
    if prefix is None or np.size(state[prefix + FIRST]) == 0:
        raise InputError(f"not a published network: it has no weights {FIRST}")
    own = {n.removeprefix(prefix): np.asarray(a) for n, a in state.items() if n.startswith(prefix)}
    if own[FIRST].ndim != 4:
        raise InputError(f"{prefix}{FIRST} is {own[FIRST].shape}, not a convolution")
    filters, in_channels = own[FIRST].shape[:2]
    numbers = [int(m[1]) for n in own if (m := re.match(rf"{TRUNK}\.(\d{{1,3}})\.", n))]
    settings = {
        "upscale": 2 if "upsampling.0.weight" in own else 1,
        "in_channels": in_channels,
        "filters": filters,
        "blocks": 1 + max(numbers, default=0),
    }
    shapes = _shapes(settings)
    expected = {
        name: (shape[-1], shape[-2], 3, 3) if path[-1] == "kernel" else shape[-1:]
        for path, shape in shapes.items()
        for name in _names(path, settings["blocks"])
    }
    _check(own, expected, prefix)
    leaves = {}
    for path, shape in shapes.items():
        arrays = [own[name] for name in _names(path, settings["blocks"])]
        ordered = [a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for a in arrays]
        leaves[path] = jnp.asarray(np.reshape(ordered, shape), jnp.float32)
    return settings, unflatten_dict(leaves)


def to_state_dict(params: Any) -> dict[str, np.ndarray]:
    """Weights under the names and in the order of axes of the published checkpoints.

    Parameters
    ----------
    params : dict
        Weights of `RRDB`.

    Returns
    -------
    dict of str to array
        ``conv_first.weight`` ... without the prefix ``generator.``.
    """
    state = {}
    for path, leaf in flatten_dict(params).items():
        array = np.asarray(leaf)
        parts = array if path[0] == TRUNK else array[None]
        for name, part in zip(_names(path, len(parts)), parts, strict=True):
            state[name] = part.transpose(3, 2, 0, 1) if part.ndim == 4 else part
    return state


def _check(
    own: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], prefix: str
) -> None:
    for name in sorted(expected.keys() | own.keys()):
        if name not in own or name not in expected:
            problem = "is missing" if name not in own else "is not part of a published network"
            raise InputError(f"{prefix}{name} {problem}")
        if own[name].shape != expected[name]:
            raise InputError(f"{prefix}{name} is {own[name].shape}, expected {expected[name]}")
        if not np.isfinite(own[name]).all():
            raise InputError(f"{prefix}{name} has values that are not finite")


def _shapes(settings: Mapping[str, int]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Shapes of the weights of a network by path."""
    inputs = jax.ShapeDtypeStruct((1, 8, 8, settings["in_channels"]), jnp.float32)
    network: Any = RRDB(**settings, unroll=1)  # pyright: ignore[reportArgumentType]
    weights = jax.eval_shape(network.init, jax.random.key(0), inputs)["params"]
    return jax.tree.map(jnp.shape, flatten_dict(weights))


def _names(path: tuple[str, ...], blocks: int) -> list[str]:
    """Published names of one array of weights, one per block if it is in the trunk."""
    *layer, part = path
    end = ".".join([*(LISTED.get(name, name) for name in layer), PARTS[part]])
    if path[0] != TRUNK:
        return [end]
    return [f"{TRUNK}.{block}{end.removeprefix(TRUNK)}" for block in range(blocks)]
