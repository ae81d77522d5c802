"""Leave when asked to: SIGTERM (the scheduler wants the machine back) and SIGUSR1.

A run then saves at the next step and ends with exit code 75, "try again later" (EX_TEMPFAIL of
sysexits.h): the same command goes on from there. Nothing but a kill needs to be feared after that.
"""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.experimental import multihost_utils

TRY_AGAIN = 75


@contextmanager
def watch() -> Iterator[Callable[[], bool]]:
    """Take SIGTERM and SIGUSR1; call it in the main thread, after `start_processes`.

    Yields
    ------
    callable
        ``asked()``: whether to save and leave now. Call it after every step, as often in every
        process: with several, a signal to any one of them makes all leave at the same call. A
        signal that comes before the first call ends a process that is alone at once.
    """
    if jax.process_count() > 1:
        take, asked = _agree()
    else:
        take, asked = _alone()
    before = {number: signal.signal(number, action) for number, action in take.items()}
    try:
        yield asked
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _alone() -> tuple[dict[int, Any], Callable[[], bool]]:
    begun = received = False

    def take(*_: object) -> None:
        nonlocal received
        received = True
        if not begun:  # nothing is there to be saved, and simulating the records may take long
            raise SystemExit(TRY_AGAIN)

    def asked() -> bool:
        nonlocal begun
        begun = True
        return received

    return {signal.SIGTERM: take, signal.SIGUSR1: take}, asked


def _agree() -> tuple[dict[int, Any], Callable[[], bool]]:
    # JAX has taken SIGTERM: it tells the other processes and finds a call none has made yet.
    calls = itertools.count(1)

    def asked() -> bool:
        return multihost_utils.reached_preemption_sync_point(next(calls))

    return {signal.SIGUSR1: lambda *_: signal.raise_signal(signal.SIGTERM)}, asked
