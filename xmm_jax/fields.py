"""Simulated fields by number: the same pair, bit for bit, in records, streams and FITS files.

A field is a function of (settings, seed, number). XLA may round differently when it compiles the
draw for another number of fields at once. So fields are always drawn in blocks of consecutive
numbers, by one program, and whoever wants some of a block takes them out of it. Several devices
draw a block each at the same time.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xmm_jax.config import TASKS, SimulatedConfig
from xmm_jax.data.pairs import make_sample, pad_sample
from xmm_jax.data.skymaps import read_sky_maps
from xmm_jax.simulator.observe import build_optics, draw_pair, draw_truth
from xmm_jax.simulator.repeatable import repeatable
from xmm_jax.simulator.truth import Truth
from xmm_jax.simulator.variations import AS_BUILT, VARIED

# One at a time is as quick as any other number on a CPU; an accelerator wants more to do at once.
BLOCK = {"cpu": 1}
BLOCK_OF_ACCELERATOR = 8
_EACH = PartitionSpec("device")

Pairs = dict[str, jax.Array]


def block_size() -> int:
    """Fields that are drawn together on the devices of this process."""
    return BLOCK.get(jax.default_backend(), BLOCK_OF_ACCELERATOR)


@functools.lru_cache(maxsize=4)
def drawer(
    task: str, config: SimulatedConfig, *, seed: int = 0, devices: int = 1
) -> Callable[[tuple[int, ...]], Pairs]:
    """What draws blocks of fields.

    Parameters
    ----------
    task : str
        Decides upscale, background and, unless the settings do, the exposures.
    config : SimulatedConfig
        Which sky, which kind of target; the number of fields is of no importance.
    seed : int
        Seed of all draws.
    devices : int
        Devices of this process that draw a block each.

    Returns
    -------
    callable
        From the numbers of as many blocks as devices to their pairs: arrays [devices * b, y, x, 1]
        of the native frame, of each block on its device the fields ``block * b`` to
        ``(block + 1) * b - 1``.
    """
    size, mesh = block_size(), _local_mesh(devices)
    facts, sky = TASKS[task], _sky(config)
    optics, maps = jax.device_put(
        (build_optics(config.sky, upscale=facts.upscale), read_maps(config.maps)),
        NamedSharding(mesh, PartitionSpec()),
    )
    exposure_s, target_exposure_s = exposures(task, config)
    draw = functools.partial(
        draw_pair,
        upscale=facts.upscale,
        exposure_s=exposure_s,
        target_exposure_s=target_exposure_s,
        target_background=facts.target_background,
        target_kind=config.target_kind,
        **sky,
    )

    def draw_block(first: jax.Array, optics: Any, maps: Any) -> Pairs:
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(
            first[0] + jnp.arange(size)
        )
        one = functools.partial(draw, maps=maps)
        if size == 1:
            return {name: value[None] for name, value in one(keys[0], optics).items()}
        return jax.vmap(one, (0, None))(keys, optics)

    draw_blocks = _on_each(draw_block, mesh, (_EACH, PartitionSpec(), PartitionSpec()))
    # The next batch often begins in the block in which the last one ended.
    return functools.lru_cache(maxsize=2)(
        lambda blocks: draw_blocks(np.array(blocks, np.int32) * size, optics, maps)
    )


def draw_batch(
    task: str,
    config: SimulatedConfig,
    *,
    seed: int = 0,
    finish: Callable[[Pairs, Any], Pairs] = lambda pairs, extra: pairs,
    devices: int = 1,
) -> Callable[[np.ndarray, Any], Pairs]:
    """What draws padded batches, on the device.

    Parameters
    ----------
    task, config, seed
        As for `drawer`.
    finish : callable
        What is done to the padded pairs [b, ...], with the second argument of the call.
    devices : int
        Devices of this process: each draws its part of a batch, if the parts are equal.

    Returns
    -------
    callable
        ``(numbers [b], extra [b, ...])`` to arrays [b, ...], one for each number. The call only
        queues the work: batches are drawn while the host goes on.
    """
    size = block_size()

    def take(blocks: list[Pairs], rows: jax.Array, extra: Any) -> Pairs:
        joined = {name: jnp.concatenate([one[name] for one in blocks])[rows] for name in blocks[0]}
        return finish(pad_sample(joined), extra)

    taking = functools.cache(lambda share: _on_each(take, _local_mesh(share), _EACH))

    def batch(numbers: np.ndarray, extra: Any = None) -> Pairs:
        share = devices if len(numbers) % devices == 0 else 1
        parts = numbers.reshape(share, -1)
        wanted = [np.unique(part // size) for part in parts]
        most = max(map(len, wanted))
        # The devices draw in step: one that needs fewer blocks draws its last once more.
        turns = np.stack([np.pad(one, (0, most - len(one)), "edge") for one in wanted], axis=1)
        draw = drawer(task, config, seed=seed, devices=share)
        blocks = [draw(tuple(turn)) for turn in turns.tolist()]
        places = map(np.searchsorted, wanted, parts // size)
        rows = np.concatenate(list(places)) * size + numbers % size
        return taking(share)(blocks, rows, extra)

    return batch


def draw_samples(
    names: Sequence[str], *, task: str, config: SimulatedConfig, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Samples of some fields on the native frame, for records and files.

    Parameters
    ----------
    names : sequence of str
        From `names_of`.
    task, config, seed
        As for `drawer`.

    Yields
    ------
    dict
        Sample of `xmm_jax.data.schema`.
    """
    block, size = drawer(task, config, seed=seed), block_size()
    for name in names:
        number = number_of(name)
        pairs = block((number // size,))
        arrays: dict[str, Any] = {
            field: np.asarray(value)[number % size, ..., 0] for field, value in pairs.items()
        }
        yield make_sample(
            **arrays,
            source_id=name,
            obs_id=name,
            pairing="simulated",
            target_kind=config.target_kind,
            filter=config.filter,
            seed=number,
        )


def catalogue(task: str, config: SimulatedConfig, *, seed: int = 0) -> Callable[[int], Truth]:
    """What says what is on the sky of a field.

    Parameters
    ----------
    task, config, seed
        As for `drawer`.

    Returns
    -------
    callable
        From the number of a field to its catalogue.
    """
    optics, maps = jax.device_put(
        (build_optics(config.sky, upscale=TASKS[task].upscale), read_maps(config.maps))
    )
    one = repeatable(functools.partial(draw_truth, **_sky(config)))
    return lambda number: one(jax.random.fold_in(jax.random.key(seed), number), optics, maps=maps)


@functools.lru_cache(maxsize=1)
def read_maps(folder: str) -> np.ndarray | None:
    """Sky maps of a folder, [map, y, x]; None if there is no folder to read.

    Raises
    ------
    InputError
        For a folder or map that cannot be used.
    """
    return read_sky_maps(folder) if folder else None


def names_of(config: SimulatedConfig, *, seed: int = 0) -> list[str]:
    """Names of the fields, which are the keys of the splits."""
    return [f"sim-{config.sky}-{seed}-{number:06d}" for number in range(config.fields)]


def number_of(name: str) -> int:
    """Number of a field of this name."""
    return int(name.rpartition("-")[2])


def exposures(task: str, config: SimulatedConfig) -> tuple[float, float]:
    """Exposures of input and target [s]: those of the settings, else those of the task."""
    facts = TASKS[task]
    return (
        1e3 * config.exposure_ks or facts.exposure_s,
        1e3 * config.target_exposure_ks or facts.target_exposure_s,
    )


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Short name of everything that decides what is drawn: settings, and the code of the simulator.

    Parameters
    ----------
    settings : mapping
        JSON types; ``maps`` names a folder of sky maps, of which the contents count.

    Returns
    -------
    str
        12 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=6)
    digest.update(json.dumps([dict(settings), jax.__version__], sort_keys=True).encode())
    digest.update(Path(__file__).read_bytes())
    maps = read_maps(settings.get("maps", ""))
    if maps is not None:
        digest.update(maps.tobytes())
    for part in ("instrument", "simulator"):
        folder = resources.files(f"xmm_jax.{part}")
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            if file.name.endswith((".py", ".json")):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _local_mesh(devices: int) -> Mesh:
    """Some devices of this process."""
    local = jax.local_devices()[:devices]
    return jax.make_mesh((devices,), ("device",), axis_types=(AxisType.Auto,), devices=local)


def _on_each(function: Callable[..., Pairs], mesh: Mesh, specs: Any) -> Callable[..., Pairs]:
    """One program for all devices: compiled once, not once for each."""
    return repeatable(
        jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=_EACH, check_vma=False)
    )


def _sky(config: SimulatedConfig) -> dict[str, Any]:
    """Options that decide what is on the sky and in the camera."""
    variations = VARIED if config.varied else AS_BUILT
    return {
        "preset": config.sky,
        "filter_name": config.filter,
        "variations": dataclasses.replace(variations, blends=config.blends),
    }
