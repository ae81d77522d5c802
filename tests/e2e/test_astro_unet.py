"""Astro U-net from the command line: train, stop, resume, judge, enhance a FITS file."""

import json

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax import evaluate, train
from xmm_jax.astro_unet.images import draw_image
from xmm_jax.astro_unet.model import load_run
from xmm_jax.log import read_metrics

FLAGS = (
    *("--task=astro_unet", "--fields=3", "--side=64", "--crop=32", "--network.filters=2"),
    *("--eval_every=2", "--eval_fields=2", "--log_every=1", "--devices=2"),
    "--optim.schedule=constant",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("astro") / "run"
    train.main([*FLAGS, "--steps=4", f"--run={folder}"])
    return folder


def test_stopped_and_resumed_is_the_same(run, tmp_path, capsys):
    flags = [*FLAGS, f"--run={tmp_path / 'run'}"]
    train.main([*flags, "--steps=2"])
    train.main([*flags, "--steps=4"])
    assert "going on from step 2" in capsys.readouterr().out
    rows = [read_metrics(folder / "metrics.jsonl") for folder in (tmp_path / "run", run)]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_devices_do_not_matter(run, tmp_path):
    flags = [flag for flag in FLAGS if not flag.startswith("--devices")]
    train.main([*flags, "--steps=4", "--devices=1", f"--run={tmp_path / 'run'}"])
    losses = [
        [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if row["split"] == "train"]
        for folder in (run, tmp_path / "run")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_weights_of_another_run(run, tmp_path, capsys):
    flags = [*FLAGS, "--steps=2", f"--run={tmp_path / 'run'}", f"--init_from={run}"]
    train.main(flags)
    assert f"weights from {run}" in capsys.readouterr().out
    rows = read_metrics(run / "metrics.jsonl")
    best = min((row for row in rows if row["split"] == "validation"), key=lambda row: row["loss"])
    first = read_metrics(tmp_path / "run" / "metrics.jsonl")[0]
    assert first["loss"] == pytest.approx(best["loss"], rel=1e-6)
    with pytest.raises(SystemExit):
        train.main([*flags[:-2], "--network.slope=0.1", f"--run={tmp_path / 'o'}", flags[-1]])
    assert "another network" in capsys.readouterr().err


def test_evaluate(run, tmp_path, capsys):
    pytest.importorskip("sep")
    out = tmp_path / "judged"
    flags = ["--task=astro_unet", f"--model={run}", "--n=2", "--side=128", "--method=gaussian"]
    evaluate.main([*flags, "--ratios", "2", "3", "--picture", f"--out={out}"])
    said = capsys.readouterr().out
    assert "RFE" in said
    assert "note: PSNR" in said
    found = json.loads((out / "metrics.json").read_text())
    assert set(found["ratios"]) == {"2", "3"}
    assert set(found["ratios"]["2"]["summary"]) == {"input", "gaussian", "run", "target"}
    assert (out / "field.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (["--n=0"], []):
        with pytest.raises(SystemExit) as stopped:
            evaluate.main([*flags, *wrong])
        assert stopped.value.code == 2


def test_enhance_a_file(run, tmp_path, capsys):
    from xmm_jax.enhance import main

    image = draw_image(7, 64)
    science = fits.ImageHDU(image.rate, name="SCI")
    science.header["BUNIT"] = "ELECTRONS/S"
    science.header["CRVAL1"] = 150.0
    primary = fits.PrimaryHDU()
    primary.header["EXPTIME"] = 800.0
    primary.header["FILTER"] = "F606W"
    weight = fits.ImageHDU(image.valid.astype(np.float32), name="WHT")
    path = tmp_path / "m51_drz.fits"
    fits.HDUList([primary, science, weight]).writeto(path)
    flags = [str(path), "--task=astro_unet", f"--model={run}", "--ratio=3"]
    main([*flags, "--unit=electron"])
    said = capsys.readouterr().out
    assert "trained for ratios (2,) only" in said
    with fits.open(tmp_path / "m51_drz_AU.fits.gz") as hdus:
        header, data = hdus["SCI"].header, hdus["SCI"].data
        assert (header["EXPTIME"], header["EXPTRUE"]) == (2400.0, 800.0)
        assert (header["CRVAL1"], header["BUNIT"]) == (150.0, "ELECTRONS")
        assert np.array_equal(hdus["WHT"].data > 0, image.valid)
        model = load_run(run)
        about = {"exposure_s": 800.0, "ratio": 3.0, "band": 1, "published": False}
        assert np.allclose(data, 2400 * model.denoise(image.rate, image.valid, **about), rtol=1e-5)
    (tmp_path / "broken.fits").write_text("no FITS")
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "broken.fits"), *flags])
    assert stopped.value.code == 2
    assert "1 of 2 failed" in capsys.readouterr().err


def test_a_run_of_another_task_is_named(run, capsys):
    from xmm_jax.enhance import main

    with pytest.raises(SystemExit):
        main(["image.fits", f"--model={run}"])
    assert "--task=astro_unet; give that flag" in capsys.readouterr().err
