"""``dataset_info.json`` and ``features.json``, by which TensorFlow Datasets reads our folders.

Needs `tensorflow_datasets`, not TensorFlow. Under TensorFlow anyone can then say
``tfds.builder_from_directory(folder).as_dataset(split="train")``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.data.manifest import Manifest
from xmm_jax.data.schema import FIELDS, IMAGES, shape_of


def write_tfds(folder: Path, manifest: Manifest) -> None:
    """Write TFDS metadata beside the shards.

    Parameters
    ----------
    folder : Path
        Holds the shards named in `manifest`.
    manifest : Manifest
        Of the folder.
    """
    import tensorflow_datasets as tfds  # takes a second, and only writing needs it
    from etils import epath  # the paths of tensorflow_datasets

    template = tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(folder), dataset_name=manifest.name, filetype_suffix="tfrecord"
    )
    splits = [
        tfds.core.SplitInfo(
            name=name,
            shard_lengths=[shard.examples for shard in split.shards],
            num_bytes=sum(shard.bytes for shard in split.shards),
            filename_template=template.replace(split=name),
        )
        for name, split in manifest.splits.items()
        if split.shards
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features={name: _feature(name, manifest) for name in manifest.fields},
        split_infos=splits,
        version=f"{manifest.schema_version}.0.0",
        # True would import TensorFlow; tests/data/test_tfds.py reads the records with it instead.
        check_data=False,
        description=f"XMM-Newton EPIC-pn image pairs, written by {manifest.created_by}.",
    )


def _feature(name: str, manifest: Manifest) -> Any:
    import tensorflow_datasets as tfds

    field = FIELDS[name]
    unit = f" [{field.unit}]" if field.unit else ""
    if field.dtype == "str":
        return tfds.features.Text(doc=field.meaning)
    encoding = {"zlib": "zlib", "raw": "bytes"}[manifest.encoding] if name in IMAGES else "none"
    return tfds.features.Tensor(
        shape=shape_of(name, frame=manifest.frame, upscale=manifest.upscale),
        dtype=np.dtype(field.dtype).type,
        encoding=encoding,
        doc=field.meaning + unit,
    )
