"""Batches of several sources of data in turn: simulated, real, simulated ...

Step t takes from source t modulo their number, which has made t divided by it steps before. So what
a step sees is still a function of (seed, step) alone, and any step can be the first.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from itertools import cycle
from typing import Any, Protocol

Source = Callable[[int], Generator[Any, None, None]]
"""From the number of steps that it has made before to its batches."""


class MayAlternate(Protocol):
    """Settings of a run that may take several sources in turn."""

    @property
    def alternate(self) -> bool:
        """Whether the name of its data is several, with commas between."""
        ...


def sources_of(config: MayAlternate, data: str) -> list[str]:
    """Parts of a name of data: one, or several that alternate."""
    return data.split(",") if config.alternate else [data]


def alternating(sources: Sequence[Source], *, start_step: int) -> Generator[Any, None, None]:
    """Batches of all sources in turn, from a step on, until one of them ends.

    Parameters
    ----------
    sources : sequence of callable
        In the order of their turns.
    start_step : int
        Steps made before, by all together.

    Yields
    ------
    object
        What the sources yield. Close the generator when done: that closes them.
    """
    number = len(sources)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(source((start_step - turn + number - 1) // number)))
            for turn, source in enumerate(sources)
        ]
        turns = cycle(opened)
        for _ in range(start_step % number):
            next(turns)
        for source in turns:
            try:
                batch = next(source)
            except StopIteration:
                return
            yield batch
