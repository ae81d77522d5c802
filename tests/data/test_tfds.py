"""Our folders as `tensorflow_datasets` reads them, without TensorFlow and, where it is, with."""

from pathlib import Path

import numpy as np
import pytest

from xmm_jax.data.framing import read, scan
from xmm_jax.data.schema import FIELDS
from xmm_jax.data.tfrecord import RecordSource, write_records


@pytest.fixture(params=["zlib", "raw"])
def folder(request, tmp_path, make_sample):
    splits = {
        "train": [make_sample(i, background=True) for i in range(5)],
        "validation": [make_sample(6, background=True)],
        "test": [],
    }
    write_records(tmp_path / "r", splits, settings={}, encoding=request.param, shard_bytes=20_000)
    return tmp_path / "r"


def _same(sample, theirs):
    assert set(sample) == set(theirs) == set(FIELDS)
    for name, value in sample.items():
        if isinstance(value, str):
            assert theirs[name].decode() == value
        else:
            # Without TensorFlow, TFDS gives scalars as numbers of Python.
            their = np.asarray(theirs[name], None if value.shape else value.dtype)
            assert (their.dtype, their.shape) == (value.dtype, value.shape), name
            assert their.tobytes() == value.tobytes(), name


def test_metadata(folder):
    import tensorflow_datasets as tfds

    info = tfds.builder_from_directory(folder).info
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        "train": 5,
        "validation": 1,
    }
    for name, split in info.splits.items():
        source = RecordSource(folder, name)
        payloads = [read(p, *s) for p in map(Path, split.filepaths) for s in scan(p).tolist()]
        for payload, sample in zip(payloads, source, strict=True):
            _same(sample, info.features.deserialize_example_np(payload))


# TensorFlow and TFDS warn on import of things of their own.
@pytest.mark.filterwarnings("ignore")
def test_read_by_tensorflow(folder):
    pytest.importorskip("tensorflow", exc_type=ImportError)
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    for name in builder.info.splits:
        dataset = builder.as_dataset(split=name).as_numpy_iterator()
        for theirs, sample in zip(dataset, RecordSource(folder, name), strict=True):
            _same(sample, theirs)
