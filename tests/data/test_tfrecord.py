import hashlib
import json
import weakref

import grain
import numpy as np
import pytest
from grain.sources import RandomAccessDataSource

import xmm_jax
from xmm_jax.data.framing import FOOTER, HEADER
from xmm_jax.data.manifest import read_manifest
from xmm_jax.data.tfrecord import RecordSource, write_records
from xmm_jax.errors import InputError

SETTINGS = {"task": "sr", "fractions": (0.8, 0.2)}


def _files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def write(tmp_path, make_sample):
    """Write a small folder of records: 7 for training in 2 files, 2 for validation."""

    def write(name="records", *, encoding="zlib", **changes):
        splits = {
            "train": (make_sample(i, **changes) for i in range(7)),
            "validation": (make_sample(i, **changes) for i in (8, 9)),
        }
        folder = tmp_path / name
        write_records(folder, splits, settings=SETTINGS, encoding=encoding, shard_bytes=20_000)
        return folder

    return write


@pytest.mark.parametrize("encoding", ["zlib", "raw"])
@pytest.mark.parametrize("upscale", [1, 2])
def test_round_trip(write, make_sample, equal, encoding, upscale):
    folder = write(encoding=encoding, upscale=upscale, background=True)
    source = RecordSource(folder, "train")
    assert len(source) == 7
    for i in (6, 0, 3, np.int64(5)):
        assert equal(make_sample(int(i), upscale=upscale, background=True), source[i])
    assert [sample["source_id"] for sample in source] == [f"source-{i}" for i in range(7)]
    assert equal(
        make_sample(9, upscale=upscale, background=True), RecordSource(folder, "validation")[-1]
    )
    with pytest.raises(IndexError):
        source[7]


def test_only_some_fields(write):
    assert set(RecordSource(write(), "train", fields=("counts", "obs_id", "background"))[0]) == {
        "counts",
        "obs_id",
    }


def test_manifest(write):
    folder = write()
    manifest = read_manifest(folder)
    assert (manifest.frame, manifest.upscale, manifest.encoding) == ((12, 10), 2, "zlib")
    assert manifest.settings == {"task": "sr", "fractions": [0.8, 0.2]}
    assert manifest.created_by == f"xmm_jax {xmm_jax.__version__}"
    assert "background" not in manifest.fields
    assert {name: split.examples for name, split in manifest.splits.items()} == {
        "train": 7,
        "validation": 2,
    }
    assert manifest.splits["validation"].source_ids == ("source-8", "source-9")
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    assert [shard.file for shard in shards] == [
        "xmm-train.tfrecord-00000-of-00002",
        "xmm-train.tfrecord-00001-of-00002",
        "xmm-validation.tfrecord-00000-of-00001",
    ]
    files = _files(folder)
    assert set(files) == {s.file for s in shards} | {
        "manifest.json",
        "dataset_info.json",
        "features.json",
    }
    for shard in shards:
        assert shard.bytes == len(files[shard.file])
        assert shard.sha256 == hashlib.sha256(files[shard.file]).hexdigest()


def test_same_input_gives_same_bytes(write):
    assert _files(write("one")) == _files(write("other"))


def test_other_input_gives_other_manifest(write):
    one, other = read_manifest(write("one")), read_manifest(write("other", target_kind="observed"))
    assert one != other
    assert one == read_manifest(write("again"))


def test_holds_one_sample_at_a_time(tmp_path, make_sample):
    alive = weakref.WeakSet()
    most = 0

    class Sample(dict):
        __hash__ = object.__hash__

    def samples():
        nonlocal most
        for i in range(9):
            sample = Sample(make_sample(i))
            alive.add(sample)
            yield sample
            del sample
            most = max(most, len(alive))

    write_records(tmp_path / "records", {"train": samples()}, settings={})
    assert most <= 2


def test_progress(tmp_path, make_sample):
    calls = []
    write_records(
        tmp_path / "records",
        {"train": [make_sample(0), make_sample(1)], "test": [], "validation": [make_sample(2)]},
        settings={},
        progress=lambda *call: calls.append(call),
    )
    assert calls == [("train", 1), ("train", 2), ("validation", 1)]
    with pytest.raises(InputError, match=r"'test' \(it holds train 2, test 0, validation 1\)"):
        RecordSource(tmp_path / "records", "test")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_write_leaves_nothing(tmp_path, make_sample, error):
    def samples():
        yield make_sample(0)
        raise error

    with pytest.raises(error):
        write_records(tmp_path / "records", {"train": samples()}, settings={})
    assert list(tmp_path.iterdir()) == []


def test_overwrite(write, tmp_path, make_sample):
    folder = write()
    before = _files(folder)
    splits = {"train": [make_sample(3)]}
    with pytest.raises(InputError, match="exists already"):
        write_records(folder, splits, settings={})
    assert _files(folder) == before
    write_records(folder, splits, settings={}, overwrite=True)
    assert len(RecordSource(folder, "train")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": [{}], "test": [{}]}, "source-0 is in split train and in test"),
        ({"train": [{}, {"number": 1, "frame": (12, 12)}]}, "source-1 has frame"),
        ({"train": [{}, {"number": 1, "upscale": 1}]}, "source-1 has frame"),
        ({"train": [{}, {"number": 1, "background": True}]}, "source-1 has frame"),
        ({"train": [{"camera": 3}]}, "source-0, observation 0000000000: camera is 3"),
        ({"train": [], "test": []}, "no split has any sample"),
        ({}, "no split has any sample"),
        ({"Train set": []}, "cannot name a split"),
    ],
)
def test_refused_samples_leave_nothing(tmp_path, make_sample, splits, message):
    made = {name: [make_sample(**s) for s in samples] for name, samples in splits.items()}
    with pytest.raises(InputError, match=message) as error:
        write_records(tmp_path / "records", made, settings={})
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_one_source_may_have_many_examples(tmp_path, make_sample):
    samples = [make_sample(i, source_id="A426") for i in range(3)]
    write_records(tmp_path / "records", {"train": samples}, settings={})
    assert read_manifest(tmp_path / "records").splits["train"].source_ids == ("A426",)


def test_unknown_encoding(tmp_path, make_sample):
    with pytest.raises(InputError, match="encoding is 'gzip'"):
        write_records(tmp_path / "r", {"train": [make_sample()]}, settings={}, encoding="gzip")


def _damage(path, at, value=None):
    content = bytearray(path.read_bytes())
    content[at] = content[at] ^ 1 if value is None else value
    path.write_bytes(content)


def test_corrupt_record_is_named(write):
    folder = write()
    path = folder / "xmm-train.tfrecord-00001-of-00002"
    first = read_manifest(folder).splits["train"].shards[0].examples
    _damage(path, -FOOTER - 40)  # in the payload of the last record
    source = RecordSource(folder, "train")
    source[0]
    with pytest.raises(InputError) as error:
        source[6]
    assert str(error.value).startswith(f"{path}: record {6 - first} is corrupt: its checksum")
    _damage(path, HEADER - 1)  # the checksum of the length of the first record
    with pytest.raises(InputError, match=r"00001-of-00002: record 0 is corrupt"):
        RecordSource(folder, "train")


def test_truncated_and_missing_shards(write):
    folder = write()
    path = folder / "xmm-train.tfrecord-00001-of-00002"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"00001-of-00002: \d+ bytes, \d+ in the manifest"):
        RecordSource(folder, "train")
    path.unlink()
    with pytest.raises(InputError, match=r"00001-of-00002: missing"):
        RecordSource(folder, "train")
    RecordSource(folder, "validation")


def test_shard_that_is_not_the_one_in_the_manifest(write):
    folder = write()
    values = json.loads((folder / "manifest.json").read_text())
    values["splits"]["train"]["shards"][0]["examples"] += 1
    (folder / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"\d records, \d in the manifest"):
        RecordSource(folder, "train")


def test_other_schema_version(write):
    folder = write()
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(values | {"schema_version": 99}))
    with pytest.raises(InputError, match="schema version 99"):
        RecordSource(folder, "train")


def test_unknown_split_and_folder(write, tmp_path):
    with pytest.raises(InputError, match=r"'dev' \(it holds train 7, validation 2\)"):
        RecordSource(write(), "dev")
    with pytest.raises(InputError, match=r"python -m xmm_jax\.prepare"):
        RecordSource(tmp_path, "train")


def test_is_a_source_for_grain(write):
    source = RecordSource(write(), "train")
    assert isinstance(source, RandomAccessDataSource)
    assert repr(source).endswith("records', 'train', examples=7)")
    shuffled = grain.MapDataset.source(source).shuffle(seed=3)
    assert {sample["source_id"] for sample in shuffled} == {f"source-{i}" for i in range(7)}
