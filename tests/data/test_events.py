"""What an event list says about itself, read from a synthetic one and from lists with faults."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.events import COLUMNS, event_chunks, read_event_list
from xmm_jax.errors import InputError

NAMES = {
    "TIME": "D", "RAWX": "I", "RAWY": "I", "DETX": "I", "DETY": "I", "X": "J", "Y": "J",
    "PHA": "I", "PI": "I", "FLAG": "J", "PATTERN": "B", "CCDNR": "B",
}  # fmt: skip
CARDS = {
    "INSTRUME": "EPN", "DATAMODE": "IMAGING", "SUBMODE": "PrimeFullWindow", "FILTER": "Thin1",
    "OBS_ID": "0123456789", "TSTART": 1000.0, "TSTOP": 2000.0, "MJDREF": 50814.0,
    "ONTIME01": 900.0, "LIVETI01": 843.0,
    "TCRPX6": 25921, "TCRVL6": 150.0, "TCDLT6": -1 / 72000, "TCTYP6": "RA---TAN",
    "TCRPX7": 25921, "TCRVL7": -11.0, "TCDLT7": 1 / 72000, "TCTYP7": "DEC--TAN",
    "TNULL6": -99999999, "TNULL7": -99999999,
}  # fmt: skip


def gti_table(name, rows, **cards):
    start, stop = np.array(rows, float).reshape(-1, 2).T
    columns = [fits.Column("START", "D", array=start), fits.Column("STOP", "D", array=stop)]
    table = fits.BinTableHDU.from_columns(columns, name=name)
    table.header.update(cards)
    return table


def write(path, *, rows=5, lack=(), drop=(), tables=None, name="EVENTS", formats=None, **cards):
    """An event list with or without what it should have."""
    kinds = NAMES | (formats or {})
    columns = [
        fits.Column(key, kinds[key], array=np.arange(rows) + 1) for key in kinds if key not in lack
    ]
    events = fits.BinTableHDU.from_columns(columns, name=name)
    known = {key: value for key, value in (CARDS | cards).items() if key not in drop}
    events.header.update(known)
    if tables is None:
        tables = [gti_table("STDGTI01", [[1000, 1900]], CCDID=1)]
    fits.HDUList([fits.PrimaryHDU(), events, *tables]).writeto(path)
    return path


def test_synthetic_list(synthetic_pps):
    exposure = synthetic_pps.longest
    events = read_event_list(exposure.events)
    assert (events.camera, events.obs_id, events.gti_origin) == ("pn", "0000000001", "STDGTI")
    assert events.rows == len(exposure.rows)
    assert events.notes == ()
    assert sorted(events.gti) == list(range(1, 13))
    for ccd, gti in exposure.stdgti.items():
        np.testing.assert_array_equal(events.gti[ccd], gti)
        bad = exposure.bad[ccd]
        truth = np.stack([bad[key] for key in ("RAWX", "RAWY", "YEXTENT", "TYPE")], axis=1)
        np.testing.assert_array_equal(events.bad_pixels[ccd], truth)
    assert events.sky.centre_deg == (synthetic_pps.pointing.ra, synthetic_pps.pointing.dec)
    assert events.sky.null == (-99999999, -99999999)
    # 1 - 0.0636 of the time of a full frame is live (XMM-Newton Users' Handbook).
    np.testing.assert_allclose(list(events.livetime.values()), 0.9364, atol=1e-4)
    assert events.header["SLCTEXPR"].endswith("STDGTI01,TIME)")


@pytest.mark.parametrize("rows", [1000, 1_000_000])
def test_events_are_those_written(synthetic_pps, rows):
    exposure = synthetic_pps.longest
    events = read_event_list(exposure.events)
    parts = list(event_chunks(events, rows=rows))
    for name, column in COLUMNS.items():
        read = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(read, exposure.rows[column].astype(read.dtype))
        assert read.dtype == (np.float64 if name == "time_s" else np.int32)


def test_truncated_plain_and_packed(synthetic_pps, tmp_path):
    content = synthetic_pps.longest.events.read_bytes()
    plain = gzip.decompress(content)
    for whole in (content, plain):
        for share in (0.1, 0.6, 0.999):
            path = tmp_path / "P0000000001PNU002PIEVLI0000.FTZ"
            path.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(InputError, match=r"PIEVLI0000.FTZ: .*fetch or make it again"):
                read_event_list(path)


def test_a_list_that_shrinks_while_it_is_read(synthetic_pps, tmp_path):
    path = tmp_path / "list.FIT"
    path.write_bytes(gzip.decompress(synthetic_pps.longest.events.read_bytes()))
    events = read_event_list(path)
    with path.open("r+b") as file:
        file.truncate(events.table.offset + 100 * events.table.row.itemsize)
    with pytest.raises(InputError, match="truncated"):
        list(event_chunks(events))
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        list(event_chunks(events))
    shutil.copy(synthetic_pps.longest.events, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "RATE"}, "no extension EVENTS"),
        ({"INSTRUME": "EMOS1"}, "of mos1, not of pn"),
        ({"INSTRUME": "RGS1"}, "INSTRUME is RGS1"),
        ({"drop": ("INSTRUME",)}, "INSTRUME is missing"),
        ({"DATAMODE": "TIMING", "SUBMODE": "FastTiming"}, "FastTiming has no image"),
        ({"SUBMODE": "FastBurst"}, "FastBurst has no image"),
        ({"SUBMODE": "PrimeSmallWindow"}, "PrimeSmallWindow.*--any-mode"),
        ({"drop": ("SUBMODE",)}, "SUBMODE is missing"),
        ({"FILTER": "CalClosed"}, "no sky"),
        ({"lack": ("DETX",)}, "no column DETX"),
        ({"lack": ("FLAG",)}, "no column FLAG"),
        ({"formats": {"PI": "E"}}, "PI has an unexpected type"),
        ({"formats": {"TIME": "J"}}, "TIME has an unexpected type"),
        ({"drop": ("TSTART",), "tables": []}, "TSTART"),
        ({"TCRPX6": "middle"}, "TCRPX6"),
        ({"TNULL6": 0.5}, "TNULL6"),
        ({"ONTIME01": "long"}, "ONTIME01"),
        ({"tables": [gti_table("STDGTI01", [[1, 2]], CCDID="one")]}, "CCDID"),
    ],
)
def test_lists_that_are_refused(tmp_path, changes, message):
    path = write(tmp_path / "list.fits", **changes)
    with pytest.raises(InputError, match=message) as caught:
        read_event_list(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_window_modes_and_other_cameras_on_request(tmp_path):
    window = write(tmp_path / "window.fits", SUBMODE="PrimeSmallWindow")
    assert read_event_list(window, any_mode=True).camera == "pn"
    timing = write(tmp_path / "timing.fits", SUBMODE="FastTiming", DATAMODE="TIMING")
    with pytest.raises(InputError, match="no image"):
        read_event_list(timing, any_mode=True)
    mos = write(tmp_path / "mos.fits", INSTRUME="EMOS2", SUBMODE="PrimePartialW2")
    events = read_event_list(mos, camera=None)
    assert events.camera == "mos2"
    assert next(event_chunks(events, ["ccdnr"]))["ccdnr"].max() < 10


def test_tables_of_a_time_filter_go_before_stdgti(tmp_path):
    tables = [
        gti_table("STDGTI01", [[1000, 1900]], CCDID=1),
        gti_table("STDGTI04", [[1000, 1900]], CCDID=4),
        gti_table("STDGTI07", [[1000, 1800]], CCDID=7),
        gti_table("GTI00002", [[1000, 1950]], CCDID=1),  # of an earlier filter
        gti_table("GTI00006", [[1000, 1100], [1200, 1300]], CCDID=1),
        gti_table("GTI00106", [[1500, 1600]], CCDID=4),
    ]
    cards = {"DSTYP1": "CCDNR", "DSTYP2": "TIME", "DSREF2": ":GTI00002", "DSTYP6": "TIME"}
    cards |= {"DSREF6": ":GTI00006", "2DSREF6": ":GTI00106"}
    events = read_event_list(write(tmp_path / "l.fits", tables=tables, drop=("ONTIME01",), **cards))
    assert events.gti_origin == "GTI"
    np.testing.assert_array_equal(events.gti[1], [[1000, 1100], [1200, 1300]])
    np.testing.assert_array_equal(events.gti[4], [[1500, 1600]])
    np.testing.assert_array_equal(events.gti[7], [[1000, 1800]])


def test_a_filter_without_ccd_holds_for_all(tmp_path):
    tables = [
        gti_table("STDGTI01", [[1000, 1900]], CCDID=1),
        gti_table("STDGTI04", [[1500, 1900]], CCDID=4),
        gti_table("GTI00005", [[1400, 1450], [1600, 1700]]),
    ]
    cards = {"DSTYP1": "TIME", "DSREF1": ":GTI00005"}
    events = read_event_list(write(tmp_path / "l.fits", tables=tables, **cards))
    np.testing.assert_array_equal(events.gti[1], [[1400, 1450], [1600, 1700]])
    np.testing.assert_array_equal(events.gti[4], [[1600, 1700]])
    assert events.gti_origin == "GTI"


def test_without_tables_all_the_exposure_is_good(tmp_path):
    events = read_event_list(write(tmp_path / "l.fits", tables=[], ONTIME12=5.0))
    assert sorted(events.gti) == [1, 12]
    np.testing.assert_array_equal(events.gti[12], [[1000, 2000]])
    assert events.gti_origin == "TSTART-TSTOP"
    assert "CCD 1, 12" in events.notes[0]
    events = read_event_list(write(tmp_path / "m.fits", tables=[], drop=("ONTIME01",)))
    assert sorted(events.gti) == list(range(1, 13))


def test_gti_in_disorder_is_put_right(tmp_path):
    rows = [[1500, 1600], [1000, 1200], [1100, 1300], [1700, 1650]]
    events = read_event_list(write(tmp_path / "l.fits", tables=[gti_table("STDGTI01", rows)]))
    np.testing.assert_array_equal(events.gti[1], [[1000, 1300], [1500, 1600]])


def test_no_sky_columns_or_no_coordinates_for_them(tmp_path):
    assert read_event_list(write(tmp_path / "a.fits", lack=("X", "Y"))).sky is None
    assert read_event_list(write(tmp_path / "b.fits", drop=("TCRVL7",))).sky is None
    assert read_event_list(write(tmp_path / "c.fits", TCTYP6="GLON-TAN")).sky is None


def test_a_list_that_lost_a_ccd_is_binned_on_the_usual_grid(tmp_path):
    usual = write(tmp_path / "a.fits", TLMIN4=-18283, TLMIN5=-17527)
    assert read_event_list(usual).notes == ()
    lost = write(tmp_path / "b.fits", TLMIN4=-12889, TLMIN5=-17527)
    assert "begin at (-12889, -17527)" in read_event_list(lost).notes[0]


def test_identifier_from_the_name_of_the_file(tmp_path):
    path = write(tmp_path / "P0852030101PNU002PIEVLI0000.FIT", drop=("OBS_ID",))
    assert read_event_list(path).obs_id == "0852030101"
    assert read_event_list(write(tmp_path / "x.fits", drop=("OBS_ID",))).obs_id == "unknown"
    assert read_event_list(write(tmp_path / "y.fits", OBS_ID=85110101)).obs_id == "0085110101"
