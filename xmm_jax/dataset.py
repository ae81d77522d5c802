"""The pairs of a run: simulated records made once, records from elsewhere, or an endless stream.

Everything a run sees is a function of (seed, step): which examples, how they are cut and mirrored,
and, in a stream, what is on the sky.
"""

import functools
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from xmm_jax.alternate import alternating, sources_of
from xmm_jax.config import TASKS, Config
from xmm_jax.data.augment import Augment, decide_many, transform_on_device
from xmm_jax.data.folder import cache_folder, one_at_a_time, replace_file
from xmm_jax.data.manifest import FILE as MANIFEST
from xmm_jax.data.manifest import Manifest, read_manifest
from xmm_jax.data.pipeline import batches, eval_batches, example_numbers
from xmm_jax.data.schema import SCHEMA_VERSION
from xmm_jax.errors import InputError
from xmm_jax.fields import draw_batch, fingerprint
from xmm_jax.instrument.camera import PN
from xmm_jax.log import say
from xmm_jax.numbered import of_this_process
from xmm_jax.records import write_simulated

STREAM = "stream"
STREAM_VALIDATION_FIELDS = 16
# Validation fields of a stream are numbered from here, out of reach of any training run.
STREAM_VALIDATION_FIRST = 2**31 - 2**16


def find_data(config: Config) -> str:
    """Records of a run: those it names, or simulated ones made now and kept for the next time.

    Returns
    -------
    str
        A folder of records, or ``"stream"``; of several that alternate, with commas between.

    Raises
    ------
    InputError
        If the folder holds no records, or records of another task.
    """
    for name in sources_of(config, config.data):
        if name not in ("", STREAM):
            check_records(Path(name), config.task)
    if config.data:
        return config.data
    simulated = config.simulated
    # Other settings or another simulator give another folder.
    mark = fingerprint(about(config))
    folder = cache_folder() / f"{config.task}-{simulated.sky}-{simulated.fields}-{mark}"
    if not (folder / MANIFEST).exists() and jax.process_index() == 0:
        with one_at_a_time(folder):
            if not (folder / MANIFEST).exists():
                say(f"no --data: simulating {simulated.fields} fields, once, into {folder}")
                write_simulated(folder, config.task, simulated, settings=about(config))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("records")
    say(f"records: {folder}")
    return str(folder)


def about(config: Config) -> dict[str, Any]:
    """Settings that make simulated records, for their manifest."""
    return {
        "from": "simulator",
        "task": config.task,
        "schema": SCHEMA_VERSION,
    } | vars(config.simulated)


def check_records(folder: Path, task: str) -> Manifest:
    """Manifest of a folder of records that fits a task.

    Raises
    ------
    InputError
        If it does not, or holds nothing to train or validate on.
    """
    manifest = read_manifest(folder)
    if manifest.upscale != TASKS[task].upscale or manifest.settings.get("task", task) != task:
        raise InputError(f"{folder}: records for another task than --task={task}; prepare new ones")
    for split in ("train", "validation"):
        if split not in manifest.splits or not manifest.splits[split].examples:
            raise InputError(f"{folder}: no {split} records; prepare more sources")
    return manifest


def keep_data(config: Config, run: Path, data: str) -> None:
    """Copy the manifest of the records ``data`` into a run folder, or check that it is the same.

    Of records that alternate, those after the first go into folders of their own.

    Raises
    ------
    InputError
        If the run was made with other records.
    """
    for turn, name in enumerate(sources_of(config, data)):
        place = run / f"data{turn + 1}" if turn else run
        if name == STREAM:
            continue
        if not (place / MANIFEST).exists():
            place.mkdir(exist_ok=True)
            replace_file(place / MANIFEST, (Path(name) / MANIFEST).read_bytes())
        elif read_manifest(place) != read_manifest(name):
            raise InputError(f"{run}: made with other records than {name}; choose another --run")


def training_batches(
    config: Config, data: str, *, start_step: int
) -> Generator[Mapping[str, Any], None, None]:
    """Endless batches of this process from the given step on, a function of (seed, step) alone.

    Parameters
    ----------
    config : Config
        Seed, batch size, crop, flips.
    data : str
        From `find_data`.
    start_step : int
        Number of steps made before.
    """
    sources = [
        functools.partial(_training_batches, config, name) for name in sources_of(config, data)
    ]
    return alternating(sources, start_step=start_step)


def _training_batches(
    config: Config, data: str, start_step: int
) -> Generator[Mapping[str, Any], None, None]:
    """Batches of one source, with the steps that it has made itself."""
    augment = Augment(position=config.place, flips=config.flips, thin=config.thin)
    mine: dict[str, Any] = {
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    if data == STREAM:
        draw, steps = _stream(config, augment, crop=config.crop), range(start_step, config.steps)
        numbers = (example_numbers(step, config.batch_size) for step in steps)
        return (draw(of_this_process(batch)) for batch in numbers)
    return batches(
        data,
        "train",
        batch_size=config.batch_size,
        crop=config.crop,
        seed=config.seed,
        start_step=start_step,
        augment=augment,
        share=config.share,
        **mine,
    )


def validation_batches(config: Config, data: str) -> Iterator[Mapping[str, Any]]:
    """Every validation field of the first source once, one on each device at a time.

    Full frames, or what is about the optical axis where a run trains on that.

    Parameters
    ----------
    config : Config
        Number of fields.
    data : str
        From `find_data`.
    """
    size = jax.process_count() * _local_devices(config)
    data = sources_of(config, data)[0]
    if data != STREAM:
        axis = config.place == "boresight"
        return eval_batches(
            data,
            "validation",
            batch_size=size,
            crop=config.crop if axis else 0,
            augment=Augment(position="boresight" if axis else "center", thin=config.thin),
            limit=config.eval_fields,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
    fields = config.eval_fields or STREAM_VALIDATION_FIELDS
    draw = _stream(config, Augment(thin=config.thin), crop=0)
    numbers = (
        STREAM_VALIDATION_FIRST + example_numbers(s, size) for s in range(-(-fields // size))
    )
    return (draw(of_this_process(batch), last=fields) for batch in numbers)


def _local_devices(config: Config) -> int:
    """How many devices of this process work."""
    return config.devices or jax.local_device_count()


def _stream(config: Config, augment: Augment, *, crop: int) -> Callable[..., dict[str, Any]]:
    frame = (PN.padded, PN.padded)
    move = functools.partial(transform_on_device, augment=augment, crop=crop)
    draw = draw_batch(
        config.task,
        config.simulated,
        seed=config.seed,
        finish=jax.vmap(move),
        devices=_local_devices(config),
    )

    def batch(index: np.ndarray, last: int | None = None) -> dict[str, Any]:
        moves = decide_many(augment, seed=config.seed, indices=index, frame=frame, crop=crop)
        end = np.inf if last is None else STREAM_VALIDATION_FIRST + last
        weight = (index < end).astype(np.float32)
        return draw(index, moves) | {"weight": weight, "index": index}

    return batch
