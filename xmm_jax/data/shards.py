"""Records made shard by shard, by several processes, so that what is finished is never lost.

The shards lie in a hidden folder beside the final one until all are there. A shard counts as
finished when its note, ``parts/SHARD.json``, is there; `unfinished` skips it the next time.
"""

import dataclasses
import functools
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import xmm_jax
from xmm_jax.data.codec import encode_sample
from xmm_jax.data.manifest import Manifest, Shard, Split, write_manifest
from xmm_jax.data.schema import SCHEMA_VERSION
from xmm_jax.data.splits import SPLITS, check_disjoint
from xmm_jax.data.tfds import write_tfds
from xmm_jax.data.tfrecord import NAME, Census, write_shard
from xmm_jax.errors import InputError, RunError

SHARD_EXAMPLES = 32
NOTES = "parts"

Draw = Callable[[str], Iterable[Mapping[str, Any]]]
"""Samples of one source, in order. To be sent to other processes, so picklable."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One shard to make.

    Attributes
    ----------
    split : str
        Its split.
    number, of : int
        Its place among the shards of the split.
    sources : tuple of str
        What it shows, in order.
    """

    split: str
    number: int
    of: int
    sources: tuple[str, ...]

    @property
    def file(self) -> str:
        """Name of the shard, as TFDS wants it."""
        return f"{NAME}-{self.split}.tfrecord-{self.number:05d}-of-{self.of:05d}"


def plan(split_of: Mapping[str, str], *, examples: int = SHARD_EXAMPLES) -> list[Part]:
    """Divide sources into shards; the same whoever makes them and however many there are.

    Parameters
    ----------
    split_of : mapping of str to str
        Split of every source, sources in order.
    examples : int
        Sources per shard.

    Returns
    -------
    list of Part
        In the order of the splits.
    """
    parts = []
    for split in SPLITS:
        names = tuple(name for name, other in split_of.items() if other == split)
        of = -(-len(names) // examples)
        parts += [Part(split, k, of, names[k * examples : (k + 1) * examples]) for k in range(of)]
    return parts


def unfinished(folder: Path, parts: Sequence[Part]) -> list[Part]:
    """Parts whose shard is not in a folder, whole and of the same sources.

    Parameters
    ----------
    folder : Path
        Where the shards are made.
    parts : sequence of Part
        All parts.

    Returns
    -------
    list of Part
    """
    return [part for part in parts if _read_note(folder, part) is None]


def write_parts(
    folder: Path,
    parts: Sequence[Part],
    draw: Draw,
    *,
    workers: int = 1,
    tick: Callable[[], None] = lambda: None,
    forgive: bool = False,
) -> None:
    """Make shards, each of them whole or not at all.

    Parameters
    ----------
    folder : Path
        Where to; it exists.
    parts : sequence of Part
        Which.
    draw : callable
        Gives the samples.
    workers : int
        Processes to start; 1 does the work in this one. The bytes do not depend on it.
    tick : callable
        Called after every source.
    forgive : bool
        Go on after a source that gives an `InputError`: its note keeps what was wrong, and
        `failures` tells. What it gave before is used.

    Raises
    ------
    InputError
        If a sample breaks the contract, a file cannot be written or, unless `forgive`, a source
        cannot be drawn.
    RunError
        If a process dies or the user interrupts. What is finished stays in either case.
    """
    (folder / NOTES).mkdir(exist_ok=True)
    workers = min(workers, len(parts))
    try:
        if workers > 1:
            _share(folder, parts, (draw, forgive), workers, tick)
        else:
            for part in parts:
                _write_part(folder, part, draw, forgive, tick)
    except OSError as error:
        raise InputError(_stopped(folder, parts, error.strerror or str(error))) from None
    except KeyboardInterrupt:
        raise RunError(_stopped(folder, parts, "interrupted")) from None


def failures(folder: Path, parts: Sequence[Part]) -> dict[str, str]:
    """What was wrong with the sources that could not be drawn, or not to the end.

    Parameters
    ----------
    folder : Path
        With the shards and their notes.
    parts : sequence of Part
        All parts.

    Returns
    -------
    dict of str to str
        One line for each such source.
    """
    notes = filter(None, (_read_note(folder, part) for part in parts))
    return {source: why for note in notes for source, why in note["failed"].items()}


def finish(folder: Path, parts: Sequence[Part], *, settings: Mapping[str, Any]) -> Manifest:
    """Write manifest and TFDS metadata of a folder whose shards are all there.

    Shards without any example are removed and the others numbered anew.

    Parameters
    ----------
    folder : Path
        With the shards.
    parts : sequence of Part
        All parts.
    settings : mapping
        What made the samples; JSON types.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If there is nothing (the folder is removed), or the shards do not go together.
    """
    notes = {part: note for part in parts if (note := _read_note(folder, part))}
    filled = {part: note for part, note in notes.items() if note["shard"]["examples"]}
    if len(notes) == len(parts) and not filled:
        shutil.rmtree(folder)
        raise InputError(
            f"{folder}: nothing to write, no source gives any sample; name others or more of them"
        )
    shapes = [note["frame"] for note in filled.values()]
    if len(notes) < len(parts) or any(shape != shapes[0] for shape in shapes):
        raise InputError(f"{folder}: shards missing or of several frames; remove it and prepare")
    for part in notes.keys() - filled.keys():
        (folder / part.file).unlink()
    splits = {
        split: _number(folder, {p: note for p, note in filled.items() if p.split == split})
        for split in SPLITS
    }
    check_disjoint({name: split.source_ids for name, split in splits.items()})
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        created_by=f"xmm_jax {xmm_jax.__version__}",
        name=NAME,
        settings=json.loads(json.dumps(dict(settings))),
        encoding="zlib",
        frame=tuple(shapes[0]["frame"]),
        upscale=shapes[0]["upscale"],
        fields=tuple(shapes[0]["fields"]),
        splits=splits,
    )
    for scratch in folder.glob("*.tmp"):
        scratch.unlink()
    write_manifest(folder, manifest)
    write_tfds(folder, manifest)
    return manifest


def _number(folder: Path, notes: Mapping[Part, dict[str, Any]]) -> Split:
    """Give the shards of a split their final names: TFDS wants their number in every name."""
    shards = []
    for number, (part, note) in enumerate(notes.items()):
        final = dataclasses.replace(part, number=number, of=len(notes)).file
        (folder / part.file).rename(folder / final)
        shards.append(Shard(**(note["shard"] | {"file": final})))
    source_ids = sorted({source for note in notes.values() for source in note["source_ids"]})
    return Split(tuple(shards), tuple(source_ids))


def forget_notes(folder: Path) -> None:
    """Remove the notes, when the folder has its final name."""
    shutil.rmtree(folder / NOTES, ignore_errors=True)


def _write_part(
    folder: Path, part: Part, draw: Draw, forgive: bool, tick: Callable[[], None]
) -> None:
    census, failed = Census(), {}

    def samples() -> Iterator[Mapping[str, Any]]:
        for source in part.sources:
            try:
                yield from draw(source)
            except InputError as error:
                if not forgive:
                    raise
                failed[source] = str(error)
            tick()

    taken = census.take(part.split, samples(), None)
    payloads = (encode_sample(sample, encoding="zlib") for sample in taken)
    scratch = folder / f"{part.file}.{os.getpid()}.tmp"
    try:
        shard = write_shard(scratch, payloads, limit=sys.maxsize)
        scratch.replace(folder / part.file)
        note = {
            "shard": dataclasses.asdict(dataclasses.replace(shard, file=part.file)),
            "sources": list(part.sources),
            "source_ids": census.sources(part.split),
            "failed": failed,
            "frame": census.common(folder) if shard.examples else None,
        }
        scratch.write_text(json.dumps(note))
        scratch.replace(folder / NOTES / f"{part.file}.json")
    finally:
        scratch.unlink(missing_ok=True)


def _read_note(folder: Path, part: Part) -> dict[str, Any] | None:
    try:
        note = json.loads((folder / NOTES / f"{part.file}.json").read_text())
        whole = (folder / part.file).stat().st_size == note["shard"]["bytes"]
        known = note["sources"] == list(part.sources) and "failed" in note
        return note if whole and known else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stopped(folder: Path, parts: Sequence[Part], why: str) -> str:
    left = len(unfinished(folder, parts))
    return (
        f"{folder}: {why}; {len(parts) - left} shards were finished and are kept, {left} are left: "
        "run the same command again to go on"
    )


def _share(
    folder: Path,
    parts: Sequence[Part],
    how: tuple[Draw, bool],
    workers: int,
    tick: Callable[[], None],
) -> None:
    """Give every process each n-th part and listen to all of them."""
    # Not fork: the threads of JAX would not survive it.
    context = multiprocessing.get_context("spawn")
    crew: dict[Connection, Any] = {}
    try:
        for worker in range(workers):
            ears, mouth = context.Pipe(duplex=False)
            mine = parts[worker::workers]
            process = context.Process(target=_work, args=(mouth, folder, mine, *how), daemon=True)
            process.start()
            mouth.close()
            crew[ears] = process
        while crew:
            for ears in wait(list(crew)):
                _listen(crew, ears, tick)  # type: ignore[arg-type]
    finally:
        for process in crew.values():
            process.terminate()
            process.join()


def _listen(crew: dict[Connection, Any], ears: Connection, tick: Callable[[], None]) -> None:
    try:
        fault = ears.recv()
    except EOFError:
        process = crew.pop(ears)
        process.join()
        if process.exitcode:
            raise RunError(
                f"a worker process died (exit code {process.exitcode}); finished shards are kept: "
                "run the same command again, with fewer --workers if memory was short"
            ) from None
        return
    if fault is None:
        tick()
    else:
        raise fault


def _work(
    mouth: Connection, folder: Path, parts: Sequence[Part], draw: Draw, forgive: bool
) -> None:
    """What a worker process does: None after every source, the exception if there is one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and ends the others
    try:
        for part in parts:
            _write_part(folder, part, draw, forgive, functools.partial(mouth.send, None))
    except (InputError, OSError) as error:
        mouth.send(error)
