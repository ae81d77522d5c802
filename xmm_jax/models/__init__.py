"""Networks by name, all in network units (`stretch`); to add one: docs/extending.md."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.core import Tracer

from xmm_jax.errors import InputError
from xmm_jax.models.rrdb import RRDB, SIZES
from xmm_jax.models.srflow import SRFlow

Network = nn.Module | SRFlow
NETWORKS: dict[str, Callable[..., Network]] = {"rrdb": RRDB, "flow": SRFlow}
# Attributes that are no settings of one network: those of all, how a scan runs, those of flax.
COMMON = ("filters", "blocks", "upscale", "in_channels", "remat", "dtype", "unroll")
FLAX = ("parent", "name")


def build(
    name: str = "rrdb",
    *,
    size: str,
    upscale: int,
    filters: int = 0,
    blocks: int = 0,
    in_channels: int = 2,
    remat: bool = False,
    dtype: Any = None,
    **own: Any,
) -> Network:
    """Network of a named size.

    Parameters
    ----------
    name : str
        Key of `NETWORKS`.
    size : str
        Key of `SIZES`.
    upscale : int
        Output pixels per input pixel along one axis.
    filters, blocks : int
        Others than those of the size; 0: those of the size.
    in_channels : int
        Channels of the input.
    remat : bool
        Recompute activations in the backward pass.
    dtype : dtype, optional
        Precision of all layers but the last.
    **own
        What only this network has, see `own_settings`.

    Raises
    ------
    InputError
        If the name or the size is unknown, or a number negative.
    """
    if name not in NETWORKS or size not in SIZES:
        raise InputError(
            f"network {name!r} of size {size!r} is unknown; networks are {', '.join(NETWORKS)}, "
            f"sizes {', '.join(SIZES)}"
        )
    if min(filters, blocks) < 0:
        raise InputError(f"filters and blocks must not be negative, got {filters} and {blocks}")
    usual = SIZES[size]
    filters, blocks = filters or usual[0], blocks or usual[1]
    return NETWORKS[name](filters, blocks, upscale, in_channels, remat, dtype, **own)


def describe(network: Network) -> dict[str, Any]:
    """What makes a network beside its units, as JSON types: its name and its settings."""
    name = next(name for name, kind in NETWORKS.items() if type(network) is kind)
    settings = ("filters", "blocks", *own_settings(name))
    return {"name": name} | {setting: getattr(network, setting) for setting in settings}


def own_settings(name: str) -> list[str]:
    """Settings that a network does not share with the others, such as ``levels`` of a flow.

    Parameters
    ----------
    name : str
        Key of `NETWORKS`.
    """
    # Flax makes a dataclass of every module.
    fields = dataclasses.fields(NETWORKS[name])  # type: ignore[arg-type]
    return [field.name for field in fields if field.name not in (*COMMON, *FLAX)]


def without_loop(network: Network) -> Network:
    """The same network with its blocks one after the other, where they would be a loop of XLA."""
    return network.clone(unroll=max(network.blocks, 2)) if isinstance(network, RRDB) else network


def init(key: jax.Array, network: Network, in_channels: int) -> Any:
    """Draw the weights of a network.

    Parameters
    ----------
    key : array
        Random key.
    network : flax module or SRFlow
        The graph.
    in_channels : int
        Channels of its input.

    Returns
    -------
    pytree
        Weights, float32.
    """
    # Where only the shapes are asked for, nothing is compiled.
    draw = network.init if isinstance(key, Tracer) else _draw(network)
    return draw(key, jnp.zeros((1, 8, 8, in_channels)))["params"]


@functools.cache
def _draw(network: Network) -> Callable[..., Any]:
    # Every shape of a draw is compiled on its own, which takes longest on a CPU; code that runs
    # once need neither be optimised nor unrolled.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    looped = network.clone(unroll=1) if isinstance(network, RRDB) else network
    return jax.jit(looped.init, compiler_options=options)


def apply(network: Network, params: Any, inputs: jax.Array) -> jax.Array:
    """Outputs with weights ``params`` for inputs: ``[b, y, x, c]`` -> ``[b, s*y, s*x, 1]``."""
    return network.apply({"params": params}, inputs)  # type: ignore[return-value]
