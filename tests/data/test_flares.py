import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.flares import LightCurve, quiet_gti, read_light_curve
from xmm_jax.errors import InputError


def curve(rate, **changes):
    time = 1005.0 + 10 * np.arange(len(rate))
    known = {"time_s": time, "rate": np.array(rate, float), "bin_s": 10.0, "threshold": 2.0}
    return LightCurve(path="curve.FTZ", **(known | changes))


def write(path, *, drop=(), name="RATE", columns=("TIME", "RATE"), **cards):
    rate = np.array([1, 3, 1, 2, 1], ">f4")
    raw = rate.view(">u4").copy()
    raw[2] = 0x7FA00000  # a signalling NaN, as pipeline products hold them
    arrays = {"TIME": 1005.0 + 10 * np.arange(5), "RATE": raw.view(">f4"), "ERROR": rate}
    formats = {"TIME": "D", "RATE": "E", "ERROR": "E"}
    with np.errstate(invalid="ignore"):
        table = fits.BinTableHDU.from_columns(
            [fits.Column(key, formats[key], array=arrays[key]) for key in columns], name=name
        )
    known = {"TIMEDEL": 10.0, "FLCUTTHR": 2.0, "INSTRUME": "EPN"} | cards
    table.header.update({key: value for key, value in known.items() if key not in drop})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def test_half_a_bin_on_either_side_and_the_threshold_is_quiet():
    gti = quiet_gti(curve([1, 1, 3, 2, np.nan, 0, 0]))
    np.testing.assert_array_equal(gti, [[1000, 1020], [1030, 1040], [1050, 1070]])


def test_a_run_ends_where_time_steps():
    time = np.array([1005.0, 1015.0, 1031.0, 1040.5])
    gti = quiet_gti(curve([1, 1, 1, 1], time_s=time))
    np.testing.assert_array_equal(gti, [[1000, 1020], [1026, 1045.5]])


def test_all_quiet_or_nothing():
    assert quiet_gti(curve([3, 3])).shape == (0, 2)
    np.testing.assert_array_equal(quiet_gti(curve([1, 0, 1])), [[1000, 1030]])


def test_no_threshold_is_said():
    with pytest.raises(InputError, match=r"curve.FTZ: no flare threshold .*--unfiltered"):
        quiet_gti(curve([1], threshold=None))
    np.testing.assert_array_equal(quiet_gti(curve([1], threshold=None), 1.0), [[1000, 1010]])


def test_signalling_nan_is_not_quiet(tmp_path):
    read = read_light_curve(write(tmp_path / "c.fits"))
    assert np.isnan(read.rate[2])
    assert (read.bin_s, read.threshold, read.instrument) == (10.0, 2.0, "EPN")
    np.testing.assert_array_equal(quiet_gti(read), [[1000, 1010], [1030, 1050]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "EVENTS"}, "no extension RATE"),
        ({"columns": ("TIME", "ERROR")}, "no column RATE"),
        ({"drop": ("TIMEDEL",)}, "TIMEDEL"),
        ({"TIMEDEL": -1.0}, "without bins"),
        ({"TIMEDEL": "ten"}, "expected a number"),
        ({"FLCUTTHR": "high"}, "FLCUTTHR"),
    ],
)
def test_bad_curves_are_said_in_one_line(tmp_path, changes, message):
    path = write(tmp_path / "c.fits", **changes)
    with pytest.raises(InputError, match=message) as caught:
        read_light_curve(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_threshold_is_none(tmp_path):
    assert read_light_curve(write(tmp_path / "c.fits", drop=("FLCUTTHR",))).threshold is None


def test_real_light_curve_as_sas_cuts_it(shared):
    """SAS tabgtigen with RATE<=0.5 (its XPROC0) made PN_gti from PN_rate, of EXOD."""
    folder = shared / "data/events/pn_flare_0124710801"
    made = fits.getdata(folder / "PN_gti.fits")
    truth = np.stack([made["START"], made["STOP"]], axis=1).astype(float)
    rate = read_light_curve(folder / "PN_rate.fits")
    np.testing.assert_array_equal(quiet_gti(rate, 0.5), truth)


def test_pipeline_product(shared):
    path = shared / "data/events/pn_flare_0124710801/P0124710801PNS001FBKTSR0000.FTZ"
    read = read_light_curve(path)
    with fits.open(path) as hdus:
        best = hdus["SN_TO_BKGCUT"].header
        quiet = int((hdus["RATE"].data["RATE"] <= best["BGOPTCUT"]).sum())
        assert read.threshold == pytest.approx(best["BGOPTCUT"], rel=1e-6)
        assert read.time_s[0] == hdus["RATE"].header["TSTART"] + 5
    gti = quiet_gti(read)
    # The product states how many bins are below the threshold.
    assert quiet == best["NBINOPT"]
    assert (gti[:, 1] - gti[:, 0]).sum() == pytest.approx(10 * best["NBINOPT"], abs=1e-4)
