"""Programs that give the same bits at every call."""

from collections.abc import Callable
from typing import Any

import jax


def repeatable(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """``jax.jit`` for what draws, which has to be the same bits however busy the machine is.

    On a CPU, XLA's Fourier transform shares its rows among the threads that are idle at the moment,
    and rounds a row by another instruction at the end of a share than in its middle: an inverse
    transform of 384 x 193 came out with other last bits in one call of five while three other
    threads were at work (jax 0.10.2). One thread for a program takes that away, and no time: a draw
    of `fields` takes 0.22 s either way, on two cores.

    Parameters
    ----------
    function : callable
        What is compiled. It may not be called from within another program.
    **options
        As for ``jax.jit``.

    Returns
    -------
    callable
        The compiled function. Call this after the devices are started, not at import.
    """
    one_thread = {"xla_cpu_multi_thread_eigen": False}
    only = one_thread if jax.default_backend() == "cpu" else {}
    return jax.jit(function, compiler_options=only, **options)
