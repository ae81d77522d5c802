"""Herschel super-resolution from the command line: train, stop, resume, judge."""

import json

import jax
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax import evaluate, train
from xmm_jax.herschel.model import load_run
from xmm_jax.herschel.region import read_bands
from xmm_jax.log import read_metrics
from xmm_jax.simulator.submm import draw_field

FLAGS = (
    *("--task=herschel", "--fields=3", "--side=64", "--crop=32", "--network.filters=2"),
    *("--network.depth=2", "--eval_every=2", "--eval_fields=2", "--log_every=1", "--devices=2"),
    "--optim.schedule=constant",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("herschel") / "run"
    train.main([*FLAGS, "--steps=4", f"--run={folder}"])
    return folder


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    pytest.importorskip("reproject")
    folder = tmp_path_factory.mktemp("maps")
    field = jax.device_get(draw_field(jax.random.key(2), side=129))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.1, 2.2]
    wcs.wcs.crpix, wcs.wcs.cdelt = [65, 65], [-2 / 3600, 2 / 3600]
    for place, band in enumerate((250, 350, 500, 450)):
        header = wcs.to_header()
        header["BUNIT"], header["WAVELNTH"] = "mJy/beam", (float(band), "[um]")
        plane = field.observed_target[..., 0] if band == 450 else field.bands[..., place]
        fits.PrimaryHDU(np.asarray(plane), header).writeto(folder / f"{band}.fits")
    return folder


def test_stopped_and_resumed_is_the_same(run, tmp_path, capsys):
    flags = [*FLAGS, f"--run={tmp_path / 'run'}"]
    train.main([*flags, "--steps=2"])
    train.main([*flags, "--steps=4"])
    said = capsys.readouterr().out
    assert "going on from step 2" in said
    assert "correlation" in said
    rows = [read_metrics(folder / "metrics.jsonl") for folder in (tmp_path / "run", run)]
    assert rows[0] == rows[1]


def test_alternating_runs_resume_in_the_same_order(run, maps, tmp_path):
    flags = [*FLAGS, f"--data=drawn,{maps}", "--alternate"]
    train.main([*flags, "--steps=4", f"--run={tmp_path / 'a'}"])
    for steps in (1, 4):  # stopped between a drawn batch and a real one
        train.main([*flags, f"--steps={steps}", "--eval_every=1", f"--run={tmp_path / 'b'}"])
    losses = [
        [row["loss"] for row in read_metrics(tmp_path / name / "metrics.jsonl") if
         row["split"] == "train"]
        for name in ("a", "b")
    ]  # fmt: skip
    assert losses[0] == losses[1]
    drawn = [row["loss"] for row in read_metrics(run / "metrics.jsonl") if row["split"] == "train"]
    assert losses[0][0] == drawn[0]
    assert losses[0][1] != drawn[1]


def test_weights_of_another_run(run, tmp_path, capsys):
    flags = [*FLAGS, "--steps=2", f"--run={tmp_path / 'run'}", f"--init_from={run}"]
    train.main(flags)
    assert f"weights from {run}" in capsys.readouterr().out
    rows = read_metrics(run / "metrics.jsonl")
    best = min((row for row in rows if row["split"] == "validation"), key=lambda row: row["loss"])
    first = read_metrics(tmp_path / "run" / "metrics.jsonl")[0]
    assert first["loss"] == pytest.approx(best["loss"], rel=1e-5)
    with pytest.raises(SystemExit):
        train.main([*flags[:-2], "--network.dropout=0.1", f"--run={tmp_path / 'o'}", flags[-1]])
    assert "another network" in capsys.readouterr().err


def test_evaluate(run, tmp_path, capsys):
    flags = ["--task=herschel", f"--model={run}", "--n=2", "--side=64"]
    evaluate.main([*flags, "--picture", f"--out={tmp_path / 'judged'}"])
    said = capsys.readouterr().out
    for word in ("completeness", "purity", "flux", "compl>15", "note: "):
        assert word in said
    found = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    names = ["rescaled", "deconvolution", "detection_250", "run", "target"]
    assert list(found["figures"]) == names
    assert all(row["fields"] == 2 for row in found["figures"].values())
    for picture in ("curves.png", "field.png"):
        assert (tmp_path / "judged" / picture).read_bytes().startswith(b"\x89PNG")
    for wrong in (["--n=0", "--out=x"], []):
        with pytest.raises(SystemExit) as stopped:
            evaluate.main([*flags, *wrong])
        assert stopped.value.code == 2


def test_evaluate_on_real_maps(run, maps, tmp_path, capsys):
    flags = [
        "--task=herschel",
        f"--model={run}",
        f"--data={maps}",
        "--side=64",
        "--method=rescaled",
    ]
    evaluate.main([*flags, f"--out={tmp_path / 'judged'}"])
    found = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    assert found["figures"]["target"]["headline"]["purity"] > 0.95
    assert load_run(run).name in found["figures"]
    trained = tmp_path / "trained"
    train.main([*FLAGS, f"--data={maps}", "--steps=1", f"--run={trained}"])
    flags[1] = f"--model={trained}"
    evaluate.main([*flags, "--method=rescaled", f"--out={tmp_path / 'again'}"])
    assert "judged on the rows it has not seen" in capsys.readouterr().out
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    sources = [one["figures"]["target"]["offsets"]["found"] for one in (found, again)]
    assert 0 < sources[1] < sources[0] / 2


def test_enhance(run, maps, tmp_path, capsys):
    from xmm_jax.enhance import main

    out = tmp_path / "map450.fits"
    flags = [str(maps), "--task=herschel", f"--model={run}", f"--out={out}"]
    main(flags)
    assert "brightest pixel" in capsys.readouterr().out
    with fits.open(out) as hdus:
        header, image = hdus[0].header, hdus[0].data
    assert (header["BUNIT"], header["WAVELNTH"]) == ("mJy/beam", 450.0)
    assert header["BMAJ"] * 3600 == pytest.approx(7.9)
    place = WCS(header).world_to_pixel_values(150.1, 2.2)  # the middle of the maps
    assert np.allclose(place, (np.array(image.shape) - 1) / 2, atol=0.01)
    bands, valid, _ = read_bands(str(maps))
    assert np.array_equal(np.isfinite(image), valid[..., 0])
    wanted = load_run(run).super_resolve(bands)
    assert np.allclose(image[valid[..., 0]], wanted[valid[..., 0]], rtol=1e-5)
    for wrong in (
        flags,
        ["--task=herschel", str(maps)],
        [str(tmp_path), *flags[1:], "--overwrite"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(wrong)
        assert stopped.value.code == 2
    assert "no map at 250, 350, 500 um" in capsys.readouterr().err
