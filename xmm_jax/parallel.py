"""Spread a per-device step over all devices: pmap or shard_map, the same numbers from both.

A step is ``(state, batch) -> result`` and averages over the axis ``"data"`` with `jax.lax.pmean`.
The state is one unstacked pytree, the same on every device; the batch is split along axis 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xmm_jax.errors import InputError

AXIS = "data"


def make_mesh(count: int = 0) -> Mesh:
    """Devices of all processes in one row.

    Parameters
    ----------
    count : int
        How many of each process, 0 for all.

    Raises
    ------
    InputError
        If there are fewer.
    """
    devices = jax.devices()
    if count:
        if count > jax.local_device_count():
            raise InputError(
                f"--devices={count}: there are {jax.local_device_count()} "
                f"({devices[0].device_kind}); with JAX_PLATFORMS=cpu in the environment there are "
                "as many as asked"
            )
        each = [jax.local_devices(process_index=i)[:count] for i in range(jax.process_count())]
        devices = [device for part in each for device in part]
    # Auto, not the default Explicit, under which the reshape of the pixel shuffle raises.
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


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
            step,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None,
            devices=mesh.devices.tolist(),
            donate_argnums=donated,
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
    """Copy of a pytree on every device; it must be the same in every process."""
    # By way of the host: from one device to those of several processes, JAX 0.10 makes arrays whose
    # parts cannot be read.
    return jax.device_put(jax.device_get(state), NamedSharding(mesh, PartitionSpec()))


def check_split(batch_size: int, mesh: Mesh) -> None:
    """Refuse a batch size that cannot be split evenly over all devices.

    Raises
    ------
    InputError
        Naming a size that can.
    """
    if batch_size % mesh.size:
        raise InputError(
            f"a batch of {batch_size} cannot be split over {mesh.size} devices; "
            f"use a --batch_size that is a multiple of {mesh.size}"
        )


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
    local = mesh.local_mesh.size
    size = len(next(iter(batch.values())))
    check_split(size * mesh.size // local, mesh)
    if kind == "pmap":
        parts = {k: v.reshape(local, size // local, *v.shape[1:]) for k, v in batch.items()}
        # Now, not when the step is called: a batch can then travel while the step before runs.
        return jax.device_put(parts, NamedSharding(mesh.local_mesh, PartitionSpec(AXIS)))
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
