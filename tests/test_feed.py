"""The thread that places batches: order, how far ahead, errors, the end."""

import itertools
import threading

import pytest

from xmm_jax.feed import feed

WAIT = 20.0  # seconds after which something hangs


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_every_batch_once_and_in_order():
    assert list(feed(iter(range(50)), lambda batch: batch**2)) == [n**2 for n in range(50)]
    assert list(feed(iter(()), lambda batch: batch)) == []
    assert not threads()


def test_the_next_batches_are_placed_while_one_is_used_and_no_more():
    placed = threading.Semaphore(0)
    seen = []

    def place(batch):
        seen.append(batch)
        placed.release()
        return batch

    source = itertools.count()
    batches = feed(source, place, ahead=3)
    assert next(batches) == 0
    # Batch 0 and three more, without anybody asking; the source is where the thread left it.
    assert all(placed.acquire(timeout=WAIT) for _ in range(4))
    assert not placed.acquire(timeout=0.2)
    assert seen == [0, 1, 2, 3]
    batches.close()
    assert next(source) == 4


@pytest.mark.parametrize("where", ["batches", "place"])
def test_errors_are_raised_after_what_came_before_them(where):
    def source():
        yield from (1, 2)
        if where == "batches":
            raise RuntimeError("no third batch")
        yield 3

    def place(batch):
        if batch == 3:
            raise RuntimeError("no third batch")
        return batch

    batches = feed(source(), place)
    assert [next(batches), next(batches)] == [1, 2]
    with pytest.raises(RuntimeError, match="no third batch"):
        next(batches)
    assert not threads()


def test_closing_ends_the_thread_and_leaves_the_source_alone():
    """Also while the thread waits for a batch: the source can be closed right after."""
    arrived, go_on = threading.Event(), threading.Event()

    def source():
        yield 0
        arrived.set()
        assert go_on.wait(WAIT)
        yield 1

    drawn = source()
    batches = feed(drawn, lambda batch: batch)
    assert next(batches) == 0
    assert arrived.wait(WAIT)
    threading.Timer(0.1, go_on.set).start()
    batches.close()
    assert not threads()
    drawn.close()  # "generator already executing" if the thread were still in it
