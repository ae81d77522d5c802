"""Records made shard by shard: the same bytes whoever makes them, and nothing finished is lost."""

import errno
import functools
import itertools
import json
import os
from pathlib import Path

import pytest

from xmm_jax.data import shards
from xmm_jax.data.folder import replacing
from xmm_jax.data.manifest import FILE
from xmm_jax.data.shards import Part, finish, forget_notes, plan, unfinished, write_parts
from xmm_jax.data.tfrecord import RecordSource, write_records
from xmm_jax.errors import InputError, RunError

SPLIT_OF = {f"source-{i}": "validation" if i in (2, 5) else "train" for i in range(9)}


def draw(make, names):
    for name in names:
        yield make(int(name.split("-")[1]), source_id=name)


def draw_in_a_process(names):
    """As `draw`, to be found by name in another process."""
    from conftest import _sample

    return draw(_sample, names)


def die(names):
    os._exit(7)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def prepare(tmp_path, make_sample):
    def prepare(name="records", sampler=None, **settings):
        parts = plan(SPLIT_OF, examples=3)
        sampler = sampler or functools.partial(draw, make_sample)
        folder = tmp_path / name
        with replacing(folder, overwrite=False, ours=FILE, resume="abc") as partial:
            todo = unfinished(partial, parts)
            write_parts(partial, todo, sampler, **settings)
            finish(partial, parts, settings={"n": 9})
        forget_notes(folder)
        return todo

    return prepare


def test_plan_divides_every_split_in_order():
    parts = plan(SPLIT_OF, examples=3)
    assert [(part.split, part.number, part.of, len(part.sources)) for part in parts] == [
        ("train", 0, 3, 3),
        ("train", 1, 3, 3),
        ("train", 2, 3, 1),
        ("validation", 0, 1, 2),
    ]
    assert list(itertools.chain(*(part.sources for part in parts[:3]))) == [
        name for name in SPLIT_OF if SPLIT_OF[name] == "train"
    ]
    assert plan({}) == []
    assert Part("train", 1, 12, ()).file == "xmm-train.tfrecord-00001-of-00012"


def test_same_as_records_written_in_one_go(prepare, tmp_path, make_sample):
    ticks = []
    assert prepare(tick=lambda: ticks.append(0)) == plan(SPLIT_OF, examples=3)
    assert len(ticks) == 9
    splits = {
        split: draw(make_sample, [name for name in SPLIT_OF if SPLIT_OF[name] == split])
        for split in ("train", "validation", "test")
    }
    write_records(tmp_path / "whole", splits, settings={"n": 9}, shard_bytes=10**9)
    for split, count in (("train", 7), ("validation", 2)):
        ours = RecordSource(tmp_path / "records", split)
        whole = RecordSource(tmp_path / "whole", split)
        assert len(ours) == len(whole) == count
        files = [
            b"".join(path.read_bytes() for path in sorted((tmp_path / name).glob(f"*-{split}.*")))
            for name in ("records", "whole")
        ]
        assert files[0] == files[1]
        assert ours.manifest.splits[split].source_ids == whole.manifest.splits[split].source_ids
    assert {path.name for path in tmp_path.iterdir()} == {"records", "whole"}
    assert not [path for path in (tmp_path / "records").iterdir() if path.is_dir()]


def full(make, names, room):
    for sample in draw(make, names):
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room.pop()
        yield sample


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_goes_on_after_an_interruption(prepare, tmp_path, make_sample, error):
    room = list(range(5))

    def stop(names):
        for sample in full(make_sample, names, room):
            yield sample
            if error is KeyboardInterrupt and not room:
                raise KeyboardInterrupt

    message = "No space left" if error is OSError else "interrupted"
    with pytest.raises((InputError, RunError), match=message) as caught:
        prepare(sampler=stop)
    assert "1 shards were finished and are kept, 3 are left" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [".records.abc.partial"]
    assert not list(tmp_path.glob("*/*.tmp"))
    drawn = []

    def count(names):
        drawn.extend(names)
        return draw(make_sample, names)

    assert len(prepare(sampler=count)) == 3
    assert len(drawn) == 6
    prepare("straight")
    assert contents(tmp_path / "records") == contents(tmp_path / "straight")


def test_only_whole_shards_of_the_same_sources_are_kept(tmp_path, make_sample):
    parts = plan(SPLIT_OF, examples=3)
    write_parts(tmp_path, parts, functools.partial(draw, make_sample))
    assert unfinished(tmp_path, parts) == []
    first = tmp_path / parts[0].file
    first.write_bytes(first.read_bytes()[:-1])
    (tmp_path / parts[1].file).unlink()
    (tmp_path / "parts" / f"{parts[2].file}.json").write_text("{")
    assert unfinished(tmp_path, parts) == parts[:3]
    other = Part("validation", 0, 1, ("source-2", "source-7"))
    assert unfinished(tmp_path, [other]) == [other]
    with pytest.raises(InputError, match="shards missing"):
        finish(tmp_path, parts, settings={})


def test_a_sample_that_breaks_the_contract(prepare, make_sample, tmp_path):
    def wrong(names):
        return (make_sample(1, source_id=name, pairing="none") for name in names)

    with pytest.raises(InputError, match="pairing is 'none'"):
        prepare(sampler=wrong)
    assert not (tmp_path / "records").exists()


def test_workers_write_the_same_bytes(prepare, tmp_path, monkeypatch):
    # Found in the other processes as a module, which pytest's importlib mode does not make of it.
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", here)
    monkeypatch.syspath_prepend(here)
    import test_shards

    ticks = []

    sampler = test_shards.draw_in_a_process
    prepare("many", sampler=sampler, workers=2, tick=lambda: ticks.append(0))
    assert len(ticks) == 9
    prepare("one")
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    with pytest.raises(RunError, match=r"worker process died \(exit code 7\).*kept"):
        prepare("dead", sampler=test_shards.die, workers=2)


def test_notes_are_json(prepare, tmp_path, make_sample):
    parts = plan(SPLIT_OF, examples=3)
    write_parts(tmp_path, parts[:1], functools.partial(draw, make_sample))
    note = json.loads(next((tmp_path / shards.NOTES).iterdir()).read_text())
    assert note["shard"]["examples"] == 3
    assert note["frame"] == {"frame": [12, 10], "upscale": 2, "fields": note["frame"]["fields"]}
