"""What `simulate` writes: images, the catalogue of what is in them, a preview; bad input."""

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax import simulate
from xmm_jax.instrument.camera import PN
from xmm_jax.preview import Shown, write_sheet


def fails(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        simulate.main(argv)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--n=0"], "--n must be at least 1"),
        (["--exposure_ks=0.5"], "--exposure_ks=0.5: exposures are 1 to 1000 ks"),
        (["--target_exposure_ks=2000"], "--target_exposure_ks=2000: exposures are 1 to 1000 ks"),
        (["--exposure_ks=nan"], "exposures are 1 to 1000 ks"),
        (["--exposure_ks=-3"], "exposures are 1 to 1000 ks"),
        (["--blends=2"], "a share, 0 to 1"),
        (["--preset=reference", "--filter=medium"], "the reference sky has the thin filter"),
    ],
)
def test_bad_settings_give_one_line_and_no_folder(flags, says, tmp_path, capsys):
    out = tmp_path / "out"
    assert says in fails([*flags, f"--out={out}"], capsys)
    assert not out.exists()


def test_unknown_preset(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        simulate.main(["--preset=chandra", f"--out={tmp_path}"])
    assert caught.value.code == 2
    assert "physical" in capsys.readouterr().err


def test_preview_needs_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(simulate, "can_draw", lambda: False)
    message = fails(["--preview=yes", f"--out={tmp_path / 'out'}"], capsys)
    assert "xmm-jax[plot]" in message
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("xmm_jax.preview.can_draw", lambda: False)
    with pytest.raises(ValueError, match=r"xmm-jax\[plot\]"):
        write_sheet(tmp_path / "x.png", [])


def test_sheet_shows_input_left_and_target_right(tmp_path):
    image = np.zeros((41, 40))
    image[30:, :10] = 9.0
    fields = [Shown(f"field {i}", image, np.repeat(image, 2, 0)) for i in range(4)]
    path = write_sheet(tmp_path / "sheet.png", fields)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(ValueError, match="cannot be written"):
        write_sheet(path / "sheet.png", fields)  # in a folder that is a file


@pytest.mark.slow
def test_catalogue_names_what_is_in_the_images(tmp_path):
    flags = ["--task=dn", "--n=2", "--seed=4", "--target_exposure_ks=1000", f"--out={tmp_path}"]
    simulate.main(flags)
    stem = "sim-physical-4-000001"
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"{stem}{end}.fits.gz" for end in ("", "_target", "_truth")} | {"preview.png"} <= names
    assert len(names) == 7
    with fits.open(tmp_path / f"{stem}_truth.fits.gz") as hdus:
        table = hdus["CATALOGUE"].data
        assert hdus["CATALOGUE"].columns["rate"].unit == "count s-1"
    kinds = np.char.strip(table["component"])
    assert kinds[0] == "extended"
    assert set(kinds[1:]) == {"point"}
    assert (table["rate"] > 0).all()
    np.testing.assert_allclose(table["detx"], PN.det_origin[0] + PN.det_step * table["x"], atol=0.1)
    with fits.open(tmp_path / f"{stem}_target.fits.gz") as hdus:
        target, header = hdus["TARGET"].data, hdus["TARGET"].header
        live = hdus["MASK"].data > 0
    assert header["EXPOSURE"] == 1_000_000
    # The bright point sources of the catalogue stand out of the expected counts around them.
    found = seen = 0
    for source in table[1:9]:
        column, row = round(float(source["x"])), round(float(source["y"]))
        box = (slice(row - 12, row + 13), slice(column - 12, column + 13))
        if min(row, column) < 20 or max(row, column) > 380 or not live[box][9:16, 9:16].all():
            continue
        seen += 1
        core, around = target[box][11:14, 11:14], target[box][live[box]]
        found += core.mean() > np.median(around) + 0.02 * source["seen_rate"] * 1e6 / 9
    assert found == seen > 0


def test_bad_sky_maps_give_one_line(tmp_path, capsys):
    folder, out = tmp_path / "maps", tmp_path / "out"
    assert str(folder) in fails([f"--maps={folder}", f"--out={out}"], capsys)
    folder.mkdir()
    np.save(folder / "map.npy", np.full((32, 32), -1.0))
    message = fails([f"--maps={folder}", f"--out={out}"], capsys)
    assert "map.npy" in message
    assert not out.exists()


@pytest.mark.slow
def test_sky_maps_are_what_is_seen(tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    image = np.zeros((64, 64))
    image[30:34, 30:34] = 1.0
    np.save(maps / "box.npy", image)
    simulate.main(["--task=dn", f"--maps={maps}", f"--out={tmp_path / 'out'}", "--preview=no"])
    with fits.open(tmp_path / "out" / "sim-physical-0-000000_truth.fits.gz") as hdus:
        table = hdus["CATALOGUE"].data
    with fits.open(tmp_path / "out" / "sim-physical-0-000000_target.fits.gz") as hdus:
        assert hdus["TARGET"].data.sum() > 0
    assert np.char.strip(table["component"])[0] == "extended"
