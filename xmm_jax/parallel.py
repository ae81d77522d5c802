"""Spread a per-device step over all devices: pmap or shard_map, the same numbers from both.

A step is ``(state, batch) -> result`` and averages over the axis ``"data"`` with `jax.lax.pmean`.
The state is one unstacked pytree, the same on every device; the batch is split along axis 0.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xmm_jax.errors import InputError

AXIS = "data"


def make_mesh() -> Mesh:
    """All devices of all processes in one row."""
    # Auto, not the default Explicit, under which the reshape of the pixel shuffle raises.
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def spread(
    step: Callable[[Any, Any], Any],
    mesh: Mesh,
    *,
    kind: Literal["pmap", "shard_map"],
    donate: bool = False,
) -> Callable[[Any, Any], Any]:
    """Compile a per-device step for all devices.

    Parameters
    ----------
    step : callable
        ``step(state, batch)`` for the batch part of one device; must return the same on every one.
    mesh : Mesh
        From `make_mesh`.
    kind : {"pmap", "shard_map"}
        Both give bit-equal results.
    donate : bool
        Reuse the memory of the state for the result.

    Returns
    -------
    callable
        ``(state, batch)`` with the state from `place_state` and the batch from `place_batch`.
    """
    donated = (0,) if donate else ()
    if kind == "pmap":
        return jax.pmap(
            step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=donated
        )
    # check_vma=True would make the gradient of a replicated input a sum over devices, and the pmean
    # of the step would then not average it. Adam hides the factor; plain SGD does not.
    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=donated)


def place_state(state: Any, mesh: Mesh) -> Any:
    """Copy of a pytree on every device."""
    return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))


def place_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh, *, kind: Literal["pmap", "shard_map"]
) -> dict[str, Any]:
    """Hand this process's part of a batch to its devices.

    Parameters
    ----------
    batch : mapping of str to array
        Arrays ``[b, ...]``; b is a multiple of the number of local devices.
    mesh, kind
        As in `spread`.

    Raises
    ------
    InputError
        If the batch cannot be split evenly.
    """
    local = jax.local_device_count()
    size = len(next(iter(batch.values())))
    if size % local:
        raise InputError(
            f"a batch of {size} cannot be split over {local} devices; "
            f"use a --batch_size that is a multiple of {jax.device_count()}"
        )
    if kind == "pmap":
        return {k: v.reshape(local, size // local, *v.shape[1:]) for k, v in batch.items()}
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def start_processes() -> None:
    """Join the other processes of a job, where the environment says that there are any.

    SLURM and TPU pods are recognised by JAX itself; elsewhere set ``JAX_COORDINATOR_ADDRESS``,
    ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``. Call before anything touches a device.
    """
    env = os.environ
    if "JAX_COORDINATOR_ADDRESS" in env:
        jax.distributed.initialize(
            env["JAX_COORDINATOR_ADDRESS"],
            num_processes=int(env["JAX_NUM_PROCESSES"]),
            process_id=int(env["JAX_PROCESS_ID"]),
        )
    elif int(env.get("SLURM_NTASKS", "1")) > 1 or "," in env.get("TPU_WORKER_HOSTNAMES", ""):
        jax.distributed.initialize()
