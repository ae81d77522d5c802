"""Folders of records, made by several processes; what an interruption left is used again."""

import csv
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xmm_jax.config import SimulatedConfig
from xmm_jax.data.folder import replacing
from xmm_jax.data.manifest import FILE as MANIFEST
from xmm_jax.data.manifest import Manifest
from xmm_jax.data.pairs import pad_sample
from xmm_jax.data.shards import (
    SHARD_EXAMPLES,
    Part,
    failures,
    finish,
    forget_notes,
    plan,
    unfinished,
    write_parts,
)
from xmm_jax.data.sources import Source
from xmm_jax.data.splits import FRACTIONS, split_sources
from xmm_jax.errors import InputError
from xmm_jax.fields import draw_samples, fingerprint, names_of
from xmm_jax.log import Progress, say

FAILED = "failed.csv"


def write_source(
    folder: Path,
    source: Source,
    *,
    settings: Mapping[str, Any],
    paths: Sequence[str | Path] = (),
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    overwrite: bool = False,
    workers: int = 1,
) -> Manifest:
    """Write what files give as records; what an interruption left is used again.

    Items that cannot be used are left out, said in one line each, and listed in ``failed.csv``
    beside the manifest.

    Parameters
    ----------
    folder : Path
        Where to, as for `write_simulated`.
    source : Source
        What there is.
    settings : mapping
        What made them, for the manifest.
    paths : sequence of path
        Where the files are. When one of them has changed the work begins anew.
    seed : int
        Seed of the split.
    fractions : tuple of float
        Shares of train, validation and test of what is on the sky.
    overwrite : bool
        Replace records that are there.
    workers : int
        Processes that draw; the bytes do not depend on it.

    Raises
    ------
    InputError
        If nothing can be used, or as `write_simulated`.
    RunError
        As `write_simulated`.
    """
    split_of = split_sources(source.sky.values(), seed=seed, fractions=fractions)
    together = max(1, SHARD_EXAMPLES // source.pairs)
    return _write(
        folder,
        plan({item: split_of[sky] for item, sky in source.sky.items()}, examples=together),
        functools.partial(_padded_source, draws=source.draws),
        facts={"seed": seed, "fractions": fractions, "files": _inventory(paths)},
        failed=source.failed,
        settings=settings,
        overwrite=overwrite,
        workers=workers,
    )


def write_simulated(
    folder: Path,
    task: str,
    config: SimulatedConfig,
    *,
    seed: int = 0,
    settings: Mapping[str, Any],
    fractions: tuple[float, float, float] = FRACTIONS,
    overwrite: bool = False,
    workers: int = 1,
) -> Manifest:
    """Write simulated fields as records; what an interruption left is used again.

    Parameters
    ----------
    folder : Path
        Where to. Until all is there the shards lie in ``.NAME.FINGERPRINT.partial`` beside it.
    task : str
        Decides exposures, upscale and background.
    config : SimulatedConfig
        How many, which sky, which kind of target.
    seed : int
        Seed of draws and split; field i depends on (seed, i) alone.
    settings : mapping
        For the manifest.
    fractions : tuple of float
        Shares of train, validation and test.
    overwrite : bool
        Replace records that are there.
    workers : int
        Processes that draw; the bytes do not depend on it.

    Raises
    ------
    InputError
        For settings or a folder that cannot be, or no space left.
    RunError
        If it is interrupted. In both cases finished shards stay for the next time.
    """
    names = names_of(config, seed=seed)
    split_of = split_sources(names, seed=seed, fractions=fractions)
    return _write(
        folder,
        plan({name: split_of[name] for name in names}),
        functools.partial(_padded_field, task=task, config=config, seed=seed),
        facts={"seed": seed, "fractions": fractions, "maps": config.maps},
        settings=settings,
        overwrite=overwrite,
        workers=workers,
    )


def _write(
    folder: Path,
    parts: Sequence[Part],
    draw: Callable[[str], Iterable[Mapping[str, Any]]],
    *,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any],
    overwrite: bool,
    workers: int,
    failed: Mapping[str, str] | None = None,
) -> Manifest:
    """Make the shards that are not there yet; with `failed`, what cannot be drawn is left out."""
    folder, mark = folder.resolve(), fingerprint({**settings, **facts})
    total = sum(len(part.sources) for part in parts)
    with replacing(folder, overwrite=overwrite, ours=MANIFEST, resume=mark) as partial:
        todo = unfinished(partial, parts)
        done = total - sum(len(part.sources) for part in todo)
        if done:
            say(f"going on: {done} of {total} fields are there already")
        tick = Progress("records", total, first=done)
        write_parts(partial, todo, draw, workers=workers, tick=tick, forgive=failed is not None)
        try:
            if failed is not None:
                _report(partial, {**failed, **failures(partial, parts)}, total + len(failed))
            manifest = finish(partial, parts, settings=settings)
        except OSError as error:
            raise InputError(
                f"{folder}: {error.strerror or error}; the shards are finished and are kept: run "
                "the same command again to go on"
            ) from None
    forget_notes(folder)
    return manifest


def _report(partial: Path, failed: Mapping[str, str], total: int) -> None:
    """Say what had to be left out, and keep it in a table."""
    (partial / FAILED).unlink(missing_ok=True)
    if not failed:
        return
    for item, why in failed.items():
        say(f"left out: {item}: {why}")
    with (partial / FAILED).open("w", newline="") as file:
        csv.writer(file).writerows([("item", "why"), *failed.items()])
    say(f"warning: {len(failed)} of {total} could not be used, or not in full; see {FAILED}")


def _padded_source(item: str, *, draws: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return map(pad_sample, draws[item]())


def _padded_field(name: str, **fixed: Any) -> Iterator[dict[str, Any]]:
    return map(pad_sample, draw_samples([name], **fixed))


def _inventory(paths: Sequence[str | Path]) -> list[tuple[str, int, int]]:
    """Files named or in the folders named, with size and time of the last change."""
    files = [
        file
        for path in map(Path, paths)
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.is_file()
    ]
    return [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
