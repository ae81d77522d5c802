"""Batches on the devices before the step asks for them."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

END = object()


def feed(
    batches: Iterator[Any], place: Callable[[Any], Any], *, ahead: int = 2
) -> Generator[Any, None, None]:
    """Draw and place batches in a thread while the devices work on those before.

    Parameters
    ----------
    batches : iterator
        Asked for one batch after the other, by the thread alone, until this generator is closed.
    place : callable
        Hands a batch to the devices (`xmm_jax.parallel.place_batch`).
    ahead : int
        Batches to keep on the devices beside the one in use.

    Yields
    ------
    object
        What ``place`` returns, in the order of the batches; what either raises is raised here.
        Close the generator when done, before the batches: that ends the thread.
    """

    def draw() -> Any:
        batch = next(batches, END)
        return batch if batch is END else place(batch)

    # One worker keeps the order.
    thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
    waiting = deque(thread.submit(draw) for _ in range(ahead))
    try:
        while (batch := waiting.popleft().result()) is not END:
            waiting.append(thread.submit(draw))
            yield batch
    finally:
        thread.shutdown(cancel_futures=True)
