"""What `image` writes from pipeline products: names, images counted by hand, splits; bad input."""

import dataclasses
import re
import resource
import shlex
import shutil
from contextlib import contextmanager
from pathlib import Path

import archive_server
import numpy as np
import pytest
from astropy.io import fits
from pps import CELL_S, GRID_EDGE, GRID_SHAPE, GRID_STEP, make_pps

from xmm_jax import image
from xmm_jax.data.observation import read_observation
from xmm_jax.data.pps import parse_product
from xmm_jax.flags import parse_flags

NAME = "0000000001_pn_cleaned{}_detxy_500_2000_80.fits"


def run(*argv):
    image.main([str(word) for word in argv])


def fails(capsys, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("xmm-jax image: error: ")
    assert message.count("\n") == 1
    return message


def counted(exposure, *, first_s=0.0, last_s=np.inf, quiet=True):
    """The image by hand: good events between two points of the good time of the best CCD."""
    table = np.array([exposure.good_time(ccd, quiet=quiet) for ccd in range(1, 13)])
    spent = CELL_S * np.cumsum(table, axis=1).max(axis=0)
    chosen = (spent > first_s) & (spent <= last_s)
    cell = ((exposure.rows["TIME"] - exposure.start) / CELL_S).astype(int)
    rows = exposure.rows[exposure.good(quiet=quiet) & chosen[np.minimum(cell, len(spent) - 1)]]
    edges = [
        edge + GRID_STEP * np.arange(n + 1)
        for edge, n in zip(GRID_EDGE[::-1], GRID_SHAPE, strict=True)
    ]
    counts = np.histogram2d(rows["DETY"], rows["DETX"], edges)[0]
    return counts, CELL_S * (table & chosen).sum(axis=1)


@pytest.fixture(scope="module")
def small_pps(tmp_path_factory):
    """Quick to make and to read: one exposure of 3 ks without decoys."""
    folder = tmp_path_factory.mktemp("small")
    return make_pps(folder, seed=2, exposure_s=3000.0, short_s=0, decoys=False, obs_id="0000000002")


def copied(pps, folder, *kinds):
    """The products of some kinds of the long exposure, in a folder of their own."""
    folder.mkdir(exist_ok=True)
    for path in (pps.longest.events, pps.longest.light_curve):
        if parse_product(path).kind in kinds:
            shutil.copy(path, folder)
    return folder


def test_the_published_command_line(synthetic_pps, tmp_path, capsys):
    pps = synthetic_pps
    flags = ["--low_pi", "500", "--high_pi", "2000", "--expo_time", "20.0", "--binSize", "80"]
    run(pps.obs_id, *flags, "--save_dir", tmp_path, "--pps_dir", pps.folder)
    path = tmp_path / NAME.format("_20.0ks")
    assert {file.name for file in tmp_path.iterdir()} == {
        path.name,
        "0000000001_pn_20.0ks_lightcurve.png",
    }
    assert (tmp_path / "0000000001_pn_20.0ks_lightcurve.png").read_bytes()[1:4] == b"PNG"
    expected, ontime = counted(pps.longest, last_s=20_000)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus[0].data, expected)
        header = hdus[0].header
        assert header["EXPOSURE"] == pytest.approx(20_000, abs=1e-3)
        for ccd in range(1, 13):
            assert header[f"ONTIME{ccd:02d}"] == pytest.approx(ontime[ccd - 1], abs=1e-3)
            gti = hdus[f"GTI{ccd:02d}"].data
            assert np.sum(gti["STOP"] - gti["START"]) == pytest.approx(ontime[ccd - 1], abs=1e-3)
        assert header["FLCUTTHR"] == 20.5
        assert header["FLAREFIL"] is True
        history = str(header["HISTORY"])
        assert pps.longest.events.name in history
        assert pps.longest.light_curve.name in history
        assert str(pps.folder) not in history
    observation = read_observation(path)
    assert (observation.obs_id, observation.wcs_method) == (pps.obs_id, "file")
    said = capsys.readouterr().out
    assert "PNS003PIEVLI0000.FTZ: left aside" in said
    assert f"{expected.sum():.0f} counts in 20.00 ks" in said


def test_all_the_time_with_and_without_flares(synthetic_pps, tmp_path, capsys):
    run(synthetic_pps.folder, "--expo_time=0", f"--save_dir={tmp_path}", "--plot=no")
    assert [path.name for path in tmp_path.iterdir()] == [NAME.format("")]
    quiet, ontime = counted(synthetic_pps.longest)
    path = tmp_path / NAME.format("")
    np.testing.assert_array_equal(fits.getdata(path), quiet)
    assert fits.getheader(path)["EXPOSURE"] == pytest.approx(ontime.max(), abs=1e-3)
    assert "exists already" in fails(
        capsys, synthetic_pps.folder, "--expo_time=-1", f"--save_dir={tmp_path}"
    )
    np.testing.assert_array_equal(fits.getdata(path), quiet)
    run(
        synthetic_pps.longest.events,
        "--expo_time=0",
        "--unfiltered",
        f"--save_dir={tmp_path}",
        "--overwrite",
    )
    noisy, ontime = counted(synthetic_pps.longest, quiet=False)
    assert noisy.sum() > 1.05 * quiet.sum()
    np.testing.assert_array_equal(fits.getdata(path), noisy)
    header = fits.getheader(path)
    assert header["EXPOSURE"] == pytest.approx(ontime.max(), abs=1e-3)
    assert header["FLAREFIL"] is False
    assert "FLCUTTHR" not in header
    assert not list(tmp_path.glob("*.png"))


def test_split_as_the_published_real_images(synthetic_pps, tmp_path):
    run(synthetic_pps.folder, "--split=10,5", f"--save_dir={tmp_path}")
    total = CELL_S * max(synthetic_pps.longest.good_time(ccd).sum() for ccd in range(1, 13))
    names = {path.name for path in tmp_path.glob("*.fits")}
    wanted = {
        f"0000000001_image_split_500_2000_{ks}ks_{of}_{number}.fits"
        for ks, of in ((5, int(total // 5000)), (10, int(total // 10000)))
        for number in range(1, of + 1)
    }
    assert names == wanted
    assert [path.name for path in tmp_path.glob("*.png")] == ["0000000001_pn_split_lightcurve.png"]
    for name in names:
        ks, of, number = name.removesuffix(".fits").split("_")[-3:]
        length = 1000 * int(ks.removesuffix("ks"))
        counts, _ = counted(
            synthetic_pps.longest, first_s=length * (int(number) - 1), last_s=length * int(number)
        )
        with fits.open(tmp_path / name) as hdus:
            np.testing.assert_array_equal(hdus[0].data, counts)
            assert hdus[0].header["EXPOSURE"] == pytest.approx(length, abs=1e-3)
            assert hdus[0].header["EXPSPLIT"] == f"{number}/{of}"


def test_from_the_archive_to_an_image(small_pps, tmp_path, capsys):
    obs_id = small_pps.obs_id
    events, curve = small_pps.longest.events, small_pps.longest.light_curve
    with archive_server.serving() as server:
        flags = (f"--save_dir={tmp_path}", f"--archive={server.url}", "--plot=no")
        run(obs_id, *flags, "--dry_run")
        assert f"would fetch the products of {obs_id}" in capsys.readouterr().out
        assert "no event list" in fails(capsys, obs_id, *flags, "--offline")
        assert server.asked == []
        assert "'No results found'" in fails(capsys, obs_id, *flags)
        assert list(tmp_path.iterdir()) == []
        packed = archive_server.tar_of({events.name: events.read_bytes()}, below=f"{obs_id}/pps/")
        server.replies["PIEVLI"] = archive_server.reply(packed)
        message = fails(capsys, obs_id, *flags)
        assert "no flare light curve" in message
        assert "--unfiltered" in message
        server.replies["FBKTSR"] = archive_server.reply(curve.read_bytes(), name=curve.name)
        run(obs_id, *flags, "--expo_time=0")
        assert server.asked == ["PIEVLI", "PIEVLI", "FBKTSR", "FBKTSR"]
    name = f"{obs_id}_pn_cleaned_detxy_500_2000_80.fits"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([obs_id, name])
    np.testing.assert_array_equal(fits.getdata(tmp_path / name), counted(small_pps.longest)[0])
    run(obs_id, *flags, "--offline", "--expo_time=0", "--overwrite")  # the server is gone


def test_a_dry_run_writes_nothing(small_pps, tmp_path, capsys):
    before = sorted(small_pps.folder.iterdir())
    run(small_pps.folder, f"--save_dir={tmp_path / 'new'}", "--dry_run", "--split=1")
    said = capsys.readouterr().out
    assert said.count("would write") == said.count("1.00 ks") == 2
    good, all_time = (counted(small_pps.longest, quiet=quiet)[1].max() for quiet in (True, False))
    assert f"({1 - good / all_time:.0%} lost)" in said
    assert not (tmp_path / "new").exists()
    assert sorted(small_pps.folder.iterdir()) == before


def test_other_pixels_and_out_of_time_events(small_pps, tmp_path, capsys):
    run(
        small_pps.folder,
        "--bin_size=40",
        "--low_pi=300",
        "--expo_time=0",
        "--oot_image",
        f"--save_dir={tmp_path}",
        "--plot=no",
    )
    stem = "0000000002_pn_cleaned_detxy_300_2000_40"
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.fits", f"{stem}_oot.fits"}
    counts = fits.getdata(tmp_path / f"{stem}.fits")
    assert counts.shape == (822, 806)
    expected = fits.getdata(tmp_path / f"{stem}_oot.fits")
    # 6.3 % of the events, of which a few fall beside the frame.
    assert expected.sum() == pytest.approx(0.063 * counts.sum(), rel=0.03)
    assert np.count_nonzero(expected) > 10 * np.count_nonzero(expected > 0.07)
    assert "counts in" in capsys.readouterr().out


def test_flags_about_time_reach_the_header(small_pps, tmp_path):
    total = counted(small_pps.longest)[1].max()
    assert 2400 < total < 1.15 * 2400
    for flags, exposure, cards in (
        (["--expo_time=2.4"], total, {"EXPLIM": 2400, "EXPORDER": "time", "MINGTISZ": 0}),
        (["--expo_time=2.4", "--exact"], 2400, {"EXPLIM": 2400}),
        (
            ["--expo_time=1", "--order=longest", "--min-gti=300"],
            1000,
            {"EXPLIM": 1000, "EXPORDER": "longest", "MINGTISZ": 300},
        ),
    ):
        run(small_pps.folder, f"--save_dir={tmp_path}", "--plot=no", "--overwrite", *flags)
        limit = f"_{float(flags[0].partition('=')[2]):.1f}ks"
        header = fits.getheader(tmp_path / f"0000000002_pn_cleaned{limit}_detxy_500_2000_80.fits")
        assert header["EXPOSURE"] == pytest.approx(exposure, abs=1e-3)
        assert {key: header[key] for key in cards} == cards


def test_corners_only_when_asked(small_pps, tmp_path):
    folders = [tmp_path / name for name in ("without", "with")]
    run(small_pps.folder, "--expo_time=0", f"--save_dir={folders[0]}", "--plot=no")
    run(
        small_pps.folder, "--expo_time=0", f"--save_dir={folders[1]}", "--plot=no", "--keep-corners"
    )
    without, corners = (
        fits.getdata(folder / "0000000002_pn_cleaned_detxy_500_2000_80.fits") for folder in folders
    )
    rows = small_pps.longest.rows.copy()
    rows["FLAG"][((rows["FLAG"] & 0x10000) != 0) & (rows["RAWY"] > 12)] = 0
    assert corners.sum() == np.count_nonzero(
        dataclasses.replace(small_pps.longest, rows=rows).good()
    )
    assert (corners >= without).all()
    assert corners.sum() > without.sum()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "name an OBS_ID, a folder or an event list"),
        (["x", "--low_pi=3000"], "--low_pi=3000 --high_pi=2000: energies"),
        (["x", "--low_pi=-1"], "energies must not be negative"),
        (["x", "--expo_time=nan"], "--expo_time=nan: give ks"),
        (["x", "--min_gti=-5"], "--min_gti=-5.0: give seconds"),
        (["x", "--split=10,,20"], "--split=10,,20: give lengths in ks"),
        (["x", "--split=0"], "--split=0: give lengths in ks"),
        (["x", "--split=inf"], "--split=inf: give lengths in ks"),
        (["x", "--binSize=0"], "bin size 0"),
        (["x", "--exp_time=5"], "unknown flag --exp_time; did you mean --expo_time?"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["085203010"], "085203010: no such file or folder"),
        (["0852030101", "--offline"], "no event list of 0852030101"),
        (["0852030101", "--archive=ftp://x/"], "begins with https:// or http://"),
        (["0852030101", "--pps_dir=none"], "none: no such file or folder"),
        (["nowhere", "--pps_dir=none"], "--pps_dir goes with an OBS_ID"),
    ],
)
def test_bad_settings_give_one_line(flags, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in fails(capsys, *flags)
    assert list(tmp_path.iterdir()) == []


def test_lists_of_other_cameras_and_modes(synthetic_pps, tmp_path, capsys):
    mos, timing = (
        synthetic_pps.folder / f"P0000000001{name}0000.FTZ"
        for name in ("M1S001MIEVLI", "PNU014TIEVLI")
    )
    out = f"--save_dir={tmp_path}"
    assert "an event list of mos1, not of pn" in fails(capsys, mos, out)
    assert "FastTiming" in fails(capsys, timing, out)
    assert "RATE" not in fails(capsys, synthetic_pps.longest.light_curve, out)
    assert list(tmp_path.iterdir()) == []


def test_some_of_several_fail(small_pps, tmp_path, capsys):
    products = copied(small_pps, tmp_path / "products", "PIEVLI")
    out = tmp_path / "out"
    flags = (f"--save_dir={out}", "--expo_time=0", "--plot=no")
    message = fails(capsys, products, tmp_path / "nowhere", small_pps.folder, *flags)
    assert "2 of 3 failed, 1 images written, see above" in message
    assert [path.name for path in out.iterdir()] == ["0000000002_pn_cleaned_detxy_500_2000_80.fits"]
    # The same observation twice: the second would replace the first.
    events = small_pps.longest.events
    assert "1 of 2 failed" in fails(capsys, small_pps.folder, events, *flags, "--overwrite")


@contextmanager
def no_file_above(size):
    """The system refuses to write larger files, as on a full disk, halfway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_leaves_nothing(small_pps, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.touch()
    assert "cannot be written" in fails(capsys, small_pps.folder, f"--save_dir={blocked}")
    assert blocked.read_bytes() == b""
    out, archived = tmp_path / "out", tmp_path / "archived"
    with no_file_above(500_000):
        assert "cannot be written" in fails(capsys, small_pps.folder, f"--save_dir={out}")
    assert list(out.iterdir()) == []
    events = small_pps.longest.events
    with archive_server.serving() as server, no_file_above(100_000):
        server.replies["PIEVLI"] = archive_server.reply(events.read_bytes(), name=events.name)
        flags = (f"--save_dir={archived}", f"--archive={server.url}")
        assert "cannot be written" in fails(capsys, small_pps.obs_id, *flags)
    assert list(archived.iterdir()) == []


def test_products_of_another_observation(small_pps, tmp_path, capsys):
    flags = (f"--pps_dir={small_pps.folder}", f"--save_dir={tmp_path}")
    assert "of 0000000002, not of 0000000003" in fails(capsys, "0000000003", *flags)
    # A folder named relative to that of the observation, as the published script takes it.
    (tmp_path / "0000000002").mkdir()
    copied(small_pps, tmp_path / "0000000002" / "mine", "PIEVLI", "FBKTSR")
    run("0000000002", "--pps_dir=mine", f"--save_dir={tmp_path}", "--plot=no")
    assert (tmp_path / "0000000002_pn_cleaned_20.0ks_detxy_500_2000_80.fits").is_file()


def test_pictures_need_matplotlib(small_pps, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(image, "can_draw", lambda: False)
    message = fails(capsys, small_pps.folder, "--plot=yes", f"--save_dir={tmp_path}")
    assert "xmm-jax[plot]" in message
    run(small_pps.folder, f"--save_dir={tmp_path}")
    assert [path.suffix for path in tmp_path.iterdir()] == [".fits"]
    assert "only " in capsys.readouterr().out  # 20 ks were asked for


def test_commands_of_the_page_have_flags_that_exist():
    page = (Path(__file__).parents[1] / "docs" / "events.md").read_text()
    block = re.search(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    mine = [words[2:] for words in lines if words[:2] == ["xmm-jax", "image"]]
    assert len(mine) == 5
    for words in mine:
        config = parse_flags(image.ImageConfig(), words, verb="image", description="")
        image.check(config)
    known = {field.name for field in dataclasses.fields(image.ImageConfig)} | {"binSize"}
    named = {name.replace("-", "_") for name in re.findall(r"--([a-zA-Z][a-zA-Z_-]*)", page)}
    assert named - {"model"} <= known
