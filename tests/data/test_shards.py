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
from xmm_jax.data.shards import (
    Part,
    failures,
    finish,
    forget_notes,
    plan,
    unfinished,
    write_parts,
)
from xmm_jax.data.tfrecord import RecordSource, write_records
from xmm_jax.errors import InputError, RunError

SPLIT_OF = {f"source-{i}": "validation" if i in (2, 5) else "train" for i in range(9)}


def draw(make, name):
    yield make(int(name.split("-")[1]), source_id=name)


def draw_in_a_process(name):
    """As `draw`, to be found by name in another process."""
    from conftest import _sample

    return draw(_sample, name)


def draw_some_in_a_process(name):
    """4 fails after an example, 2 and 5 at once, 0 and 8 are empty: so are two of the shards."""
    number = int(name.split("-")[1])
    if number not in (0, 2, 5, 8):
        yield from draw_in_a_process(name)
    if number in (2, 4, 5):
        raise InputError(f"{name}: broken")


def die(name):
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
        split: [
            sample
            for name in SPLIT_OF
            if SPLIT_OF[name] == split
            for sample in draw(make_sample, name)
        ]
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


def full(make, name, room):
    if not room:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    room.pop()
    yield from draw(make, name)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_goes_on_after_an_interruption(prepare, tmp_path, make_sample, error):
    room = list(range(5))

    def stop(name):
        yield from full(make_sample, name, room)
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

    def count(name):
        drawn.append(name)
        return draw(make_sample, name)

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
    def wrong(name):
        yield make_sample(1, source_id=name, pairing="none")

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


def test_what_cannot_be_drawn_is_left_out_and_told(tmp_path, monkeypatch, make_sample):
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", here)
    monkeypatch.syspath_prepend(here)
    import test_shards

    parts = plan(SPLIT_OF, examples=3)
    for workers in (1, 2):
        folder, ticks = tmp_path / str(workers), []
        folder.mkdir()
        options = {"workers": workers, "tick": lambda ticks=ticks: ticks.append(0)}
        sampler = test_shards.draw_some_in_a_process
        with pytest.raises(InputError, match=r"^source-[24]: broken$"):
            write_parts(folder, parts, sampler, **options)
        ticks.clear()
        todo = unfinished(folder, parts)
        assert parts[3] in todo
        write_parts(folder, todo, sampler, forgive=True, **options)
        assert len(ticks) == sum(len(part.sources) for part in todo)
        assert failures(folder, parts) == {f"source-{i}": f"source-{i}: broken" for i in (4, 2, 5)}
        manifest = finish(folder, parts, settings={})
        assert [shard.file for shard in manifest.splits["train"].shards] == [
            "xmm-train.tfrecord-00000-of-00002",
            "xmm-train.tfrecord-00001-of-00002",
        ]
        assert manifest.splits["train"].source_ids == tuple(f"source-{i}" for i in (1, 3, 4, 6, 7))
        assert manifest.splits["validation"].shards == ()
        assert len(list(folder.glob("*.tfrecord-*"))) == 2
        ours = [RecordSource(folder, "train")[k]["source_id"] for k in range(5)]
        assert ours == [f"source-{i}" for i in (1, 3, 4, 6, 7)]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_nothing_at_all_leaves_nothing(tmp_path):
    parts = plan({"source-2": "train"})
    folder = tmp_path / "partial"
    folder.mkdir()

    def broken(name):
        raise InputError("no")

    write_parts(folder, parts, broken, forgive=True)
    assert failures(folder, parts) == {"source-2": "no"}
    with pytest.raises(InputError, match="nothing to write"):
        finish(folder, parts, settings={})
    assert not folder.exists()


def test_notes_are_json(prepare, tmp_path, make_sample):
    parts = plan(SPLIT_OF, examples=3)
    write_parts(tmp_path, parts[:1], functools.partial(draw, make_sample))
    note = json.loads(next((tmp_path / shards.NOTES).iterdir()).read_text())
    assert note["shard"]["examples"] == 3
    assert note["frame"] == {"frame": [12, 10], "upscale": 2, "fields": note["frame"]["fields"]}
