"""What XLA is told before it starts: repeatable kernels, and where to keep programs."""

import os
from pathlib import Path

import jax
from jax._src import xla_bridge  # nothing public says whether a backend exists

from xmm_jax.errors import InputError

# Accepted by every jaxlib, whatever its devices. The second pins the choice of algorithms, which
# is otherwise made by timing them. https://docs.jax.dev/en/latest/gpu_performance_tips.html
DETERMINISTIC = ("--xla_gpu_deterministic_ops=true", "--xla_gpu_autotune_level=0")


def is_running() -> bool:
    """Whether a device was started, after which neither flags nor processes can be changed."""
    return xla_bridge.backends_are_initialized()


def use_deterministic_kernels() -> None:
    """Make a GPU give the same bits every time; CPU and TPU do so anyway.

    Raises
    ------
    InputError
        If a device was started before: the flags would have no effect.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    missing = [flag for flag in DETERMINISTIC if flag not in flags]
    if missing and is_running():
        raise InputError(
            "--deterministic comes too late: JAX is running already; train in a fresh process, "
            f"or start this one with XLA_FLAGS='{' '.join(DETERMINISTIC)}'"
        )
    os.environ["XLA_FLAGS"] = " ".join([*flags, *missing])


def keep_programs(folder: Path) -> None:
    """Keep compiled programs of an accelerator, so that a run that goes on starts sooner.

    A folder that the user chose (``JAX_COMPILATION_CACHE_DIR``) stays. Not on a CPU: XLA warns
    when it loads a program made for another CPU, and on some for the same one (jax issue 38445).

    Parameters
    ----------
    folder : Path
        Where; made if need be.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None and jax.default_backend() != "cpu":
        jax.config.update("jax_compilation_cache_dir", str(folder))
