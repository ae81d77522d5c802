"""Batches of numpy arrays from a folder of records, for one process.

The examples of a run are one endless row: epoch after epoch, each a fresh permutation of the
records. Step ``t`` takes examples ``t * batch_size`` and following, so what a step sees depends on
(seed, step) alone, not on threads, processes or where the run was interrupted, and any step can be
the first. A batch is a dict of the image fields with a leading axis, ``weight`` (float32, 0 for
padding) and ``index`` (int64, number of the example). A source that draws pairs on the device gives
the same batches, with `example_numbers` and the functions of `xmm_jax.data.augment`.
"""

import functools
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import cast

import grain
import numpy as np

from xmm_jax.data.augment import Augment, check_augment, decide, transform
from xmm_jax.data.schema import IMAGES
from xmm_jax.data.tfrecord import RecordSource
from xmm_jax.errors import InputError

Batch = dict[str, np.ndarray]

AS_IS = Augment()
CENTRED = Augment(position="center")
FED = tuple(name for name in IMAGES if name != "background")  # which no step looks at
# A split that takes no more memory, a quarter of what there is, is decoded once: a small network is
# quicker than zlib.
KEPT_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def batches(
    folder: Path | str,
    split: str = "train",
    *,
    batch_size: int,
    crop: int = 0,
    seed: int = 0,
    start_step: int = 0,
    augment: Augment = AS_IS,
    share: float = 1.0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 4,
) -> Generator[Batch, None, None]:
    """Training batches without end, shuffled and augmented.

    Parameters
    ----------
    folder : path
        Written by `xmm_jax.data.tfrecord.write_records`.
    split : str
        Which examples.
    batch_size : int
        Examples per step over all processes.
    crop : int
        Side of the crop [input pixel]; 0 = whole frame.
    seed : int
        Of order and augmentation, 0 to 2**32 - 1.
    start_step : int
        First step to give, counted from 0.
    augment : Augment
        What may be done to an example, keyed by (seed, index).
    share : float
        Share of the examples to use, the first ones: `used` of them.
    process_index, process_count : int
        Which consecutive part of each batch to give, of how many.
    threads : int
        Reading ahead; 0 reads when asked. Any number gives the same batches.

    Yields
    ------
    dict
        ``[batch_size / process_count, ...]``; all weights are 1. Close the generator when done.

    Raises
    ------
    InputError
        If the folder cannot be read (see `RecordSource`) or a setting does not fit it.
    """
    rows = _rows(batch_size, process_index, process_count)
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}, expected 0 to {2**32 - 1}")
    source = RecordSource(folder, split, fields=FED)
    read, frame = _keep_small(source), source.manifest.frame
    check_augment(augment, frame=frame, crop=crop)
    # `seed` mixes the seed before `shuffle` adds the epoch to it: seeds 0 and 1 share no epoch.
    order = grain.MapDataset.range(used(len(source), share)).seed(seed).shuffle()

    def example(index: int) -> Mapping[str, np.ndarray]:
        moves = decide(augment, seed=seed, index=index, frame=frame, crop=crop)
        return transform(read(cast(int, order[index])), moves, crop=crop)

    def batch(step: int) -> Batch:
        index = example_numbers(step, batch_size)[rows]
        weight = np.ones(len(index), np.float32)
        return stack([example(i) for i in index.tolist()]) | {"weight": weight, "index": index}

    return _run(batch, start_step, sys.maxsize, threads)


def eval_batches(
    folder: Path | str,
    split: str = "validation",
    *,
    batch_size: int,
    crop: int = 0,
    augment: Augment = CENTRED,
    limit: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 4,
) -> Generator[Batch, None, None]:
    """Every example of a split once, in order.

    Parameters
    ----------
    folder, split, batch_size, crop, process_index, process_count, threads
        As in `batches`.
    augment : Augment
        As in `batches`, keyed by (0, index): the same at every call.
    limit : int
        Number of examples to give, from the first; 0 = all.

    Yields
    ------
    dict
        As in `batches`. The last batch is filled up with repetitions of the last example, whose
        weight is 0. ``index`` is the number of the example in `RecordSource`. All processes get
        the same number of batches.

    Raises
    ------
    InputError
        As in `batches`.
    """
    rows = _rows(batch_size, process_index, process_count)
    source = RecordSource(folder, split, fields=FED)
    frame = source.manifest.frame
    check_augment(augment, frame=frame, crop=crop)
    count = min(limit, len(source)) if limit else len(source)

    def example(index: int) -> Mapping[str, np.ndarray]:
        moves = decide(augment, seed=0, index=index, frame=frame, crop=crop)
        return transform(source[index], moves, crop=crop)

    def batch(step: int) -> Batch:
        number = example_numbers(step, batch_size)[rows]
        index = np.minimum(number, count - 1)
        examples = {i: example(i) for i in sorted(set(index.tolist()))}
        # A real example as padding, not zeros: 0 times the loss of an empty image may be NaN.
        weight = (number < count).astype(np.float32)
        return stack([examples[i] for i in index.tolist()]) | {"weight": weight, "index": index}

    return _run(batch, 0, -(-count // batch_size), threads)


def used(total: int, share: float) -> int:
    """How many examples a share is of the total of a split; one at least."""
    return max(round(share * total), 1)


def example_numbers(step: int, batch_size: int) -> np.ndarray:
    """Numbers of the examples of one step, over all processes.

    Parameters
    ----------
    step : int
        Counted from 0.
    batch_size : int
        Examples per step over all processes.

    Returns
    -------
    numpy.ndarray
        int64 [batch_size].
    """
    return np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)


def stack(examples: Sequence[Mapping[str, np.ndarray]]) -> Batch:
    """Put examples together: ``[y, x, c]`` each -> ``[b, y, x, c]``."""
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def _keep_small(source: RecordSource) -> Callable[[int], Mapping[str, np.ndarray]]:
    """What reads an example, and keeps it where all of them fit into memory."""
    example = sum(image.nbytes for image in source[0].values())
    if len(source) * example > KEPT_BYTES:
        return source.__getitem__
    return functools.cache(source.__getitem__)


def _rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """Rows of a batch that belong to one process.

    Consecutive, so that the parts put together in order are the batch one process would make.
    """
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"batch_size is {batch_size}, expected a multiple of the {process_count} processes"
        )
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


def _run(
    batch: Callable[[int], Batch], first: int, last: int, threads: int
) -> Generator[Batch, None, None]:
    """Batches of steps `first` to `last`, made ahead of time by threads, given in order."""
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    iterator = iter(grain.MapDataset.range(first, last).map(batch).to_iter_dataset(options))

    def give() -> Generator[Batch, None, None]:
        try:
            yield from iterator
        finally:
            iterator.close()

    return give()
