"""The processes of a job: how they find one another, and that none outlives another that failed."""

import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax
import numpy as np

from xmm_jax.backend import is_running
from xmm_jax.config import Config
from xmm_jax.errors import InputError, RunError

ARRIVAL_S = 300
# A process that was not heard of for so long is taken for lost, and the others end.
HEARTBEAT_S = 60


def start_processes(config: Config) -> None:
    """Join the other processes of a job, where flags or environment say that there are any.

    Tasks of a SLURM step and workers of a TPU pod on Kubernetes are recognised; with
    ``--coordinator=auto`` JAX looks for them itself (other TPU pods, Open MPI). Elsewhere give the
    three flags, or ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``. Call
    before anything touches a device.

    Parameters
    ----------
    config : Config
        ``coordinator``, ``processes``, ``process``, and ``devices`` of each process.

    Raises
    ------
    InputError
        If the flags do not fit together.
    """
    started = is_running()
    if config.devices and not started:
        jax.config.update("jax_num_cpu_devices", config.devices)
    place = find_place(config, os.environ)
    if place is None or jax.distributed.is_initialized():
        return
    coordinator, processes, process = place
    if started:
        raise InputError(
            "the processes of a job must be started before anything uses JAX; use a fresh process"
        )
    name = f"process {process} of {processes}" if coordinator else "this process"
    at = f" at {coordinator}" if coordinator else ""
    sys.stderr.write(f"{name} waits for the others{at}, {ARRIVAL_S} s at most\n")
    jax.distributed.initialize(
        coordinator,
        num_processes=processes,
        process_id=process,
        # By itself JAX gives each task of SLURM one GPU.
        local_device_ids=range(config.devices) if config.devices else None,
        initialization_timeout=ARRIVAL_S,
        heartbeat_timeout_seconds=HEARTBEAT_S,
    )
    # Now that all are here. On a CPU the first sum waits 30 s for the others, later ones for ever,
    # and before the first step one process may simulate the records of all.
    ones = np.ones(jax.local_device_count(), np.float32)
    jax.block_until_ready(jax.pmap(lambda one: jax.lax.psum(one, "all"), axis_name="all")(ones))


def find_place(
    config: Config, env: Mapping[str, str]
) -> tuple[str | None, int | None, int | None] | None:
    """Where the first process listens, number of processes, number of this one.

    Parameters
    ----------
    config : Config
        The flags; they come before the environment.
    env : mapping of str to str
        Environment variables.

    Returns
    -------
    tuple or None
        None where a process is alone, three None where JAX can find out by itself.

    Raises
    ------
    InputError
        If the flags or variables do not fit together.
    """
    tasks = env.get("SLURM_STEP_NUM_TASKS", "1")  # not SLURM_NTASKS, which a lone shell has too
    found = int(tasks) > 1 or "," in env.get("TPU_WORKER_HOSTNAMES", "")
    if (config.coordinator, config.processes, config.process) == ("auto", 0, -1):
        return None, None, None
    if config.coordinator or config.processes or config.process != -1:
        names = ("--coordinator", "--processes", "--process")
        values = (config.coordinator, str(config.processes or ""), str(config.process))
    elif "JAX_COORDINATOR_ADDRESS" in env:
        names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        values = tuple(env.get(name, "") for name in names)
    else:
        return (None, None, None) if found else None
    given = " ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
    coordinator, processes, process = values
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdigit() and processes.isdigit() and process.isdigit()):
        raise InputError(f"{given}: expected host:port, how many, and which one from 0")
    if not int(process) < int(processes):
        raise InputError(f"{given}: processes must be numbered from 0 to {int(processes) - 1}")
    return (coordinator, int(processes), int(process)) if int(processes) > 1 else None


@contextmanager
def failing_together() -> Iterator[None]:
    """Let a process that fails leave at once, so that the others of the job fail too.

    Leaving the usual way, it would wait for the others, which wait for its part of the next step.
    A process that is alone is left alone.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        known = isinstance(error, InputError | RunError)
        if not known:
            traceback.print_exc()
        sys.stderr.write(
            f"xmm-jax: error: process {jax.process_index()} of {jax.process_count()}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; "
            "this ends the job, and starting it again goes on from its last checkpoint\n"
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2 if isinstance(error, InputError) else 1)
