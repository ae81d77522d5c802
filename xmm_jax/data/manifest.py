"""``manifest.json``: what a folder of records holds, and from what it was made."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xmm_jax.data.codec import ENCODINGS, Encoding
from xmm_jax.data.schema import SCHEMA_VERSION
from xmm_jax.errors import InputError

FILE = "manifest.json"
PREPARE = "python -m xmm_jax.prepare"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file.

    Attributes
    ----------
    file : str
        Name inside the folder.
    examples : int
        Number of records.
    bytes : int
        Size of the file.
    sha256 : str
        Of the file, as ``sha256sum`` prints it.
    """

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: its files in order, and the ``source_ids`` in it, sorted."""

    shards: tuple[Shard, ...]
    source_ids: tuple[str, ...]

    @property
    def examples(self) -> int:
        """Number of examples in all shards."""
        return sum(shard.examples for shard in self.shards)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Contents of a folder of records. Equal manifests mean equal data: there is no time stamp.

    Attributes
    ----------
    schema_version : int
        `xmm_jax.data.schema.SCHEMA_VERSION` of the writer.
    created_by : str
        Program and version.
    name : str
        Data set name: the first part of the shard names.
    settings : dict
        What `prepare` was asked for, JSON types only.
    encoding : str
        Of the images: zlib or raw.
    frame : tuple of int
        Input frame (y, x) [pixel], the same for all examples.
    upscale : int
        Target pixels per input pixel along one axis.
    fields : tuple of str
        Fields every example has.
    splits : dict
        Split name to `Split`.
    """

    schema_version: int
    created_by: str
    name: str
    settings: dict[str, Any]
    encoding: Encoding
    frame: tuple[int, int]
    upscale: int
    fields: tuple[str, ...]
    splits: Mapping[str, Split]


def read_manifest(folder: Path | str) -> Manifest:
    """Manifest of a folder of records, or the copy of it in a run folder.

    Parameters
    ----------
    folder : path
        Holds ``manifest.json``.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        If there is none, it is not ours, or of another schema version.
    """
    path = Path(folder) / FILE
    try:
        values = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder}: not a folder of records (no {FILE}); make one with {PREPARE} --out {folder}"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run {PREPARE} again") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path}: not a manifest of records; name a folder written by {PREPARE}")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: records of schema version {version}, this program reads {SCHEMA_VERSION}; "
            f"run {PREPARE} again"
        )
    try:
        return _parse(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); run {PREPARE} again") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into a folder."""
    (folder / FILE).write_text(json.dumps(dataclasses.asdict(manifest), indent=1) + "\n")


def _parse(values: dict[str, Any]) -> Manifest:
    y, x = values["frame"]
    splits = {
        name: Split(tuple(Shard(**shard) for shard in split["shards"]), tuple(split["source_ids"]))
        for name, split in values["splits"].items()
    }
    if values["encoding"] not in ENCODINGS:
        raise ValueError(f"encoding {values['encoding']}")
    parsed = {"frame": (y, x), "fields": tuple(values["fields"]), "splits": splits}
    return Manifest(**(values | parsed))
