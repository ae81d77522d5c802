"""Images made of a synthetic event list, against the truth its maker kept."""

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from xmm_jax.data import eventimage
from xmm_jax.data.eventimage import (
    EventImage,
    make_images,
    out_of_time_image,
    plan_parts,
    write_event_image,
)
from xmm_jax.data.events import event_chunks, read_event_list
from xmm_jax.data.flares import quiet_gti, read_light_curve
from xmm_jax.data.observation import read_observation
from xmm_jax.data.selection import Selection
from xmm_jax.errors import InputError


@pytest.fixture(scope="module")
def case(synthetic_pps):
    """Event list, quiet time, and the images of all of it and of its parts."""
    exposure = synthetic_pps.longest
    events = read_event_list(exposure.events)
    quiet = quiet_gti(read_light_curve(exposure.light_curve))
    np.testing.assert_array_equal(quiet, exposure.quiet)
    parts = plan_parts(events, quiet, expo_time_ks=0)
    parts += plan_parts(events, quiet, split_ks=[5, 10])
    return SimpleNamespace(
        pps=synthetic_pps,
        exposure=exposure,
        events=events,
        quiet=quiet,
        images=make_images(events, parts),
    )


def binned(rows, bin_size=80):
    """Rows of a synthetic list counted one by one, with edges as reals."""
    edges = [
        edge + bin_size * np.arange(np.ceil(80 * n / bin_size) + 1)
        for edge, n in ((-17527.5, 411), (-18283.5, 403))
    ]
    counts, _, _ = np.histogram2d(rows["DETY"].astype(float), rows["DETX"].astype(float), edges)
    return counts


def test_counts_are_the_good_events(case):
    whole = case.images[0]
    np.testing.assert_array_equal(whole.counts, binned(case.exposure.rows[case.exposure.good()]))
    assert whole.counts.dtype == np.int32


def test_exposure_is_the_good_time_of_each_ccd(case):
    whole = case.images[0]
    ontime = {ccd: 0.5 * case.exposure.good_time(ccd).sum() for ccd in range(1, 13)}
    assert whole.part.ontime_s == pytest.approx(ontime, abs=1e-6)
    assert len(set(ontime.values())) == 4  # quadrants
    assert set(np.unique(whole.exposure)) == {0.0, *map(np.float32, ontime.values())}
    assert whole.header["EXPOSURE"] == max(ontime.values())
    assert whole.exposure.max() == np.float32(max(ontime.values()))
    np.testing.assert_array_equal(whole.valid, whole.exposure > 0)


def test_nothing_good_falls_on_dead_pixels_but_their_edges(case):
    """Density on pixels that the list's own bad pixels made dead, relative to the rest."""
    from xmm_jax.instrument.camera import PN
    from xmm_jax.instrument.detector import mask

    whole = case.images[0]
    dead = mask(PN, 1) & ~whole.valid
    assert 5000 < dead.sum() < 15_000
    assert whole.counts[dead].mean() < 0.12 * whole.counts[whole.valid].mean()


def test_parts_share_no_event_and_lose_none(case):
    five = [image for image in case.images if image.part.limit_s == 5000]
    ten = [image for image in case.images if image.part.limit_s == 10_000]
    assert len(five) == int(case.images[0].part.exposure_s / 5000)
    for image in [*five, *ten]:
        assert abs(image.header["EXPOSURE"] - image.part.limit_s) < 1e-4
    total = sum(image.counts for image in five)
    assert (total <= case.images[0].counts).all()
    np.testing.assert_array_equal(five[0].counts + five[1].counts, ten[0].counts)
    remainder = case.images[0].part.exposure_s - 5000 * len(five)
    lost = case.images[0].counts.sum() - total.sum()
    assert lost / case.images[0].counts.sum() == pytest.approx(
        remainder / case.images[0].part.exposure_s, abs=0.03
    )


rows_drawn = st.lists(
    st.tuples(
        st.integers(-2, 42),  # time [s]
        st.integers(1, 12),  # CCD
        st.integers(-18400, 14100),  # DETX
        st.integers(-17600, 15500),  # DETY
        st.sampled_from([499, 500, 1234, 2000, 2001, -300]),
        st.sampled_from([0, 0, 0, 1, 0x10000, -(2**31)]),
        st.sampled_from([0, 4, 5, 255]),
    ),
    min_size=1,
    max_size=80,
)


@given(rows_drawn, st.integers(1, 9))
@settings(max_examples=40)
def test_any_list_is_counted_event_by_event(case, drawn, pieces):
    names = ("time_s", "ccdnr", "detx", "dety", "pi_ev", "flag", "pattern")
    rows = dict(zip(names, np.array(drawn).T, strict=True))
    rows |= {"rawx": rows["ccdnr"], "rawy": rows["ccdnr"] + 20}
    gti = {ccd: np.array([[0.0, 10.0], [10.0 + ccd, 40.0]]) for ccd in range(1, 12)}
    events = replace(case.events, gti=gti, sky=None, bad_pixels={})
    (part,) = plan_parts(events, np.array([[5.0, 30.0]]), expo_time_ks=0)
    counts = np.zeros((411, 403), int)
    for time, ccd, detx, dety, pi_ev, flag, pattern in drawn:
        good = 5 <= time <= 10 or 10 + ccd <= time <= 30
        good = good and ccd < 12 and 500 <= pi_ev <= 2000 and flag == 0 and pattern <= 4
        column, row = (detx + 18283) // 80, (dety + 17527) // 80
        if good and 0 <= column < 403 and 0 <= row < 411:
            counts[row, column] += 1
    chunks = [
        {name: values[piece] for name, values in rows.items()}
        for piece in np.array_split(np.arange(len(drawn)), pieces)
    ]
    with mock.patch.object(eventimage, "event_chunks", return_value=chunks):
        if counts.any():
            (image,) = make_images(events, [part])
            np.testing.assert_array_equal(image.counts, counts)
            assert image.header["EXPOSURE"] == 24  # CCD 1: 5-10 and 11-30
        else:
            with pytest.raises(InputError, match="no event"):
                make_images(events, [part])


def test_order_of_rows_and_size_of_pieces_do_not_matter(case, monkeypatch):
    """All of it: counts, mask, and the WCS to the last digit."""
    (columns,) = event_chunks(case.events)
    order = np.random.default_rng(5).permutation(case.events.rows)

    def shuffled(events, names, **_):
        for piece in np.array_split(order, 5):
            yield {name: columns[name][piece] for name in names}

    parts = [image.part for image in case.images[:2]]
    plain = make_images(case.events, parts)
    monkeypatch.setattr(eventimage, "event_chunks", shuffled)
    for one, other in zip(plain, make_images(case.events, parts), strict=True):
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_array_equal(one.exposure, other.exposure)
        assert one.wcs.rms_arcsec == other.wcs.rms_arcsec
        np.testing.assert_array_equal(one.wcs.wcs.wcs.crpix, other.wcs.wcs.wcs.crpix)
        np.testing.assert_array_equal(one.wcs.wcs.wcs.cd, other.wcs.wcs.wcs.cd)


def test_sky_positions_of_sources(case):
    """Where the header says a source is, against where its photons were put."""
    header = fits.Header.fromstring(case.images[0].header.tostring())
    wcs = WCS(header)
    middle = (case.exposure.start + case.exposure.stop) / 2
    for ra, dec, _ in case.pps.sources:
        truth = (case.exposure.det_of_sky(ra, dec, middle) - [-18243.5, -17487.5]) / 80
        ours = wcs.wcs_world2pix([[ra, dec]], 0)[0]
        assert np.hypot(*(ours - truth)) * 4 < 0.3
    assert header["WCSMETH"] == "LSQ-EVENTS"
    assert header["WCSNEVT"] == 20_000
    # The pointing drifts by one arcsec, 0.8 in RA and 0.6 in Dec: 1 / sqrt(24) rms per axis.
    assert header["WCSRMS"] == pytest.approx(np.hypot(1 / np.sqrt(24), 0.1), rel=0.2)


def test_parity_and_roll(case):
    matrix = case.images[0].wcs.wcs.wcs.cd
    assert np.linalg.det(matrix) > 0
    roll = np.rad2deg(np.arctan2(matrix[0, 0], matrix[1, 0]))
    assert roll == pytest.approx(case.pps.pointing.pa + 0.25, abs=0.01)


def test_header(case):
    header = case.images[0].header
    assert header["INSTRUME"] == "EPN"
    assert header["OBS_ID"] == case.pps.obs_id
    assert (header["PIMIN"], header["PIMAX"], header["PATMAX"]) == (500, 2000, 4)
    assert header["FLAREFIL"] is True
    assert (header["LTV1"], header["LTM1_1"]) == (229.04375, 0.0125)
    assert (header["LTV2"], header["LTM2_2"]) == (219.59375, 0.0125)
    assert (header["CRVAL1L"], header["CRVAL2L"]) == (-18243.5, -17487.5)
    good = case.exposure.good_time(4)
    assert header["ONTIME"] == header["ONTIME04"] == 0.5 * good.sum()
    assert header["LIVETIME"] == pytest.approx(0.9364 * header["ONTIME"], rel=1e-3)
    assert header["TELAPSE"] == pytest.approx(header["TSTOP"] - header["TSTART"])
    assert header["EXPSPLIT"] == "1/1"
    assert [image.header["EXPSPLIT"] for image in case.images[-2:]] == ["1/2", "2/2"]
    for key in ("RADECSYS", "CDELT1", "CROTA2", "DSTYP1", "XPROC0", "TLMIN4", "TTYPE1"):
        assert key not in header
    assert case.events.path.name in str(header["HISTORY"])
    assert str(case.events.path.parent) not in str(header)


def test_written_file_is_an_observation(case, tmp_path):
    image = case.images[-1]
    path = write_event_image(tmp_path / "image.fits.gz", image)
    read = read_observation(path)
    np.testing.assert_array_equal(read.counts, image.counts)
    np.testing.assert_array_equal(read.exposure, image.exposure)
    np.testing.assert_array_equal(read.valid, image.valid)
    assert read.exposure_s == pytest.approx(10_000)
    assert (read.wcs_method, read.filter, read.band_kev) == ("file", "medium", (0.5, 2.0))
    np.testing.assert_allclose(read.wcs.wcs.cd, image.wcs.wcs.wcs.cd, rtol=1e-12)
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].data.dtype == ">i4"
        for ccd, gti in image.part.gti.items():
            table = hdus[f"GTI{ccd:02d}"]
            assert table.header["CCDID"] == ccd
            np.testing.assert_array_equal(table.data["START"], gti[:, 0])
            np.testing.assert_array_equal(table.data["STOP"], gti[:, 1])


def test_dates_are_utc_of_the_good_time(case):
    from astropy.time import Time

    header = case.images[0].header
    for key, word in (("TSTART", "DATE-BEG"), ("TSTOP", "DATE-END")):
        # 1998-01-01 TT began 63.184 s before UTC did; four leap seconds came until 2014.
        elapsed = (Time(header[word], scale="utc") - Time("1998-01-01", scale="tt")).sec
        assert elapsed == pytest.approx(header[key], abs=0.01)


def test_corners_are_kept_on_request(case):
    rows = case.exposure.rows
    part = plan_parts(case.events, None, expo_time_ks=0)
    (image,) = make_images(case.events, part, selection=Selection(keep_corners=True))
    flag = rows["FLAG"].astype(np.int64) & 0xFFFFFFFF
    kept = (flag == 0) | ((flag & 0x10000) != 0)
    kept &= (rows["RAWY"] > 12) & (rows["PI"] >= 500) & (rows["PI"] <= 2000)
    kept &= rows["PATTERN"] <= 4
    cell = np.floor((rows["TIME"] - case.exposure.start) / 0.5).astype(int)
    alive = np.array([case.exposure.good_time(n, quiet=False) for n in range(1, 13)])
    kept &= alive[rows["CCDNR"].astype(int) - 1, cell]
    np.testing.assert_array_equal(image.counts, binned(rows[kept]))
    assert image.header["FLAREFIL"] is False
    assert image.counts[~image.valid].sum() > 10


def test_other_pixels_and_bands(case):
    part = [case.images[0].part]
    (fine,) = make_images(case.events, part, bin_size=40)
    np.testing.assert_array_equal(
        fine.counts.reshape(411, 2, 403, 2).sum(axis=(1, 3)), case.images[0].counts
    )
    assert fine.header["CDELT1L"] == 40
    # The same sky through both: the corner of four fine pixels is the centre of a large one.
    large, small = (image.wcs.wcs for image in (case.images[0], fine))
    np.testing.assert_allclose(
        small.wcs_pix2world([[200.5, 300.5]], 0), large.wcs_pix2world([[100, 150]], 0), atol=1e-7
    )
    soft, hard = (
        make_images(case.events, part, selection=Selection(pi_ev=band))[0].counts
        for band in ((500, 999), (1000, 2000))
    )
    np.testing.assert_array_equal(soft + hard, case.images[0].counts)


def test_no_event_passes(case):
    with pytest.raises(InputError, match=r"PIEVLI0000.FTZ: no event in .*check the selection"):
        make_images(case.events, [case.images[0].part], selection=Selection(pi_ev=(-5, -4)))


def test_what_no_image_can_be_made_of(case):
    part = [case.images[0].part]
    with pytest.raises(InputError, match="a list of mos1"):
        make_images(replace(case.events, camera="mos1"), part)
    header = case.events.header.copy()
    header["MJDREF"] = "1998"
    with pytest.raises(InputError, match="MJDREF") as caught:
        make_images(replace(case.events, header=header), part)
    assert str(case.events.path) in str(caught.value)


def test_in_a_window_mode_the_rest_of_the_chips_is_dead(case):
    """Events of 100 rows of CCD 4 only: so is the exposure."""
    (columns,) = event_chunks(case.events)
    there = (columns["ccdnr"] == 4) & (columns["rawy"] > 100)
    window = {name: values[there] for name, values in columns.items()}
    header = case.events.header.copy()
    header["SUBMODE"] = "PrimeSmallWindow"
    events = replace(case.events, header=header)
    with mock.patch.object(eventimage, "event_chunks", return_value=[window]):
        (image,) = make_images(events, [case.images[0].part])
    y, x = np.nonzero(image.exposure)
    # CCD 4: 5115 units across from 3 x 5393.7 - 18245, rows 101-199 from -1000 up.
    assert x.min() * 80 - 18283 > 3 * 5393.7 - 18245 - 85
    assert x.max() * 80 - 18283 < 3 * 5393.7 - 18245 + 5115 + 85
    assert y.min() * 80 - 17527 > -1000 - 85
    assert y.max() * 80 - 17527 < -1000 + 99 * 82.5 + 85
    assert image.valid.sum() > 0.8 * 62 * 98


def bare(case, **changes):
    """The image of a list whose header or events say something else about the sky."""
    (image,) = make_images(replace(case.events, **changes), [case.images[1].part])
    return image


def test_without_sky_columns_the_pointing_is_used(case, tmp_path):
    image = bare(case, sky=None)
    assert image.wcs.wcs is None
    assert image.header["WCSMETH"] == "HEADER"
    assert "WCSRMS" not in image.header
    assert "no sky coordinates" in image.notes[-1]
    read = read_observation(write_event_image(tmp_path / "i.fits", image))
    assert read.wcs_method == "pointing"
    middle = (case.exposure.start + case.exposure.stop) / 2
    for ra, dec, _ in case.pps.sources:
        truth = (case.exposure.det_of_sky(ra, dec, middle) - [-18243.5, -17487.5]) / 80
        assert np.hypot(*(read.wcs.wcs_world2pix([[ra, dec]], 0)[0] - truth)) * 4 < 2.5


def test_a_camera_that_moved_has_no_sky(case, tmp_path, monkeypatch):
    (columns,) = event_chunks(case.events)
    moved = columns | {"sky_x": columns["sky_x"] + 2000 * (columns["time_s"] % 2 > 1)}
    monkeypatch.setattr(
        eventimage, "event_chunks", lambda _, names: iter([{name: moved[name] for name in names}])
    )
    (image,) = make_images(case.events, [case.images[0].part])
    assert image.wcs.wcs is None
    assert image.header["WCSMETH"] == "NONE"
    assert "CTYPE1" not in image.header
    read = read_observation(write_event_image(tmp_path / "i.fits", image))
    assert (read.wcs, read.wcs_method) == (None, "none")
    np.testing.assert_array_equal(read.counts, case.images[0].counts)


def test_null_positions_do_not_enter_the_wcs(case):
    """The synthetic list has some; one alone would move the corner by a degree."""
    rows = case.exposure.rows
    assert (rows["X"][case.exposure.good()] == -99999999).any()
    assert case.images[0].wcs.rms_arcsec < 0.4


def test_out_of_time_events(case):
    """As many in each column as its share, evenly along it, and the same for the same seed."""
    part = case.images[0].part
    smear = out_of_time_image(case.events, part, seed=3)
    np.testing.assert_array_equal(smear, out_of_time_image(case.events, part, seed=3))
    assert smear.sum() == pytest.approx(0.063 * case.images[0].counts.sum(), rel=0.01)
    halves = [slice(0, 204), slice(206, 411)]
    for half in halves:
        columns = smear[half].sum(axis=0)
        truth = 0.063 * case.images[0].counts[half].sum(axis=0)
        scatter = np.abs(columns - truth).sum() / truth.sum()
        assert scatter < 0.25  # a chip pixel is a little wider than an image pixel
    bright = np.unravel_index(np.argmax(case.images[0].counts), smear.shape)
    assert smear[bright] < 0.02 * case.images[0].counts[bright]


def test_out_of_time_needs_a_known_mode(case):
    header = case.events.header.copy()
    header["SUBMODE"] = "PrimeLargeWindow"
    with pytest.raises(InputError, match="out-of-time fraction of PrimeLargeWindow"):
        out_of_time_image(replace(case.events, header=header), case.images[0].part)


def test_images_are_plain_records(case):
    assert isinstance(case.images[0], EventImage)
    assert case.images[0].part.gti is case.images[0].gti
