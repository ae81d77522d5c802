"""Batches of examples that are functions of their number, for one process.

A run cuts its examples from images, fields or maps that have numbers too: drawn when they are asked
for, or read from files. What a step sees is a function of (seed, step) alone.
"""

import functools
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np

from xmm_jax.config import RunConfig
from xmm_jax.data.folder import replace_file
from xmm_jax.data.pipeline import KEPT_BYTES, example_numbers, stack
from xmm_jax.errors import InputError

DRAWN = "drawn"
FIRST = {"train": 0, "validation": 2**29, "test": 2**30}
"""Number of the first drawn field of each split."""

Item = TypeVar("Item")
Example = dict[str, Any]


class Numbered(NamedTuple, Generic[Item]):
    """Images by number, ``total`` of them, made or read when they are asked for."""

    total: int
    get: Callable[[int], Item]


def kept(get: Callable[[int], Item], total: int, *, size: int) -> Numbered[Item]:
    """Images of which as many are kept in memory as fit in a quarter of it.

    Parameters
    ----------
    get : callable
        From the number to the image.
    total : int
        How many there are.
    size : int
        Of one of them [byte].
    """
    most = min(total, max(1, KEPT_BYTES // size))
    return Numbered(total, functools.lru_cache(maxsize=most)(get))


def shuffled(images: Numbered[Item], number: int, *, seed: int) -> Item:
    """What an example is cut from: each image once in an epoch, in an order of its own.

    Parameters
    ----------
    images : Numbered
        All of them.
    number : int
        Of the example, from the start of the run.
    seed : int
        Of the run.
    """
    epoch, place = divmod(number, images.total)
    return images.get(int(_generator(seed, epoch, 1).permutation(images.total)[place]))


def random_of(seed: int, number: int) -> np.random.Generator:
    """Random numbers of an example of a run."""
    return _generator(seed, number, 2)


def training_batches(
    config: RunConfig, example: Callable[[int], Example], *, start_step: int
) -> Generator[Mapping[str, Any], None, None]:
    """Batches of this process from the given step on.

    Parameters
    ----------
    config : RunConfig
        Steps and batch size.
    example : callable
        From the number, counted from the start of the run, to the example.
    start_step : int
        Number of steps made before.
    """
    for step in range(start_step, config.steps):
        numbers = of_this_process(example_numbers(step, config.batch_size))
        yield stack([example(number) for number in numbers.tolist()])


def validation_batches(
    config: RunConfig, example: Callable[[int], Example], *, total: int
) -> Iterator[Mapping[str, Any]]:
    """Every example once, one on each device at a time; what fills up the last has no weight.

    Parameters
    ----------
    config : RunConfig
        Devices.
    example : callable
        From the number to the example.
    total : int
        How many there are.
    """
    size = (config.devices or jax.local_device_count()) * jax.process_count()
    for step in range(-(-total // size)):
        numbers = of_this_process(example_numbers(step, size))
        examples = [example(min(number, total - 1)) for number in numbers.tolist()]
        yield stack(examples) | {"weight": (numbers < total).astype(np.float32)}


def of_this_process(numbers: np.ndarray) -> np.ndarray:
    """Part [b / processes] of the numbers [b] of a batch that this process makes."""
    return numbers.reshape(jax.process_count(), -1)[jax.process_index()]


def shapes_of(example: Mapping[str, Any], lead: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of a batch of such an example, with the axes ``lead`` in front."""
    return {
        name: jax.ShapeDtypeStruct((*lead, *np.shape(value)), value.dtype)
        for name, value in example.items()
    }


def keep_listing(path: Path, listing: str, *, others: str) -> None:
    """Note in a run folder which files it is made with, or check that they are the same.

    Parameters
    ----------
    path : Path
        The note.
    listing : str
        A line for each file.
    others : str
        Words for the refusal: ``images than FOLDER``.

    Raises
    ------
    InputError
        If the run was made with others.
    """
    if not path.exists():
        replace_file(path, listing.encode())
    elif path.read_text() != listing:
        raise InputError(f"{path.parent}: made with other {others}; choose another --run")


def _generator(seed: int, number: int, purpose: int) -> np.random.Generator:
    words = np.array([seed, number * 4 + purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=words))
