"""Records from files: resumable, by several processes, and what cannot be used is left out."""

import csv
import errno
import functools

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax import prepare
from xmm_jax.data.manifest import read_manifest
from xmm_jax.data.pairs import make_sample
from xmm_jax.data.sources import Source, common_sky
from xmm_jax.data.tfrecord import RecordSource
from xmm_jax.errors import InputError, RunError
from xmm_jax.records import write_source

THIRDS = (0.4, 0.3, 0.3)


def draw(names, drawn, stop):
    drawn.append(names)
    if len(drawn) == stop:
        raise KeyboardInterrupt
    for number, name in enumerate(names):
        if name == "broken":
            raise InputError("b.fits: broken, in one line")
        image = np.full((411, 403), number + 1)
        images = (image, image, image > 0) * 2
        yield make_sample(*images, source_id=names[0], obs_id=name, pairing="thinned")


def source(drawn, stop=0, items=(("a",), ("b", "b2", "broken"), ("c",), ("broken",))):
    draws = {names[0]: functools.partial(draw, names, drawn, stop) for names in items}
    return Source(draws, {name: name for name in draws}, failed={"d": "d.fits: short"}, pairs=32)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_cannot_be_used_is_in_a_table(tmp_path, capsys):
    manifest = write_source(tmp_path / "x", source([]), settings={}, fractions=THIRDS)
    assert sum(split.examples for split in manifest.splits.values()) == 4
    assert sorted(s for split in manifest.splits.values() for s in split.source_ids) == list("abc")
    with (tmp_path / "x" / "failed.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["item", "why"]
    assert dict(rows[1:]) == {
        "b": "b.fits: broken, in one line",
        "broken": "b.fits: broken, in one line",
        "d": "d.fits: short",
    }
    said = capsys.readouterr().out.splitlines()
    assert "left out: d: d.fits: short" in said
    assert said[-1] == "warning: 3 of 5 could not be used, or not in full; see failed.csv"
    for name, split in manifest.splits.items():  # a split that lost all of its sources is empty
        if split.examples:
            assert len(RecordSource(tmp_path / "x", name)) == split.examples


def test_nothing_usable_leaves_nothing(tmp_path):
    nothing = source([], items=(("broken",),))
    with pytest.raises(InputError, match="nothing to write"):
        write_source(tmp_path / "x", nothing, settings={})
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_at_the_end_costs_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("xmm_jax.records.finish", full)
    with pytest.raises(InputError, match="No space left on device; the shards are finished"):
        write_source(tmp_path / "x", source([]), settings={})
    monkeypatch.undo()
    drawn = []
    write_source(tmp_path / "x", source(drawn), settings={})
    assert not drawn


def test_an_interrupted_folder_is_used_again(tmp_path, capsys):
    file, drawn = tmp_path / "in" / "image.fits", []
    file.parent.mkdir()
    file.write_text("one")
    fixed = {"settings": {"n": 1}, "fractions": THIRDS, "paths": [file.parent]}
    out = tmp_path / "out" / "x"
    with pytest.raises(RunError, match="2 shards were finished and are kept, 2 are left"):
        write_source(out, source(drawn, stop=3), **fixed)
    (hidden,) = out.parent.iterdir()
    assert hidden.name.startswith(".x.")
    write_source(out, source(drawn), **fixed)
    assert "going on: 2 of 4 fields are there already" in capsys.readouterr().out
    assert len(drawn) == 3 + 2
    write_source(tmp_path / "straight", source([]), **fixed)
    assert contents(out) == contents(tmp_path / "straight")
    # Another content of the files makes another beginning.
    with pytest.raises(RunError, match="interrupted"):
        write_source(tmp_path / "out" / "y", source([], stop=3), **fixed)
    file.write_text("other")
    write_source(tmp_path / "out" / "y", source(drawn), **fixed)
    assert len(drawn) == 3 + 2 + 4


def test_common_sky_is_linked():
    nan = float("nan")
    pointings = {"d": (nan, nan), "c": (10.0, 0.9), "a": (10.0, 0.0), "b": (10.0, 0.45)}
    # 27 arcmin from one to the next is less than the field, 54 is more.
    assert common_sky(pointings) == {"a": "a", "b": "a", "c": "a", "d": "d"}
    assert common_sky({"b": (10.0, 60.0), "a": (10.9, 60.0)}) == {"a": "a", "b": "a"}
    assert common_sky({}) == {}


@pytest.fixture
def images(tmp_path):
    """A folder with images of any name of two observations, and a broken one."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in (1, 2):
        header = {"OBS_ID": f"{number:010d}", "EXPOSURE": 4e4, "RA_PNT": 40.0 * number}
        header |= {"DEC_PNT": 0.0, "INSTRUME": "EPN", "FILTER": "Thin1"}
        counts = rng.poisson(0.05, (411, 403)).astype(np.int32)
        fits.PrimaryHDU(counts, fits.Header(header)).writeto(folder / f"{number}.fits.gz")
    (folder / "broken.fits").write_bytes(b"SIMPLE")
    return folder


def test_thinned_images_by_several_processes(images, tmp_path, capsys):
    flags = ["--from=real", str(images), "--task=dn", "--pairing=thinned", "--n=12", "--test=0"]
    flags += ["--exposure_ks=5-100", "--validation=0.5"]
    for workers in (1, 2):
        prepare.main([*flags, f"--out={tmp_path / str(workers)}", f"--workers={workers}"])
        assert "12 train, 12 validation, 0 test" in capsys.readouterr().out
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    settings = read_manifest(tmp_path / "1").settings
    assert settings["exposure_ks"] == "5-100"
    assert not {"preset", "workers", "min_gti", "paths", "out"} & set(settings)
    records = RecordSource(tmp_path / "1", "train")
    times = [float(records[k]["exposure"].max()) for k in range(12)]
    assert len(set(times)) == 12
    assert 5e3 <= min(times) < 10e3
    assert 20e3 < max(times) <= 32e3
    assert "broken.fits" in (tmp_path / "1" / "failed.csv").read_text()
