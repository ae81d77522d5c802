"""Names of pipeline products, and the choice of event list and light curve."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.pps import find_event_files, find_products, parse_product, read_events_header
from xmm_jax.errors import InputError


def write_list(path, *, ontime=1000.0, mode="PrimeFullWindow", **cards):
    """An event list without events: all that is read here is its header."""
    table = fits.BinTableHDU.from_columns([fits.Column("TIME", "D", array=np.zeros(1))])
    table.name = "EVENTS"
    table.header.update({"ONTIME": ontime, "SUBMODE": mode, "INSTRUME": "EPN"} | cards)
    hdus = fits.HDUList([fits.PrimaryHDU(), table])
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") if path.suffix == ".FTZ" else path.open("wb") as file:
        hdus.writeto(file)
    return path


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def name_of(exposure, kind, *, obs_id="0852030101", instrument="PN"):
    return f"P{obs_id}{instrument}{exposure}{kind}0000.FTZ"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        # Names of real products: 0852030101 and the files under ../shared/data/events.
        ("P0852030101PNU002PIEVLI0000.FTZ", ("0852030101", "PN", "U002", "PIEVLI", "FTZ")),
        ("P0124710801PNS001FBKTSR0000.FTZ", ("0124710801", "PN", "S001", "FBKTSR", "FTZ")),
        ("P0201901401OBX000ATTTSR0000.FIT.gz", ("0201901401", "OB", "X000", "ATTTSR", "FIT")),
        ("P0852030101M1S001MIEVLI0000.FTZ", ("0852030101", "M1", "S001", "MIEVLI", "FTZ")),
        ("P0852030101EPX000OIMAGE8000.FTZ", ("0852030101", "EP", "X000", "OIMAGE", "FTZ")),
        ("P0852030101PNS003SRSPEC102A.FTZ", ("0852030101", "PN", "S003", "SRSPEC", "FTZ")),
    ],
)
def test_names_of_products(name, parts):
    product = parse_product(f"some/folder/{name}")
    assert product is not None
    assert product[1:] == parts
    assert product.path.name == name


@pytest.mark.parametrize(
    "name",
    [
        "PP0852030101EEVLIS000_0.HTM",
        "P0852030101PNU002PIEVLI0000.FTZ.part",
        "xP0852030101PNU002PIEVLI0000.FTZ",
        "P085203010PNU002PIEVLI0000.FTZ",
        "P0852030101PNU02PIEVLI0000.FTZ",
        "P0852030101PNA002PIEVLI0000.FTZ",
        "P0852030101PNU002PIEVLI000G.FTZ",
        "p0852030101pnu002pievli0000.ftz",
        "P0852030101PNU002PIEVLI0000.FTZ\n",
        "",
    ],
)
def test_other_names(name):
    assert parse_product(name) is None


@pytest.mark.parametrize("below", ["", "pps", "0852030101/pps"])
def test_longest_exposure_and_the_curve_of_the_same_exposure(below, tmp_path):
    pps = tmp_path / below
    write_list(pps / name_of("S003", "PIEVLI"), ontime=5_000.0)
    longest = write_list(pps / name_of("U002", "PIEVLI"), ontime=34_000.0)
    write_list(pps / name_of("U014", "PIEVLI"), ontime=33_000.0)
    touch(*(pps / name_of(exposure, "FBKTSR") for exposure in ("S003", "U002", "U014")))
    touch(pps / name_of("U002", "FBKTSR", instrument="M1"), pps / "PP0852030101EEVLIS000_0.HTM")
    write_list(pps / name_of("U002", "MIEVLI", instrument="M1"), ontime=99_000.0)
    files = find_event_files(tmp_path)
    assert files.events == longest
    assert files.light_curve == pps / name_of("U002", "FBKTSR")
    assert len(files.notes) == 2
    assert "S003PIEVLI" in files.notes[0]
    assert "5.0 ks; U002 is used" in files.notes[0]
    assert len(find_products(tmp_path)) == 8


def test_a_curve_of_another_exposure_is_none(tmp_path):
    write_list(tmp_path / name_of("U002", "PIEVLI"))
    touch(tmp_path / name_of("S003", "FBKTSR"))
    assert find_event_files(tmp_path).light_curve is None


def test_window_modes_only_when_asked(tmp_path):
    small = write_list(
        tmp_path / name_of("S003", "PIEVLI"), ontime=50_000.0, mode="PrimeSmallWindow"
    )
    with pytest.raises(InputError, match=r"PrimeSmallWindow, not full frame; pass --any-mode"):
        find_event_files(tmp_path)
    assert find_event_files(tmp_path, any_mode=True).events == small
    extended = write_list(
        tmp_path / name_of("U002", "PIEVLI"), ontime=10.0, mode="PrimeFullWindowExtended"
    )
    assert find_event_files(tmp_path).events == extended
    assert find_event_files(tmp_path, any_mode=True).events == small


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], r"no pipeline products \(P\.\.\.PN\.\.\.PIEVLI"),
        ([name_of("S003", "TIEVLI"), name_of("S003", "FBKTSR")], "timing or burst mode"),
        ([name_of("S001", "MIEVLI", instrument="M1")], "event lists of MOS only"),
        ([name_of("S003", "FBKTSR")], "no pn event list"),
        (
            [name_of("S003", "PIEVLI"), name_of("S003", "PIEVLI", obs_id="0852030201")],
            r"products of 2 observations \(0852030101, 0852030201 \.\.\.\)",
        ),
    ],
)
def test_folders_that_do_not_do(names, says, tmp_path):
    touch(*(tmp_path / name for name in names))
    with pytest.raises(InputError, match=says) as caught:
        find_event_files(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_event_files(tmp_path / "none")


def test_timing_mode_in_the_header(tmp_path):
    write_list(tmp_path / name_of("S003", "PIEVLI"), mode="FastTiming")
    with pytest.raises(InputError, match="FastTiming, not full frame; there is no image to make"):
        find_event_files(tmp_path, any_mode=True)


def test_one_file_by_its_name(tmp_path):
    events = write_list(tmp_path / name_of("S003", "PIEVLI"))
    write_list(tmp_path / name_of("U002", "PIEVLI"), ontime=9e9)
    touch(tmp_path / name_of("S003", "FBKTSR"), tmp_path / name_of("U002", "FBKTSR"))
    files = find_event_files(events)
    assert files.events == events
    assert files.light_curve == tmp_path / name_of("S003", "FBKTSR")


def test_one_file_of_any_name(tmp_path):
    cards = {"OBS_ID": "0852030101", "EXPIDSTR": "U002"}
    events = write_list(tmp_path / "pn_clean.fits", **cards)
    assert find_event_files(events).light_curve is None
    touch(tmp_path / name_of("S003", "FBKTSR"), tmp_path / name_of("U002", "FBKTSR"))
    assert find_event_files(events).light_curve == tmp_path / name_of("U002", "FBKTSR")


def test_lists_that_cannot_be_read(tmp_path):
    path = write_list(tmp_path / name_of("S003", "PIEVLI"))
    content = path.read_bytes()
    for broken in (b"", b"text", content[:20], gzip.compress(gzip.decompress(content)[:4000])):
        path.write_bytes(broken)
        says = r"S003PIEVLI0000\.FTZ: (not a readable FITS file|no extension EVENTS)"
        with pytest.raises(InputError, match=says):
            find_event_files(tmp_path)
    fits.PrimaryHDU().writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="no extension EVENTS"):
        read_events_header(tmp_path / "image.fits")


@pytest.mark.parametrize("card", ["SUBMODE = 'Prime 'x", "SUBMODE = 12", "SUBMODE"])
def test_cards_that_cannot_be_understood_are_as_good_as_missing(card, tmp_path):
    path = write_list(tmp_path / "pn.fits")
    content = path.read_bytes()
    at = content.index(b"SUBMODE =")
    path.write_bytes(content[:at] + card.ljust(80).encode() + content[at + 80 :])
    path.rename(tmp_path / name_of("S003", "PIEVLI"))
    with pytest.raises(InputError, match=r"pn was in (an unknown mode|12), not full frame"):
        find_event_files(tmp_path)
