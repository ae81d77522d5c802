"""Many images one after the other: read ahead, answered together, finished in parallel.

Reading and writing FITS files takes longer than the network on an accelerator, so threads read
ahead and finish behind it. What waits is bounded, so memory is; what fails is named and left out.
"""

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, TypeVar

Job = TypeVar("Job")
Loaded = TypeVar("Loaded")
Said = TypeVar("Said")
Done = TypeVar("Done")


class Outcome(NamedTuple):
    """What became of a job: its result, or what was raised."""

    job: Any
    result: Any = None
    error: Exception | None = None


def in_parallel(
    jobs: Iterable[Job],
    read: Callable[[Job], Loaded],
    answer: Callable[[list[Loaded]], list[Said]],
    finish: Callable[[Job, Loaded, Said], Done],
    *,
    kind: Callable[[Loaded], Hashable],
    together: int = 1,
    threads: int = 2,
) -> Iterator[Outcome]:
    """Work through jobs in three stages.

    Parameters
    ----------
    jobs : iterable
        What to do.
    read : callable
        Job -> what is loaded for it; in threads, ahead.
    answer : callable
        List of loaded -> list of answers; one call at a time, in this thread.
    finish : callable
        Job, loaded, answer -> result; in threads, behind.
    kind : callable
        Loaded -> what must be equal for jobs to be answered together, such as a shape.
    together : int
        Most jobs in one call of `answer`.
    threads : int
        Threads that read, and as many that finish.

    Yields
    ------
    Outcome
        One for each job, in no order. An exception of a stage is the outcome of its job; one of an
        `answer` to several is looked for again one by one.
    """
    waiting = iter(jobs)
    reading: deque[tuple[Job, Future]] = deque()
    groups: dict[Hashable, list[tuple[Job, Loaded]]] = {}
    finishing: dict[Future, Job] = {}
    readers, writers = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
    ahead = together + threads

    def hand_on(job: Job, loaded: Loaded, said: Said) -> None:
        finishing[writers.submit(finish, job, loaded, said)] = job

    try:
        while True:
            for job in itertools.islice(waiting, ahead - len(reading)):
                reading.append((job, readers.submit(read, job)))
            if not reading:
                break
            job, future = reading.popleft()
            outcome = _outcome(job, future)
            if outcome.error is not None:
                yield outcome
            else:
                groups.setdefault(kind(outcome.result), []).append((job, outcome.result))
            held = sum(map(len, groups.values()))
            fullest = max(groups, key=lambda key: len(groups[key]), default=None)
            if held and (len(groups[fullest]) >= together or held >= 2 * ahead):
                yield from _answer(groups.pop(fullest), answer, hand_on)
            yield from _collect(finishing, 2 * threads)
        for group in groups.values():
            yield from _answer(group, answer, hand_on)
        yield from _collect(finishing, 0)
    finally:
        for pool in (readers, writers):
            pool.shutdown(wait=True, cancel_futures=True)


def _answer(
    group: list[tuple[Any, Any]],
    answer: Callable[[list[Any]], list[Any]],
    hand_on: Callable[[Any, Any, Any], None],
) -> Iterator[Outcome]:
    """Answer a group and hand it on; outcomes are those that failed."""
    try:
        said = answer([loaded for _, loaded in group])
    except Exception as error:
        if len(group) == 1:
            yield Outcome(group[0][0], error=error)
            return
        for one in group:
            yield from _answer([one], answer, hand_on)
        return
    for (job, loaded), one in zip(group, said, strict=True):
        hand_on(job, loaded, one)


def _collect(finishing: dict[Future, Any], most: int) -> Iterator[Outcome]:
    """Outcomes of what is finished, until at most so many are under way."""
    while finishing:
        enough = len(finishing) <= most
        ready, _ = wait(finishing, timeout=0 if enough else None, return_when=FIRST_COMPLETED)
        for future in ready:
            yield _outcome(finishing.pop(future), future)
        if enough:
            return


def _outcome(job: Any, future: Future) -> Outcome:
    try:
        return Outcome(job, result=future.result())
    except Exception as error:
        return Outcome(job, error=error)
