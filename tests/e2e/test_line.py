"""The whole line on a small scale: simulate, prepare, train, stop, resume, export, enhance."""

import json
import shutil

import jax
import numpy as np
import pytest
from astropy.io import fits
from jax import export as jax_export

import xmm_jax
from xmm_jax import enhance, export, prepare, simulate, train
from xmm_jax.log import read_metrics

# 4 fields in all on 4 virtual devices; a crop of 104 is what the tiny preset uses.
FLAGS = [
    "--task=sr",
    "--preset=tiny",
    "--optim.schedule=constant",
    "--eval_every=2",
    "--log_every=1",
]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records") / "sr"
    prepare.main(["--task=sr", "--n=4", f"--out={folder}", "--validation=0.25", "--test=0"])
    return folder


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train.main([*FLAGS, f"--data={records}", f"--run={folder}", "--steps=4"])
    return folder


def weights(path):
    return jax.tree.leaves(xmm_jax.load_model(path).params)


def fails(main, argv, capsys, code=2):
    """The one line that a command prints when it fails."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == code
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("xmm-jax ")
    return message


def test_a_run_folder_says_all(run, records):
    assert json.loads((run / "config.json").read_text())["task"] == "sr"
    assert (run / "manifest.json").read_bytes() == (records / "manifest.json").read_bytes()
    rows = read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows if row["split"] == "train"] == [1, 2, 3, 4]
    validation = [row for row in rows if row["split"] == "validation"]
    assert [row["step"] for row in validation] == [0, 2, 4]
    assert len({row["input/PSNR"] for row in validation}) == 1
    assert len({row["prediction/PSNR"] for row in validation}) == 3
    assert {path.name for path in (run / "checkpoints").iterdir()} <= {"0", "2", "4"}


def test_stopped_and_resumed_is_the_same_to_the_last_bit(run, records, tmp_path, capsys):
    folder = tmp_path / "halves"
    flags = [*FLAGS, f"--data={records}", f"--run={folder}"]
    train.main([*flags, "--steps=2"])
    train.main([*flags, "--steps=4"])
    assert "going on from step 2" in capsys.readouterr().out
    for whole, halves in zip(weights(run), weights(folder), strict=True):
        np.testing.assert_array_equal(whole, halves)
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows if row["split"] == "train"] == [1, 2, 3, 4]
    # Once more with nothing left to do.
    train.main([*flags, "--steps=4"])
    assert "best step" in capsys.readouterr().out


@pytest.mark.slow  # test_parallel.py asks for the same of one step
def test_shard_map_gives_the_same_weights(run, records, tmp_path):
    folder = tmp_path / "shards"
    flags = [*FLAGS, f"--data={records}", f"--run={folder}", "--parallel=shard_map", "--steps=4"]
    train.main(flags)
    for one, other in zip(weights(run), weights(folder), strict=True):
        np.testing.assert_array_equal(one, other)


def test_runs_are_not_mixed_up(run, records, tmp_path, capsys):
    assert "choose from l1" in fails(train.main, ["--loss=mse", f"--run={tmp_path / 'x'}"], capsys)
    flags = [*FLAGS, f"--data={records}", f"--run={run}", "--steps=4"]
    assert "--seed: 0 -> 1" in fails(train.main, [*flags, "--seed=1"], capsys)
    (tmp_path / "notes.txt").write_text("mine")
    assert "not a run folder" in fails(train.main, [*FLAGS, f"--run={tmp_path}"], capsys)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    empty = tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "run"
    message = fails(train.main, [*FLAGS, f"--data={empty}", f"--run={other}"], capsys)
    assert str(empty) in message
    flags = ["--task=dn", f"--data={records}", f"--run={other}"]
    assert "another task" in fails(train.main, [*flags, "--batch_size=4"], capsys)
    message = fails(train.main, [*flags, "--batch_size=6"], capsys)
    assert "multiple of 4" in message
    assert not other.exists()


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run(records, tmp_path, capsys):
    flags = [*FLAGS, f"--data={records}", f"--run={tmp_path / 'bad'}", "--steps=3"]
    flags += ["--optim.learning_rate=1e38", "--optim.warmup_steps=0", "--optim.clip_norm=0"]
    message = fails(train.main, flags, capsys, code=1)
    assert "learning_rate" in message
    assert "grad_norm" in message


@pytest.mark.slow
def test_fine_tuning_starts_from_the_weights_of_another_run(run, records, tmp_path, capsys):
    folder = tmp_path / "tuned"
    flags = [*FLAGS, f"--data={records}", f"--run={folder}", "--steps=1", f"--init_from={run}"]
    train.main([*flags, "--eval_every=1", "--optim.average=0.5"])
    first = read_metrics(folder / "metrics.jsonl")[0]
    best = [row for row in read_metrics(run / "metrics.jsonl") if row["split"] == "validation"]
    assert first["loss"] == pytest.approx(min(row["loss"] for row in best), rel=1e-6)
    small = [*flags, "--network.size=small", f"--run={tmp_path / 'small'}"]
    assert "does not fit" in fails(train.main, small, capsys)


def test_export_runs_without_this_package_and_gives_the_same(run, tmp_path):
    folder = tmp_path / "model"
    export.main([f"--run={run}", f"--out={folder}"])
    model, again = xmm_jax.load_model(run), xmm_jax.load_model(folder)
    inputs = jax.random.uniform(jax.random.key(3), (2, 20, 28, 2))
    expected = model.apply(inputs)
    np.testing.assert_array_equal(again.apply(inputs), expected)
    exported = jax_export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
    np.testing.assert_allclose(exported.call(inputs), expected, atol=1e-6)
    assert "trained at 20 ks" in (folder / "card.md").read_text()
    export.main([f"--run={run}", f"--out={folder}"])  # a model folder may be replaced


def test_export_never_replaces_something_else(run, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("data")
    assert "not a model folder" in fails(export.main, [f"--run={run}", f"--out={tmp_path}"], capsys)
    assert (tmp_path / "mine.txt").read_text() == "data"


def test_a_damaged_model_folder_is_refused(run, tmp_path, capsys):
    folder = tmp_path / "model"
    export.main([f"--run={run}", f"--out={folder}"])
    content = (folder / "weights.npz").read_bytes()
    (folder / "weights.npz").write_bytes(content[: len(content) // 2])
    capsys.readouterr()
    (tmp_path / "x.fits").write_text("")
    message = fails(enhance.main, [str(tmp_path / "x.fits"), f"--model={folder}"], capsys)
    assert "damaged" in message


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    simulate.main(["--n=1", "--seed=5", f"--out={folder}"])
    return folder / "sim-physical-5-000000.fits.gz"


def test_enhance_writes_a_registered_image(run, field, tmp_path):
    enhance.main([str(field), f"--model={run}", f"--out={tmp_path}"])
    with fits.open(tmp_path / "sim-physical-5-000000_SR.fits.gz") as hdus:
        assert [hdu.name for hdu in hdus] == ["RATE", "DQ", "INPUT", "RESIDUAL", "SOURCES"]
        assert {"x_out", "p_value", "verdict"} <= set(hdus["SOURCES"].columns.names)
        assert hdus["RATE"].data.shape == (822, 806)
        assert hdus["RATE"].header["BUNIT"] == "count s-1 pixel-1"
        assert hdus["RATE"].header["EQUIVEXP"] == 100_000
        # Both pixels (11, 21) and the middle of its four children have the same DETX.
        header, fine = hdus["INPUT"].header, hdus["RATE"].header
        detx = [
            h["CRVAL1L"] + (x + 1 - h["CRPIX1L"]) * h["CDELT1L"]
            for h, x in ((header, 11), (fine, 22.5))
        ]
        assert detx[0] == pytest.approx(detx[1], abs=1e-9)
        dead = hdus["DQ"].data & 1 > 0
        assert (hdus["RATE"].data[dead] == 0).all()
        with fits.open(field) as given:
            live = given["MASK"].data > 0
            np.testing.assert_array_equal(hdus["INPUT"].data[live], given[0].data[live])
        np.testing.assert_array_equal(dead, ~live.repeat(2, 0).repeat(2, 1))


def test_enhance_takes_arrays(run):
    model = xmm_jax.load_model(run)
    rng = np.random.default_rng(0)
    counts, exposure = rng.poisson(2.0, (40, 52)), np.full((40, 52), 2e4)
    counts[7, 9], exposure[3] = 4000, 0
    result = xmm_jax.enhance(counts, exposure, model=model)
    assert result.rate.shape == (80, 104)
    assert (result.dq[6:8] & 1).all()
    assert not (result.dq[8:] & 1).any()
    clipped = np.argwhere(result.dq & 2)
    assert {tuple(pixel) for pixel in clipped} == {(14, 18), (14, 19), (15, 18), (15, 19)}
    with pytest.raises(ValueError, match="two images of one shape"):
        xmm_jax.enhance(counts, exposure[1:], model=model)


def test_enhance_refuses_what_it_cannot_do(run, field, tmp_path, capsys):
    name = str(field)
    assert "--task=sr" in fails(enhance.main, [name], capsys)
    assert "name at least one image" in fails(enhance.main, [f"--model={run}"], capsys)
    message = fails(enhance.main, [name, f"--model={run}", "--task=dn"], capsys)
    assert "not for --task=dn" in message
    assert "neither a model" in fails(enhance.main, [name, f"--model={tmp_path}"], capsys)
    (tmp_path / "other").mkdir()
    twin = shutil.copy(name, tmp_path / "other")
    words = [name, str(twin), f"--model={run}", f"--out={tmp_path}"]
    assert "would both be written to" in fails(enhance.main, words, capsys)
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"SIMPLE")
    message = fails(enhance.main, [str(bad), name, f"--model={run}", f"--out={tmp_path}"], capsys)
    assert f"1 of 2 failed, named in {tmp_path / 'enhance_status.csv'}" in message
    assert not list(tmp_path.glob("bad_SR*"))
    assert list(tmp_path.glob("sim*_SR.fits.gz"))


@pytest.mark.slow
def test_a_model_with_error_bars_from_training_to_the_fits_file(records, field, tmp_path):
    """Square roots of counts, any exposure, calibrated on four fields: every plane is there."""
    run, model, half = tmp_path / "run", tmp_path / "model", tmp_path / "half"
    flags = [*FLAGS, f"--data={records}", "--thin=0.2", "--loss=deviance+spread:0.02"]
    own = ["--network.stretch=counts", "--network.unshuffle=2", "--network.spread"]
    train.main([*flags, *own, f"--run={run}", "--steps=4"])
    export.main([f"--run={run}", f"--out={model}", "--calibrate=2", "--symmetric"])
    found = xmm_jax.load_model(model)
    assert found.domain.exposure_s == (4_000, 20_000)
    assert found.domain.peak_rate is not None
    assert "pixels" in json.loads((model / "coverage.json").read_text())
    enhance.main([str(field), f"--model={model}", f"--out={tmp_path}"])
    with fits.open(tmp_path / "sim-physical-5-000000_SR.fits.gz") as hdus:
        planes = ["RATE", "ERR_LO", "ERR_HI", "SIGNIFICANCE", "DQ", "INPUT", "RESIDUAL", "SOURCES"]
        assert [hdu.name for hdu in hdus] == planes
        live = hdus["DQ"].data & 1 == 0
        assert (hdus["ERR_LO"].data[live] + hdus["ERR_HI"].data[live] > 0).all()
        assert (hdus["ERR_LO"].data <= hdus["RATE"].data).all()
        assert not hdus["ERR_HI"].data[~live].any()
        sources = hdus["SOURCES"].data
        shown = sources[np.isfinite(sources["aperture"])]
        assert (shown["aperture_lo"] <= shown["aperture_hi"]).all()
    export.main([f"--run={model}", f"--out={half}", "--half", "--symmetric"])
    again = xmm_jax.load_model(half)
    assert again.domain == found.domain
    np.testing.assert_array_equal(again.intervals.table, found.intervals.table)
    sizes = [(folder / "weights.npz").stat().st_size for folder in (model, half)]
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.slow
def test_a_stream_trains_and_resumes_like_records(tmp_path):
    folder, halves = tmp_path / "whole", tmp_path / "halves"
    flags = [*FLAGS, "--data=stream", "--eval_fields=2"]
    train.main([*flags, f"--run={folder}", "--steps=4"])
    train.main([*flags, f"--run={halves}", "--steps=2"])
    train.main([*flags, f"--run={halves}", "--steps=4"])
    for one, other in zip(weights(folder), weights(halves), strict=True):
        np.testing.assert_array_equal(one, other)
