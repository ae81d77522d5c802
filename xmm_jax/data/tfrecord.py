"""Folders of records: written in one stroke, read in any order.

A folder holds TFRecord shards named as TFDS names them (``xmm-train.tfrecord-00000-of-00004``),
``manifest.json``, and ``dataset_info.json`` with ``features.json``, through which
``tfds.builder_from_directory(folder)`` reads it under TensorFlow. Nothing here needs TensorFlow.
"""

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, SupportsIndex

import xmm_jax
from xmm_jax.data.codec import ENCODINGS, Encoding, decode_sample, encode_sample
from xmm_jax.data.folder import replacing
from xmm_jax.data.framing import frame, read, scan
from xmm_jax.data.manifest import (
    FILE,
    PREPARE,
    Manifest,
    Shard,
    Split,
    read_manifest,
    write_manifest,
)
from xmm_jax.data.schema import FIELDS, SCHEMA_VERSION, check, frame_of
from xmm_jax.data.tfds import write_tfds
from xmm_jax.errors import InputError

__all__ = ["RecordSource", "read_manifest", "write_records"]

NAME = "xmm"
SHARD_BYTES = 256 * 2**20


def write_records(
    folder: Path | str,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    settings: Mapping[str, Any],
    encoding: Encoding = "zlib",
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> Manifest:
    """Write a folder of records: all of it or nothing.

    Samples are taken one at a time and never held. Equal samples and settings give equal bytes in
    every file (with ``encoding="zlib"``, under the same zlib library).

    Parameters
    ----------
    folder : path
        To be made. It appears under this name only when complete.
    splits : mapping
        Split name to samples (see `xmm_jax.data.schema`). A split may turn out empty, not all.
    settings : mapping
        What made the samples, for the manifest; JSON types.
    encoding : {"zlib", "raw"}
        Of the images: small, or quick to read.
    shard_bytes : int
        A new file is begun after this size [byte].
    overwrite : bool
        Replace a folder of records that is there.
    progress : callable, optional
        Called with the split and its number of examples so far, after each example.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If the folder is in the way or cannot be made, a sample breaks the contract, samples differ
        in frame or fields, a source is in two splits, or there are no samples at all.
    """
    folder = Path(folder).resolve()
    plain: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    if encoding not in ENCODINGS:
        raise InputError(f"encoding is {encoding!r}, expected one of {', '.join(ENCODINGS)}")
    for split in splits:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", split):
            raise InputError(f"{split!r} cannot name a split: use small letters, digits, _")
    with replacing(folder, overwrite=overwrite, ours=FILE) as partial:
        census = Census()
        written = {}
        for split, samples in splits.items():
            payloads = (
                encode_sample(sample, encoding=encoding)
                for sample in census.take(split, samples, progress)
            )
            shards = _write_shards(partial, split, payloads, shard_bytes)
            written[split] = Split(shards, census.sources(split))
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            created_by=f"xmm_jax {xmm_jax.__version__}",
            name=NAME,
            settings=plain,
            encoding=encoding,
            **census.common(folder),
            splits=written,
        )
        write_manifest(partial, manifest)
        write_tfds(partial, manifest)
    return manifest


class RecordSource:
    """Samples of one split by number; a grain ``RandomAccessDataSource``.

    Opening reads the record headers once; a sample is then one read, its checksum verified. Safe
    to use from any number of threads.

    Parameters
    ----------
    folder : path
        Written by `write_records`.
    split : str
        For example ``"train"``.
    fields : collection of str, optional
        Decode only these; all by default.

    Attributes
    ----------
    manifest : Manifest
        Of the folder.

    Raises
    ------
    InputError
        If the folder, its split or a shard is missing, empty, cut off or damaged.
    """

    def __init__(self, folder: Path | str, split: str, *, fields: Collection[str] | None = None):
        self.manifest = read_manifest(folder)
        self._folder, self._split = Path(folder), split
        present = self.manifest.fields
        self._fields = present if fields is None else tuple(f for f in present if f in fields)
        holds = {name: part.examples for name, part in self.manifest.splits.items()}
        if not holds.get(split):
            counts = ", ".join(f"{name} {n}" for name, n in holds.items())
            raise InputError(
                f"{folder}: no examples in split {split!r} (it holds {counts}); prepare more"
            )
        shards = self.manifest.splits[split].shards
        self._spans = [_open(self._folder / shard.file, shard) for shard in shards]
        self._ends = list(accumulate(shard.examples for shard in shards))

    def __len__(self) -> int:
        """Number of examples."""
        return self._ends[-1]

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        """Read one sample; its arrays are read-only."""
        number = range(len(self))[index]
        shard = bisect_right(self._ends, number)
        record = number - (self._ends[shard - 1] if shard else 0)
        path = self._folder / self.manifest.splits[self._split].shards[shard].file
        offset, length = self._spans[shard][record].tolist()
        try:
            return decode_sample(
                read(path, offset, length),
                fields=self._fields,
                frame=self.manifest.frame,
                upscale=self.manifest.upscale,
                encoding=self.manifest.encoding,
            )
        except (ValueError, OSError) as error:
            raise InputError(
                f"{path}: record {record} is corrupt: {error}; copy or prepare the records again"
            ) from None

    def __repr__(self) -> str:
        return f"RecordSource({str(self._folder)!r}, {self._split!r}, examples={len(self)})"


class Census:
    """What the samples written so far have in common, and which source is in which split."""

    def __init__(self) -> None:
        self._common: tuple[tuple[int, int], int, tuple[str, ...]] | None = None
        self._split_of: dict[str, str] = {}

    def take(
        self,
        split: str,
        samples: Iterable[Mapping[str, Any]],
        progress: Callable[[str, int], None] | None,
    ) -> Iterator[Mapping[str, Any]]:
        """Pass the samples of a split on, checked; progress is told the split and their number.

        Raises
        ------
        InputError
            If a sample is not like the others, or its source is in another split.
        """
        for count, sample in enumerate(samples, 1):
            check(sample)
            common = (*frame_of(sample), tuple(name for name in FIELDS if name in sample))
            self._common = self._common or common
            source = sample["source_id"]
            if common != self._common:
                raise InputError(
                    f"sample of source {source} has frame, upscale, fields {common}; "
                    f"the ones before it have {self._common}"
                )
            if self._split_of.setdefault(source, split) != split:
                raise InputError(
                    f"source {source} is in split {self._split_of[source]} and in {split}: "
                    "all examples of a source belong to one split"
                )
            yield sample
            if progress:
                progress(split, count)

    def sources(self, split: str) -> tuple[str, ...]:
        """Sources of a split, sorted."""
        return tuple(sorted(source for source, other in self._split_of.items() if other == split))

    def common(self, folder: Path) -> dict[str, Any]:
        """Frame, upscale and fields, for the manifest.

        Raises
        ------
        InputError
            If there was no sample.
        """
        if self._common is None:
            raise InputError(
                f"{folder}: nothing to write, no split has any sample; name more sources"
            )
        return dict(zip(("frame", "upscale", "fields"), self._common, strict=True))


def _write_shards(
    folder: Path, split: str, payloads: Iterator[bytes], limit: int
) -> tuple[Shard, ...]:
    shards: list[Shard] = []
    for first in payloads:
        name = f"{split}-{len(shards):05d}"
        shards.append(write_shard(folder / name, chain([first], payloads), limit))
    # Only now is it known how many there are, which TFDS wants in every name.
    for number, shard in enumerate(shards):
        name = f"{NAME}-{split}.tfrecord-{number:05d}-of-{len(shards):05d}"
        (folder / shard.file).rename(folder / name)
        shards[number] = Shard(name, shard.examples, shard.bytes, shard.sha256)
    return tuple(shards)


def write_shard(path: Path, payloads: Iterable[bytes], limit: int) -> Shard:
    """Write one file of records.

    Parameters
    ----------
    path : Path
        The file.
    payloads : iterable of bytes
        Encoded samples; none is taken once `limit` is reached.
    limit : int
        Size at which to stop [byte].

    Returns
    -------
    Shard
    """
    digest, examples, size = hashlib.sha256(), 0, 0
    with path.open("wb") as file:
        for payload in payloads:
            record = frame(payload)
            file.write(record)
            digest.update(record)
            examples, size = examples + 1, size + len(record)
            if size >= limit:
                break
    return Shard(path.name, examples, size, digest.hexdigest())


def _open(path: Path, shard: Shard) -> Any:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"{path}: missing; copy the folder again or run {PREPARE}") from None
    if size != shard.bytes:
        raise InputError(
            f"{path}: {size} bytes, {shard.bytes} in the manifest; "
            f"copy the folder again or run {PREPARE}"
        )
    spans = scan(path)
    if len(spans) != shard.examples:
        raise InputError(
            f"{path}: {len(spans)} records, {shard.examples} in the manifest; run {PREPARE} again"
        )
    return spans
