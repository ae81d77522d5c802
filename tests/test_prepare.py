"""Records from each source, through the command; bad input in one line."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pps import Pointing, make_pps

from xmm_jax import prepare
from xmm_jax.data.manifest import read_manifest
from xmm_jax.data.tfrecord import RecordSource
from xmm_jax.flags import parse_flags


def fails(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        prepare.main(argv)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_bad_input_gives_one_line_and_no_folder(tmp_path, capsys):
    out = tmp_path / "records"
    empty = tmp_path / "empty"
    empty.mkdir()
    to = f"--out={out}"
    assert "--out" in fails(["--task=sr"], capsys)
    assert str(empty) in fails(["--from=sixte", str(empty), to], capsys)
    assert str(empty) in fails(["--from=real", str(empty), "--task=dn", to], capsys)
    assert "one folder, got 0" in fails(["--from=sixte", to], capsys)
    assert "dn only" in fails(["--from=real", str(empty), "--task=sr", to], capsys)
    assert "needs files" in fails(["--from=real", "--task=dn", to], capsys)
    for text in ("5-", "ten", "5-10-20"):
        assert "write 20, or a range" in fails([f"--exposure_ks={text}", to], capsys)
    assert "1 to 1000 ks" in fails(["--exposure_ks=100-5", to], capsys)
    assert "takes one exposure" in fails(["--exposure_ks=5-100", to], capsys)
    assert "reads no files" in fails([str(empty), to], capsys)
    assert "sum to 1" in fails(["--validation=0.8", "--test=0.8", to], capsys)
    assert list(tmp_path.iterdir()) == [empty]


def test_existing_records_are_kept(tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    fails([f"--out={out}", "--n=1", "--task=dn", "--overwrite"], capsys)
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.reference
@pytest.mark.parametrize("pairing", ["disjoint", "nested", "thinned"])
def test_real_images(shared, tmp_path, pairing):
    out = tmp_path / "real"
    root = str(shared / "data" / "real")
    prepare.main(["--from=real", root, "--task=dn", f"--pairing={pairing}", f"--out={out}"])
    manifest = read_manifest(out)
    assert manifest.upscale == 1
    assert sum(split.examples for split in manifest.splits.values()) >= 3
    for split in manifest.splits:
        sample = RecordSource(out, split)[0]
        assert sample["counts"].shape == (416, 416, 1)
        assert sample["target"].sum() > 0
        if pairing != "nested":
            assert sample["pairing"] == pairing


def test_event_lists_of_many_observations(tmp_path, capsys):
    """The dataset of Sweere et al. 2022, appendix A: pieces of 10, 20 ... ks, split 70/15/15."""
    root, out = tmp_path / "archive", tmp_path / "records"
    options = {"decoys": False, "short_s": 0.0, "rate": 0.3, "exposure_s": 30_000.0}
    for number in range(1, 6):
        where, obs_id = root / f"{number:010d}", f"{number:010d}"
        pointing = Pointing(40.0 * number, 0.0)
        make_pps(where, obs_id=obs_id, pointing=pointing, light_curves=number < 5, **options)
    flags = ["--from=events", str(root), "--task=dn", "--exposure_ks=5-20", f"--out={out}"]
    prepare.main([*flags, "--validation=0.15", "--test=0.15", "--min-gti=50"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("left out: 0000000005: ")
    assert "no flare light curve" in said[0]
    assert said[1] == "warning: 1 of 5 could not be used, or not in full; see failed.csv"
    assert (out / "failed.csv").read_text().splitlines()[1].startswith("0000000005,")
    manifest = read_manifest(out)
    assert manifest.settings["from"] == "events"
    assert manifest.settings["min_gti"] == 50
    assert "preset" not in manifest.settings
    # 26.7 ks are quiet: two pieces of 10 and one of 20 ks of each of the four.
    seen = []
    for name, split in manifest.splits.items():
        records = RecordSource(out, name)
        assert split.examples == 3 * len(split.source_ids)
        for k in range(len(records)):
            sample = records[k]
            assert sample["pairing"] == "disjoint"
            assert sample["counts"].shape == sample["target"].shape == (416, 416, 1)
            assert min(sample["counts"].sum(), sample["target"].sum()) > 500
            seen.append((sample["obs_id"], round(sample["exposure"].max(), -2)))
    pieces = (1e4, 1e4, 2e4)
    assert sorted(seen) == [(f"{k:010d}", piece) for k in range(1, 5) for piece in pieces]


def test_no_usable_observation_leaves_nothing(tmp_path, capsys):
    root, out = tmp_path / "archive", tmp_path / "out" / "records"
    options = {"decoys": False, "short_s": 0.0, "rate": 0.3, "exposure_s": 3000.0}
    make_pps(root, obs_id="0000000001", **options)
    with pytest.raises(SystemExit) as caught:
        prepare.main(["--from=events", str(root), "--task=dn", f"--out={out}"])
    assert caught.value.code == 2
    said = capsys.readouterr()
    assert "too short for disjoint pairs" in said.out
    assert "nothing to write" in said.err.splitlines()[-1]
    assert not list(out.parent.iterdir())


def test_commands_of_the_page_have_flags_that_exist():
    page = (Path(__file__).parents[1] / "docs" / "pairs.md").read_text()
    commands = re.findall(r"^xmm-jax prepare (.*?)(?:#.*)?$", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        parse_flags(prepare.PrepareConfig(), command.split(), verb="prepare", description="")


@pytest.mark.reference
@pytest.mark.parametrize("task", ["sr", "dn"])
def test_sixte_components(shared, tmp_path, task):
    out = tmp_path / "sixte"
    root = str(shared / "data" / "sim")
    prepare.main(["--from=sixte", root, f"--task={task}", "--n=2", f"--out={out}"])
    manifest = read_manifest(out)
    assert [split.examples for split in manifest.splits.values()] == [2, 2, 2]
    sample = RecordSource(out, "train")[0]
    upscale = {"sr": 2, "dn": 1}[task]
    assert sample["target"].shape == (416 * upscale, 416 * upscale, 1)
    # The target sees about as many counts a second of the same sources; background aside.
    ratio = sample["target"].sum() / sample["target_exposure"].max()
    ratio /= sample["counts"].sum() / sample["exposure"].max()
    assert 0.4 < ratio < 1.1
    assert np.all(sample["counts"][~sample["valid"]] == 0)


def test_bad_simulations_give_one_line_and_no_folder(tmp_path, capsys):
    to = f"--out={tmp_path / 'records'}"
    assert "exposures are 1 to 1000 ks" in fails(["--exposure_ks=0.2", to], capsys)
    assert "--n must not be negative" in fails(["--n=-1", to], capsys)
    assert "--workers must not be negative" in fails(["--workers=-1", to], capsys)
    assert "--min_gti=-1: give seconds" in fails(["--min_gti=-1", to], capsys)
    assert "reference sky" in fails(["--preset=reference", "--varied", to], capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_interrupted_workers_lose_no_finished_shard(tmp_path):
    # Whoever starts the tests in the background has them ignore SIGINT, and so would the child.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from xmm_jax.prepare import main; main()"
    )
    command = [sys.executable, "-c", program, "--task=dn", "--n=40", "--workers=2"]
    out = tmp_path / "records"
    # A session of its own, as a terminal gives it: the interrupt reaches the workers as well.
    first = subprocess.Popen(
        [*command, f"--out={out}"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(tmp_path.glob(".records.*.partial/parts/*.json")) and first.poll() is None:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGINT)
    message = first.communicate()[1].splitlines()[-1]
    assert first.returncode == 1
    assert "interrupted" in message
    assert "kept" in message
    assert not out.exists()
    (partial,) = tmp_path.iterdir()
    kept = {path.stem: (partial / path.stem).stat() for path in (partial / "parts").iterdir()}
    assert kept
    done = subprocess.run(
        [*command, f"--out={out}"], capture_output=True, text=True, check=True
    ).stdout
    assert "fields are there already" in done
    for name, before in kept.items():  # not written anew
        assert (out / name).stat().st_mtime_ns == before.st_mtime_ns
    assert list(tmp_path.iterdir()) == [out]
    other = tmp_path / "other"
    prepare.main(["--task=dn", "--n=40", "--workers=1", f"--out={other}"])
    for path in out.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name
