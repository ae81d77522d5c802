import gzip

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.observation import Observation, read_observation, write_observation
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask

LIVE = mask(PN, 1)
COUNTS = np.random.default_rng(3).poisson(np.linspace(0, 2, 411 * 403)).reshape(411, 403)
CARDS = {
    "TELESCOP": "XMM", "INSTRUME": "EPN", "DATAMODE": "IMAGING", "SUBMODE": "PrimeFullWindow",
    "FILTER": "Thin1", "OBS_ID": "0123456789", "EXPOSURE": 20000.0,
    "SLCTEXPR": "(FLAG == 0) && (PI in [500:2000])",
    "CTYPE1": "DETX", "CRPIX1": 1, "CRVAL1": -18243.5, "CDELT1": 80.0,
    "CTYPE2": "DETY", "CRPIX2": 1, "CRVAL2": -17487.5, "CDELT2": 80.0,
    "RA_PNT": 49.9778, "DEC_PNT": 41.4933, "PA_PNT": 261.963, "RADECSYS": "FK5", "EQUINOX": 2000.0,
}  # fmt: skip


def _write(path, *, counts=COUNTS, extensions=(), **cards):
    header = fits.Header(
        {key: value for key, value in (CARDS | cards).items() if value is not None}
    )
    data = np.asarray(counts)
    data = data.astype(np.int32) if data.dtype == np.int64 else data
    fits.HDUList([fits.PrimaryHDU(data, header), *extensions]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "field.fits"


def test_a_detector_image(path):
    observation = read_observation(_write(path))
    np.testing.assert_array_equal(observation.counts, COUNTS)
    assert observation.counts.dtype == np.int32
    assert observation.exposure.dtype == np.float32
    np.testing.assert_array_equal(observation.valid, LIVE)
    np.testing.assert_array_equal(observation.exposure, np.where(LIVE, 20000, 0))
    assert observation.exposure_s == 20000
    assert (observation.obs_id, observation.camera, observation.filter) == (
        "0123456789",
        "pn",
        "thin1",
    )
    assert observation.band_kev == (0.5, 2.0)
    assert observation.pixel_arcsec == 4
    assert observation.wcs_method == "pointing"
    assert observation.notes == ()


@pytest.mark.parametrize("name", ["a.fits.gz", "a.FTZ"])
def test_compressed(path, name):
    packed = path.with_name(name)
    packed.write_bytes(gzip.compress(_write(path).read_bytes()))
    np.testing.assert_array_equal(read_observation(packed).counts, COUNTS)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_counts(path, dtype):
    observation = read_observation(_write(path, counts=COUNTS.astype(dtype)))
    np.testing.assert_array_equal(observation.counts, COUNTS)


def test_exposure_need_not_be_what_the_name_promises(path):
    path = path.with_name("0506260401_pn_cleaned_20.0ks_detxy_500_2000_80.fits")
    assert read_observation(_write(path, EXPOSURE=37500.0)).exposure_s == 37500


def _changed(value):
    counts = COUNTS.astype(np.float32)
    counts[200, 100] = value
    return {"counts": counts}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": COUNTS.T}, "403 x 411 .rows x columns., expected 411 x 403"),
        ({"counts": COUNTS[:-1]}, "410 x 403"),
        ({"counts": COUNTS.repeat(2, 0).repeat(2, 1)}, "822 x 806"),
        ({"counts": np.zeros((3, 411, 403), np.int32)}, "no two-dimensional image"),
        ({"EXPOSURE": None}, "no EXPOSURE"),
        ({"EXPOSURE": 0.0}, "EXPOSURE is 0; it must be a positive number"),
        ({"EXPOSURE": -5}, "EXPOSURE is -5"),
        ({"EXPOSURE": "20 ks"}, "EXPOSURE is '20 ks', expected a number"),
        ({"EXPOSURE": True}, "EXPOSURE is True"),
        (_changed(np.nan), "1 pixels are NaN or infinite"),
        (_changed(np.inf), "NaN or infinite"),
        (_changed(-1), "negative counts .minimum -1."),
        (_changed(0.5), "not whole numbers, so not counts"),
        (_changed(1e12), "not whole numbers"),
        ({"INSTRUME": "EMOS2"}, "INSTRUME is EMOS2"),
        ({"SUBMODE": "FastTiming", "DATAMODE": "TIMING"}, "DATAMODE is TIMING.*SUBMODE is Fast"),
        ({"SLCTEXPR": "PI in [2000:10000]"}, "energy band 2-10 keV"),
        ({"PA_PNT": "east"}, "header card cannot be understood .PA_PNT is 'east'"),
        ({"ONTIME04": "long"}, "ONTIME04 is 'long'"),
    ],
)
def test_bad_input_gets_one_line(path, change, words):
    _write(path, **change)
    with pytest.raises(InputError, match=words) as caught:
        read_observation(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_force_accepts_another_kind_but_not_bad_counts(path):
    _write(path, INSTRUME="EMOS2", SLCTEXPR="PI in [2000:10000]")
    observation = read_observation(path, force=True)
    assert observation.band_kev == (2.0, 10.0)
    assert len(observation.notes) == 2
    _write(path, INSTRUME="EMOS2", counts=COUNTS - 9)
    with pytest.raises(InputError, match="negative counts"):
        read_observation(path, force=True)


def test_another_size_is_accepted_with_force_only(path):
    _write(path, counts=COUNTS[1:])
    with pytest.raises(InputError, match="410 x 403"):
        read_observation(path)
    observation = read_observation(path, force=True)
    assert observation.valid.all()  # no mask of the camera fits
    assert "forced: 410 x 403 pixels" in observation.notes[0]


def test_given_mask_outranks_the_file_and_the_file_the_camera(path):
    in_file, given = np.zeros((2, 411, 403), np.uint8)
    in_file[100:200, 50:90], given[7, 9] = 1, 1
    _write(path, extensions=[fits.ImageHDU(in_file, name="MASK")])
    np.testing.assert_array_equal(read_observation(path).valid, in_file > 0)
    np.testing.assert_array_equal(read_observation(path, mask=given).valid, given > 0)
    with pytest.raises(InputError, match="mask of shape"):
        read_observation(path, mask=given[1:])
    with pytest.raises(InputError, match="no pixel has exposure"):
        read_observation(path, mask=0 * given)


def test_exposure_map_in_the_file(path):
    exposure = np.linspace(0, 30000, 411 * 403, dtype=np.float32).reshape(411, 403)
    _write(path, extensions=[fits.ImageHDU(exposure, name="EXPOSURE")])
    observation = read_observation(path)
    np.testing.assert_array_equal(observation.exposure, np.where(LIVE, exposure, 0))
    assert "differs across the field" in observation.notes[0]
    for bad in (exposure[1:], -exposure, np.where(exposure > 9, np.nan, exposure)):
        _write(path, extensions=[fits.ImageHDU(bad, name="EXPOSURE")])
        with pytest.raises(InputError, match="its exposure map must"):
            read_observation(path)


def _same(one, other):
    for field in ("counts", "exposure", "valid"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        assert getattr(one, field).dtype == getattr(other, field).dtype
    for field in ("exposure_s", "wcs_method", "obs_id", "camera", "filter", "band_kev", "notes"):
        assert getattr(one, field) == getattr(other, field), field
    grid = [[0, 0], [402, 0], [17, 410]]
    for field in ("wcs", "detector_wcs"):
        first, second = getattr(one, field), getattr(other, field)
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_allclose(
                first.all_pix2world(grid, 0), second.all_pix2world(grid, 0), rtol=1e-13
            )


@pytest.mark.parametrize("name", ["out.fits", "out.fits.gz"])
def test_round_trip(path, name):
    times = {f"ONTIME{n:02d}": 20000.0 - 700 * n for n in range(1, 13)} | {"ONTIME02": 20000.0}
    first = read_observation(_write(path, **times))
    assert first.exposure.max() == 20000
    assert len(np.unique(first.exposure)) == 13
    _same(read_observation(write_observation(path.with_name(name), first)), first)


def test_simulated_observation_round_trip(path):
    exposure = np.where(LIVE, 20000, 0).astype(np.float32)
    first = Observation(
        counts=COUNTS.astype(np.int32), exposure=exposure, valid=LIVE, exposure_s=20000.0,
        obs_id="sim-7", filter="thin1",
    )  # fmt: skip
    back = read_observation(write_observation(path, first))
    np.testing.assert_array_equal(back.counts, first.counts)
    assert (back.obs_id, back.filter, back.wcs, back.wcs_method) == ("sim-7", "thin1", None, "none")
    assert len(back.notes) == 1  # the mode is not stated


@pytest.mark.reference
def test_real_images(shared, tmp_path):
    for folder in ("images", "real/20ks", "real/full"):
        for path in sorted((shared / "data" / folder).iterdir()):
            observation = read_observation(path)
            assert observation.obs_id == path.name[:10]
            assert observation.wcs_method == ("file" if folder == "images" else "pointing")
            assert observation.counts[LIVE].sum() > 0.96 * observation.counts.sum()
            _same(
                read_observation(write_observation(tmp_path / "a.fits", observation)), observation
            )
    assert {p.name for p in tmp_path.iterdir()} == {"a.fits"}


@pytest.mark.reference
def test_what_is_not_a_pn_image(shared):
    events = shared / "data" / "events"
    for path, words in {
        events / "mos/0201901401/eclean/mos1_exp1_clean_evts.fits.gz": "event list",
        events / "mos/0201901401/images/0201901401_mos1_exp1-0.50-2.00keVimg.fits.gz": "EMOS1",
        events / "pn_flare_0124710801/PN_image.fits.gz": "energy band 0.5-12 keV",
        events / "pn_flare_0124710801/PN_gti.fits": "no two-dimensional image",
        shared / "data/detector_mask/pn_expo_500_2000_detxy.ds.gz": "not whole numbers",
    }.items():
        with pytest.raises(InputError, match=words):
            read_observation(path)
