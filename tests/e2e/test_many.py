"""Folders of images: each done once, what fails is named, a second run goes on."""

import os
import shutil
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from astropy.io import fits

from xmm_jax import enhance
from xmm_jax.config import NetworkConfig
from xmm_jax.model import Model, make_network, save_model
from xmm_jax.models import init
from xmm_jax.status import DONE, FAILED, THERE, read

SHAPES = (64, 64), (50, 71), (64, 90)
GOOD, BAD = 9, 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained network: what it says does not matter here."""
    config = NetworkConfig(size="tiny", stretch="counts", unshuffle=2)
    network, scale = make_network("dn", config)
    folder = tmp_path_factory.mktemp("model") / "dn"
    save_model(folder, Model("dn", network, init(jax.random.key(0), network, 2), scale, {}))
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Good images of three shapes and broken ones, in folders."""
    folder = tmp_path_factory.mktemp("archive")
    for k in range(GOOD):
        image = fits.PrimaryHDU(np.random.default_rng(k).poisson(1.0, SHAPES[k % 3]).astype("i2"))
        image.header["EXPOSURE"] = 2e4
        name = f"deep/good{k} Ærø.fits.gz" if k % 2 else f"good{k}.fits"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        image.writeto(path)
    whole = (folder / "good0.fits").read_bytes()
    (folder / "bad0.fits").write_bytes(whole[: len(whole) // 2])
    (folder / "bad1.fits").write_text("no FITS file")
    (folder / "bad2.fits.gz").write_bytes(b"")
    fits.PrimaryHDU(np.ones((64, 64))).writeto(folder / "bad3.fits")  # no exposure
    fits.PrimaryHDU(np.full((64, 64), np.nan)).writeto(folder / "bad4.fits")
    (folder / "notes.txt").write_text("nothing to do with it")
    return folder


@pytest.fixture
def copy(archive, tmp_path):
    return shutil.copytree(archive, tmp_path / "archive")


def run(folder, model, *flags):
    words = [str(folder), f"--model={model}", "--force", "--no-support", *flags]
    with pytest.raises(SystemExit) as left:
        enhance.main(words)
    return left.value.code


def results(folder):
    return sorted(folder.rglob("*_DN.fits.gz"))


def test_a_folder_is_done_once_and_what_fails_is_named(copy, model, capsys):
    assert run(copy, model) == 2
    said = capsys.readouterr()
    assert f"{BAD} of {GOOD + BAD} failed" in said.err
    rows = read(copy / "enhance_status.csv")
    assert len(rows) == GOOD + BAD
    assert {Path(name).name for (name, _), row in rows.items() if row.status == FAILED} == {
        "bad0.fits", "bad1.fits", "bad2.fits.gz", "bad3.fits", "bad4.fits",
    }  # fmt: skip
    for (name, task), row in rows.items():
        assert task == "dn"
        assert (row.reason == "") is (row.status == DONE)
        assert row.status == DONE or Path(name).name in row.reason
    made = results(copy)
    assert len(made) == GOOD
    before = {path: path.stat().st_mtime_ns for path in made}
    # Once more: nothing is made again, what failed is tried again and named again.
    assert run(copy, model) == 2
    assert {path: path.stat().st_mtime_ns for path in results(copy)} == before
    assert f"{GOOD} there, {BAD} failed" in capsys.readouterr().out
    again = read(copy / "enhance_status.csv")
    assert sum(row.status == FAILED for row in again.values()) == BAD
    assert sum(row.status in (DONE, THERE) for row in again.values()) == GOOD


def test_what_changed_is_made_again(copy, model):
    run(copy, model)
    one, other = results(copy)[:2]
    before = {path: path.read_bytes() for path in results(copy)}
    later = time.time() + 10
    source = next(path for path in copy.rglob("good0.fits"))
    os.utime(source, (later, later))
    one_of_source = copy / "good0_DN.fits.gz"
    marks = {path: path.stat().st_mtime_ns for path in results(copy)}
    run(copy, model)
    changed = {p for p in results(copy) if p.stat().st_mtime_ns != marks[p]}
    assert changed == {one_of_source}
    assert one_of_source.read_bytes() == before[one_of_source]
    # A result that is torn, and other settings.
    other.write_bytes(before[other][:500])
    run(copy, model)
    assert other.read_bytes() == before[other]
    marks = {path: path.stat().st_mtime_ns for path in results(copy)}
    run(copy, model, "--no-resume")
    assert all(path.stat().st_mtime_ns != marks[path] for path in results(copy))
    assert one.exists()


def test_together_and_alone_give_the_same_bytes(copy, model, tmp_path):
    run(copy, model, f"--out={tmp_path / 'together'}", "--together=4")
    for path in sorted(copy.rglob("good*")):
        place = path.parent.relative_to(copy)
        flags = ["--force", "--no-support", f"--model={model}"]
        enhance.main([str(path), *flags, f"--out={tmp_path / 'alone' / place}"])
    one, other = (results(tmp_path / name) for name in ("together", "alone"))
    assert len(one) == GOOD
    for first, second in zip(one, other, strict=True):
        assert first.relative_to(tmp_path / "together") == second.relative_to(tmp_path / "alone")
        with fits.open(first) as a, fits.open(second) as b:
            np.testing.assert_allclose(a[0].data, b[0].data, rtol=1e-5, atol=1e-12)


def test_processes_share_a_folder(copy, model, tmp_path):
    for part in ("1/3", "2/3", "3/3"):
        run(copy, model, f"--out={tmp_path / 'out'}", f"--shard={part}")
    assert len(results(tmp_path / "out")) == GOOD
    tables = sorted((tmp_path / "out").glob("enhance_status_*.csv"))
    assert len(tables) == 3
    assert sum(len(read(table)) for table in tables) == GOOD + BAD


def test_all_good_is_no_failure(copy, model):
    for path in copy.rglob("bad*"):
        path.unlink()
    enhance.main([str(copy), f"--model={model}", "--force", "--no-support"])
    assert len(results(copy)) == GOOD


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shard=3/2"], "say i/n"),
        (["--together=-1"], "--together must be 0 or more"),
        (["--task=both"], "leave --model away"),
        (["--out={folder}/bad1.fits/x"], "cannot be written"),
    ],
)
def test_what_cannot_be(copy, model, flags, message, capsys):
    assert run(copy, model, *(flag.format(folder=copy) for flag in flags)) == 2
    assert message in capsys.readouterr().err
