"""What a training step takes, found by compiling it: ``python -m xmm_jax.train --compile_only``.

Needs no data, draws no weights and writes no files: the step is compiled for shapes alone. On a CPU
``--devices=8`` stands for eight devices, so that a batch can be planned before there is a machine.
"""

import time
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from xmm_jax.config import RunConfig
from xmm_jax.lines import LINES
from xmm_jax.parallel import check_split, make_mesh, spread


class Cost(NamedTuple):
    """What one call of a compiled program takes on each device.

    Attributes
    ----------
    arguments, outputs, temporaries : int
        Memory [byte]; outputs without what takes the place of donated arguments.
    moved : float
        Read and written, as XLA estimates [byte].
    flops : float
        As XLA counts them; of a loop one turn only, as for ``moved``.
    seconds : float
        Time to compile.
    """

    arguments: int
    outputs: int
    temporaries: int
    moved: float
    flops: float
    seconds: float


def cost(lowered: Any) -> tuple[Any, Cost]:
    """Compile a lowered program and say what it takes.

    Parameters
    ----------
    lowered : jax.stages.Lowered
        From ``jax.jit(...).lower(...)``, ``spread(...).lower(...)``.

    Returns
    -------
    jax.stages.Compiled
        To call.
    Cost
        Memory and work.
    """
    start = time.perf_counter()
    program = lowered.compile()
    seconds = time.perf_counter() - start
    memory, work = program.memory_analysis(), program.cost_analysis() or {}
    return program, Cost(
        memory.argument_size_in_bytes,
        memory.output_size_in_bytes - memory.alias_size_in_bytes,
        memory.temp_size_in_bytes,
        work.get("bytes accessed", 0.0),
        work.get("flops", 0.0),
        seconds,
    )


def compile_only(config: RunConfig) -> str:
    """Memory and work of one training step.

    Call `xmm_jax.processes.start_processes` before, which makes virtual devices on a CPU.

    Parameters
    ----------
    config : RunConfig
        All settings, of whatever task; those of devices, batch and network matter.

    Returns
    -------
    str
        Lines to print.

    Raises
    ------
    InputError
        If there are fewer devices, or the batch cannot be split over them.
    """
    mesh = make_mesh(config.devices)
    check_split(config.batch_size, mesh)
    found, batch = cost(lower_step(config, mesh))[1], config.batch_size // mesh.size
    # Of a loop XLA counts one turn.
    flops = lower_step(config, mesh, unroll=True).cost_analysis()["flops"]
    at_least = "at least " if found.flops < 0.9 * flops else ""
    total = found.arguments + found.outputs + found.temporaries
    return (
        f"{LINES[config.task].title(config)}: batch of {config.batch_size} over {mesh.size} x "
        f"{mesh.devices[0].device_kind}, {config.parallel}\n"
        f"memory of a device: {_mib(total)} MiB = {_mib(found.arguments)} weights, optimiser and "
        f"batch + {_mib(found.temporaries)} temporary + {_mib(found.outputs)} results\n"
        f"work of a device in a step: {flops / 1e9:,.4g} GFLOP, {flops / batch / 1e9:,.4g} an "
        f"example; reads and writes {at_least}{found.moved / 1e9:,.3g} GB\n"
        f"compiled in {found.seconds:.1f} s"
    )


def lower_step(config: RunConfig, mesh: Mesh, *, unroll: bool = False) -> Any:
    """Training step of a run before it is compiled, from shapes alone.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    mesh : Mesh
        Devices.
    unroll : bool
        Without the loops over blocks of the network, parts of the batch and, on a CPU, rows of an
        image: the same work as an accelerator does it, of which XLA counts all. Not to be run.
    """
    line = LINES[config.task]
    learner = line.learn(config, unroll=unroll)
    # What `jax.pmap` makes can only be lowered for the devices that are there.
    kind = "shard_map" if unroll else config.parallel
    lead = (mesh.size, config.batch_size // mesh.size)
    batch = line.batch_shapes(config, lead if kind == "pmap" else (config.batch_size,))
    update: Any = spread(learner.update, mesh, kind=kind, donate=True)
    given = jax.eval_shape(learner.start), batch
    return (
        update.trace(*given).lower(lowering_platforms=("tpu",)) if unroll else update.lower(*given)
    )


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f}"
