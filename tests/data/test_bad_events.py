"""Event lists that are broken, of the wrong kind or empty: one line, exit 2, nothing written."""

import dataclasses
import functools
import gzip
import resource
import shutil

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pps import Pointing, draw_rows, flat_rate, make_exposure, make_pps
from pps_files import THRESHOLD, event_list, light_curve, write_pieces

from xmm_jax import image
from xmm_jax.data.eventimage import make_images, plan_parts
from xmm_jax.data.events import read_event_list
from xmm_jax.data.flares import quiet_gti, read_light_curve
from xmm_jax.errors import InputError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small PPS set, not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    return make_pps(folder, seed=3, exposure_s=3000, short_s=1000, rate=1.0)


@pytest.fixture
def broken(whole, tmp_path):
    """A copy of it, to be broken: only the long pn exposure."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in (whole.longest.events, whole.longest.light_curve):
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def refused(tmp_path, capsys):
    """Run ``xmm-jax image`` and give the one line with which it fails; it must write nothing."""

    def run(where, *flags):
        out = tmp_path / "images"
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            image.main([str(where), f"--save_dir={out}", "--offline", *flags])
        assert caught.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("xmm-jax image: error: ")
        assert not [path for path in out.rglob("*") if path.is_file()]
        return lines[0].removeprefix("xmm-jax image: error: ")

    return run


def events_in(folder):
    return next(folder.glob("*PIEVLI*"))


def curve_in(folder):
    return next(folder.glob("*FBKTSR*"))


def rewrite(path, change):
    """Change the content of a compressed file."""
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes())), 1))


def set_card(extension, key, text):
    """Replace a card of an extension, every column of it: a change for `rewrite`."""

    def change(content):
        begin = 0 if extension == "PRIMARY" else content.index(f"EXTNAME = '{extension}".encode())
        at = content.index(f"{key:<8}=".encode(), begin)
        return content[:at] + text.encode().ljust(80) + content[at + 80 :]

    return change


# --- files that are not what they should be --------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_list_is_refused(broken, refused, share):
    path = events_in(broken)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refused(broken)
    assert path.name in message
    plain = broken / "plain.fits"
    content = gzip.decompress(content)
    plain.write_bytes(content[: int(share * len(content))])
    assert plain.name in refused(plain, "--unfiltered")


def test_a_damaged_list_is_refused(broken, refused):
    path = events_in(broken)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert path.name in refused(broken)


def test_what_is_no_event_list_is_refused(whole, broken, refused, tmp_path):
    assert "no such file" in refused(tmp_path / "nothing.FTZ")
    assert "FBKTSR" in refused(whole.longest.light_curve)
    page = tmp_path / "page.FTZ"
    page.write_text("<html>sorry</html>")
    assert page.name in refused(page)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(empty) in refused(empty)


def test_without_the_light_curve_one_must_say_so(broken, refused, tmp_path):
    curve_in(broken).unlink()
    assert "--unfiltered" in refused(broken)
    made = tmp_path / "made"
    image.main([str(broken), f"--save_dir={made}", "--offline", "--plot=no", "--unfiltered"])
    with fits.open(next(made.rglob("*detxy*.fits*"))) as hdus:
        assert "FLCUTTHR" not in hdus[0].header
        # CCDs 1-3 lose no good time of their own.
        assert hdus[0].header["EXPOSURE"] == pytest.approx(3000, abs=1)


def test_without_the_threshold_one_must_say_so(broken, refused):
    rewrite(curve_in(broken), set_card("RATE", "FLCUTTHR", "COMMENT nothing"))
    message = refused(broken)
    assert "FLCUTTHR" in message
    assert "--unfiltered" in message


def test_a_truncated_light_curve_is_refused(broken, refused):
    path = curve_in(broken)
    path.write_bytes(path.read_bytes()[:4000])
    assert path.name in refused(broken)


def test_the_timing_mode_has_no_image(whole, broken, refused):
    timing = next(whole.folder.glob("*TIEVLI*"))
    assert "FastTiming" in refused(timing)
    events_in(broken).unlink()
    shutil.copy(timing, broken)
    assert "timing" in refused(broken)
    # Also where the name says imaging and the header does not.
    shutil.copy(timing, broken / timing.name.replace("TIEVLI", "PIEVLI"))
    assert "FastTiming" in refused(broken)


def test_a_window_mode_needs_a_flag(broken, refused, tmp_path):
    rewrite(events_in(broken), set_card("EVENTS", "SUBMODE", "SUBMODE = 'PrimeLargeWindow'"))
    assert "--any-mode" in refused(broken)
    image.main(
        [str(broken), f"--save_dir={tmp_path / 'made'}", "--offline", "--plot=no", "--any-mode"]
    )


def test_mos_is_not_pn(whole, broken, refused):
    mos = next(whole.folder.glob("*MIEVLI*"))
    assert "MOS" in refused(mos).upper()
    events_in(broken).unlink()
    shutil.copy(mos, broken)
    assert "MOS" in refused(broken).upper()


def test_missing_columns_are_named(broken, refused):
    def change(content):
        return content.replace(b"'DETX    '", b"'NOTX    '")

    rewrite(events_in(broken), change)
    assert "DETX" in refused(broken)


def test_a_header_does_not_choose_the_folder(broken, tmp_path):
    rewrite(events_in(broken), set_card("EVENTS", "OBS_ID", "OBS_ID  = '../../evil'"))
    image.main([str(broken), f"--save_dir={tmp_path / 'made'}", "--offline", "--plot=no"])
    assert [path.name[:10] for path in (tmp_path / "made").iterdir()] == ["0000000001"]


def test_two_observations_are_not_mixed(broken, refused):
    path = events_in(broken)
    shutil.copy(path, path.with_name(path.name.replace("0000000001", "0000000002")))
    assert "2 observations" in refused(broken)


# --- nothing left to make an image of --------------------------------------------------------


def test_an_empty_selection_is_refused(broken, refused):
    assert "PI" in refused(broken, "--low_pi=20000", "--high_pi=20400")
    assert "pi" in refused(broken, "--low_pi=2000", "--high_pi=500").lower()


def test_no_good_time_is_refused(broken, refused):
    rewrite(curve_in(broken), set_card("RATE", "FLCUTTHR", "FLCUTTHR= 0.5"))
    assert "no good time" in refused(broken)


def test_good_time_elsewhere_is_refused(whole, broken, refused):
    shutil.copy(whole.exposures["S003"].light_curve, curve_in(broken))
    assert "no good time" in refused(broken)


@pytest.mark.parametrize("flag", ["--split=0", "--split=-5", "--split=1000", "--binSize=0"])
def test_impossible_parts_are_refused(broken, refused, flag):
    assert refused(broken, flag)


# --- several exposures, full disks -----------------------------------------------------------


def test_of_several_exposures_the_longest_with_its_own_light_curve(whole, tmp_path):
    flags = ("--offline", "--plot=no", "--expo_time=0")
    image.main([str(whole.folder), f"--save_dir={tmp_path}", *flags])
    header = fits.getheader(next(tmp_path.rglob("*detxy*.fits*")))
    assert header["EXPIDSTR"] == whole.longest.name
    assert header["FLCUTTHR"] == THRESHOLD
    good = max(whole.longest.good_time(n).sum() * 0.5 for n in range(1, 13))
    assert header["EXPOSURE"] == pytest.approx(good, abs=1e-6)


def test_a_full_disk_leaves_nothing_behind(whole, refused):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        message = refused(whole.folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written" in message


def test_a_folder_that_is_a_file_is_said(whole, tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(SystemExit) as caught:
        image.main([str(whole.folder), f"--save_dir={tmp_path / 'taken'}", "--offline"])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert (tmp_path / "taken").read_text() == "mine"


# --- headers from nowhere --------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A list and a light curve of two CCDs, small enough to be read ten thousand times."""
    rng, folder = np.random.default_rng(5), tmp_path_factory.mktemp("small")
    exposure = make_exposure("S003", 5e8, 1000, rng=rng, pointing=Pointing())
    rows = draw_rows(rng, exposure, flat_rate(1.0))
    rows = rows[np.isin(rows["CCDNR"], (1, 4))]
    exposure = dataclasses.replace(exposure, stdgti={n: exposure.stdgti[n] for n in (1, 4)})
    events = event_list(exposure, "0000000001", [rows], len(rows))
    curve = light_curve(rng, exposure, "0000000001", flare=True, threshold=True)
    return [write_pieces(folder / f"{i}.fits", pieces) for i, pieces in enumerate((events, curve))]


@functools.cache
def cards_of(path):
    """Content of a file and where the cards of its headers lie."""
    places = []
    with fits.open(path) as hdus:
        for hdu in hdus:
            info = hdu.fileinfo()
            places += range(info["hdrLoc"], info["datLoc"], 80)
    return path.read_bytes(), places


NUMBERS = ["-1", "0", "1", "7", "999", "100000000", "99999999999999999999", "-2147483649", "1E308"]
NUMBERS += ["1E400", "-0.5", "NaN", "INF", "1.5D0", "1e-320", "0x10", "T", "F", "", "(1, 2)"]
WORDS = ["", " ", "X", "1", "nan", "EVENTS", "STDGTI99", "BADPIX", "y" * 66, "D", "99999999999D"]
WORDS += [
    "E",
    "J",
    "I",
    "B",
    "2J",
    "3X",
    "PD(5)",
    "Q",
    "16A",
    "TABLE",
    ":",
    "TIME",
    "EPN",
    "0000000001",
]
KEYS = ["NAXIS", "END", "EXTNAME", "TTYPE1", "DSTYP3", "", "\xc4"]
VALUE = (
    st.sampled_from([*NUMBERS, *(f"'{word}'" for word in WORDS), "'open"])
    | st.text("'/=&%()ABCxyz0123456789.-+ E", max_size=66)
)  # fmt: skip
SHARE = st.floats(0, 1, exclude_max=True)
CHANGE = st.one_of(
    st.tuples(st.just("value"), VALUE),
    st.tuples(st.just("key"), st.sampled_from(KEYS)),
    st.tuples(st.just("raw"), st.binary(min_size=80, max_size=80)),
    st.tuples(st.just("other"), SHARE),
)
CHANGES = st.lists(st.tuples(SHARE, CHANGE), min_size=1, max_size=4)


def spoil(path, changes):
    """Copy a file with some of its cards changed."""
    content, places = cards_of(path)
    content = bytearray(content)
    for where, (kind, what) in changes:
        at = places[int(where * len(places))]
        card = bytes(content[at : at + 80])
        if kind == "value":
            card = card[:8] + b"= " + what.encode("latin-1", "replace")
        elif kind == "key":
            card = what.encode("latin-1").ljust(8) + card[8:]
        elif kind == "raw":
            card = what
        else:
            other = places[int(what * len(places))]
            card = bytes(content[other : other + 80])
        content[at : at + 80] = card.ljust(80)[:80]
    spoilt = path.with_name("spoilt.fits")
    spoilt.write_bytes(content)
    return spoilt


def one_line(error, path):
    text = str(error)
    assert "\n" not in text
    assert str(path) in text
    assert len(text) < 600


def check_list(path, *, images):
    """Read a spoilt list and make its image: an image or one line is all that may come."""
    try:
        events = read_event_list(path)
        parts = plan_parts(events, None, expo_time_ks=0.5)
        for made in make_images(events, parts) if images else ():
            made.header.tostring()
            assert np.isfinite(made.exposure).all()
            assert 0 < made.header["EXPOSURE"] < 1e9
    except InputError as error:
        one_line(error, path)


def check_curve(path):
    try:
        gti = quiet_gti(read_light_curve(path))
        assert (np.diff(gti) > 0).all()
    except InputError as error:
        one_line(error, path)


RELAXED = {"suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=50, **RELAXED)
@given(CHANGES)
def test_spoilt_headers_give_an_image_or_one_line(small, changes):
    check_list(spoil(small[0], changes), images=True)


@settings(max_examples=100, **RELAXED)
@given(CHANGES)
def test_spoilt_light_curves_give_intervals_or_one_line(small, changes):
    check_curve(spoil(small[1], changes))


@pytest.mark.slow
@settings(max_examples=1000, **RELAXED)
@given(CHANGES)
def test_1500_spoilt_headers_give_an_image_or_one_line(small, changes):
    check_list(spoil(small[0], changes), images=True)


@pytest.mark.slow
@settings(max_examples=5000, **RELAXED)
@given(CHANGES)
def test_5000_spoilt_headers_are_read_or_give_one_line(small, changes):
    check_list(spoil(small[0], changes), images=False)


@pytest.mark.slow
@settings(max_examples=3500, **RELAXED)
@given(CHANGES)
def test_3500_spoilt_light_curves_give_intervals_or_one_line(small, changes):
    check_curve(spoil(small[1], changes))
