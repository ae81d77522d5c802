import json

import pytest

from xmm_jax.data.manifest import Manifest, Shard, Split, read_manifest, write_manifest
from xmm_jax.errors import InputError

MANIFEST = Manifest(
    schema_version=1,
    created_by="xmm_jax test",
    name="xmm",
    settings={"task": "sr", "fractions": [0.8, 0.2]},
    encoding="zlib",
    frame=(12, 10),
    upscale=2,
    fields=("counts", "target"),
    splits={
        "train": Split((Shard("a", 4, 100, "00"), Shard("b", 3, 90, "11")), ("x", "y")),
        "test": Split((), ()),
    },
)


def test_round_trip(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == read_manifest(str(tmp_path)) == MANIFEST
    assert [split.examples for split in MANIFEST.splits.values()] == [7, 0]


@pytest.mark.parametrize("name", ["", "missing", "file"])
def test_no_manifest(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"no manifest.json\); make one with .*prepare --out"):
        read_manifest(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ('{"schema_version": 1', "cannot be read"),
        ("[]", "not a manifest"),
        ("{}", "not a manifest"),
        ('{"schema_version": 0}', "schema version 0, this program reads 1"),
        ('{"schema_version": 2}', "schema version 2, this program reads 1"),
        ('{"schema_version": 1}', "damaged"),
    ],
)
def test_not_ours(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("frame", [1]), ("splits", {"train": 3}), ("encoding", "gzip"), ("new", 1)]
)
def test_damaged(tmp_path, key, value):
    write_manifest(tmp_path, MANIFEST)
    values = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(values | {key: value}))
    with pytest.raises(InputError, match="damaged"):
        read_manifest(tmp_path)
