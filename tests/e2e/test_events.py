"""From a pipeline folder to an enhanced image: the photons, their times and where they lie."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from pps import Pointing, event_list, make_pps, simulated_rate, write_pieces

from xmm_jax import enhance, image
from xmm_jax.config import TASKS, NetworkConfig
from xmm_jax.data.observation import read_observation
from xmm_jax.model import Model, make_network, save_model
from xmm_jax.models import init

# DETX, DETY of the sources, in the middle of CCDs: near the aim point and towards the corners.
PLACES = ((500, 2900), (5900, 8600), (-10300, 6100), (-4900, -9900), (11300, -5500))


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    """Photons of a field of our simulator and of five sources at known places on the sky."""
    sources = [(*map(float, Pointing().sky_of_det(place)), 4000) for place in PLACES]
    folder = tmp_path_factory.mktemp("observation") / "0000000001" / "pps"
    rate = simulated_rate(3)
    for place in PLACES:  # no other source within a minute of arc of them
        column, row = (np.subtract(place, (-18283.5, -17527.5)) / 80).astype(int)
        y, x = np.ogrid[:411, :403]
        rate[np.hypot(y - row, x - column) < 15] = np.median(rate[rate > 0])
    return make_pps(folder, seed=11, rate=rate, sources=sources)


def make_image(where, folder, *flags):
    """Images that the verb writes, by name."""
    image.main([str(where), f"--save_dir={folder}", "--offline", "--plot=no", *flags])
    return {path.name: path for path in folder.glob("*_500_2000_*.fits*")}


@pytest.fixture(scope="module")
def made(observation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return make_image(observation.folder.parent, folder)[
        "0000000001_pn_cleaned_20.0ks_detxy_500_2000_80.fits"
    ]


@pytest.fixture(scope="module")
def full(observation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    return next(iter(make_image(observation.folder, folder, "--expo_time=0").values()))


def first_ks(exposure, seconds):
    """Events in the first good time of the CCD that has most of it."""
    best = max(range(1, 13), key=lambda n: exposure.good_time(n).sum())
    so_far = np.cumsum(exposure.good_time(best)) * 0.5
    stop = exposure.start + 0.5 * (np.searchsorted(so_far, seconds) + 1)
    return exposure.good() & (exposure.rows["TIME"] <= stop)


def binned(rows):
    """Count events by hand."""
    counts = np.zeros((411, 403), int)
    row, column = (
        np.floor((rows[name] + edge) / 80).astype(int)
        for name, edge in (("DETY", 17527.5), ("DETX", 18283.5))
    )
    np.add.at(counts, (row, column), 1)
    return counts


def centre(picture, x, y, radius):
    """Centroid of a source (x, y) [pixel], the sky about it taken off."""
    rows, columns = np.indices(picture.shape)
    for _ in range(8):
        away = np.hypot(columns - x, rows - y)
        sky = np.median(picture[(away > 2 * radius) & (away < 3 * radius)])
        light = np.where(away <= radius, picture - sky, 0)
        x, y = (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()
    return x, y


def misses(header, picture, sources, radius_arcsec=16.0):
    """How far from their true places sources are found [arcsec]."""
    wcs = WCS(header)
    scale = 3600 * np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix)))
    result = []
    for ra, dec, _ in sources:
        x, y = wcs.wcs_world2pix([[ra, dec]], 0)[0]
        x, y = centre(picture, x, y, radius_arcsec / scale)
        found = SkyCoord(*wcs.wcs_pix2world([[x, y]], 0)[0], unit="deg")
        result.append(found.separation(SkyCoord(ra, dec, unit="deg")).arcsec)
    return np.array(result)


def test_the_synthetic_list_is_like_a_real_one(observation):
    exposure = observation.longest
    with fits.open(exposure.events) as hdus:
        hdus.verify("exception")
        names = ["PRIMARY", "EVENTS", "OFFSETS"]
        names += [f"{kind}{n:02d}" for n in range(1, 13) for kind in ("EXPOSU", "BADPIX")]
        assert [hdu.name for hdu in hdus] == [*names, *(f"STDGTI{n:02d}" for n in range(1, 13))]
        events = hdus["EVENTS"]
        columns = "TIME RAWX RAWY DETX DETY X Y PHA PI FLAG PATTERN PAT_ID PAT_SEQ CCDNR"
        assert events.columns.names == columns.split()
        assert events.columns.formats == list("DIIIIJJIIJBIBB")
        for name in ("DETX", "DETY", "FLAG", "CCDNR", "TIME"):
            np.testing.assert_array_equal(events.data[name], exposure.rows[name])
        assert len(events.header["SLCTEXPR"]) > 68  # that is, with CONTINUE cards
        lost = events.data["X"] == events.header["TNULL6"]
        assert 0 < lost.sum() < 10
        # X and Y by the cards of their columns agree with the places the sources were given.
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [25921, 25921]
        wcs.wcs.crval = [events.header["TCRVL6"], events.header["TCRVL7"]]
        wcs.wcs.cdelt = [events.header["TCDLT6"], events.header["TCDLT7"]]
        x, y = (events.data[name].astype(float) for name in "XY")
        for ra, dec, count in observation.sources:
            there = wcs.wcs_world2pix([[ra, dec]], 1)[0]
            close = np.hypot(x - there[0], y - there[1]) < 16 / 0.05
            assert close.sum() > count / 2
            assert abs(np.median(x[close]) - there[0]) * 0.05 < 0.4
            assert abs(np.median(y[close]) - there[1]) * 0.05 < 0.4
    with fits.open(exposure.light_curve) as hdus:
        rate = hdus["RATE"].data["RATE"]
        bits = np.ascontiguousarray(rate[np.isnan(rate)]).view(">u4")
        assert (bits == 0x7FA00000).all()
        assert bits.size == 2


def test_the_image_holds_the_right_photons(observation, made, full):
    exposure = observation.longest
    for path, events in ((made, first_ks(exposure, 20_000)), (full, exposure.good())):
        with fits.open(path) as hdus:
            np.testing.assert_array_equal(hdus[0].data, binned(exposure.rows[events]))
    assert abs(fits.getheader(made)["EXPOSURE"] - 20_000) <= 10
    header = fits.getheader(full)
    for ccd in range(1, 13):
        good = exposure.good_time(ccd).sum() * 0.5
        assert header[f"ONTIME{ccd:02d}"] == pytest.approx(good, abs=1e-6)
        assert header["EXPOSURE"] >= good
        times = fits.getdata(full, f"GTI{ccd:02d}")
        assert (times["STOP"] - times["START"]).sum() == pytest.approx(good, abs=1e-6)


def test_without_the_flare_filter_all_good_time_is_used(observation, tmp_path):
    (path,) = make_image(observation.folder, tmp_path, "--expo_time=0", "--unfiltered").values()
    exposure = observation.longest
    expected = binned(exposure.rows[exposure.good(quiet=False)])
    np.testing.assert_array_equal(fits.getdata(path), expected)


def test_parts_share_no_photon_and_lose_none(observation, full, tmp_path):
    made = make_image(observation.folder, tmp_path, "--split=5,12")
    assert sorted(made) == sorted(
        [f"0000000001_image_split_500_2000_5ks_5_{j}.fits" for j in range(1, 6)]
        + [f"0000000001_image_split_500_2000_12ks_2_{j}.fits" for j in (1, 2)]
    )
    exposure = observation.longest
    total = fits.getdata(full)
    for length, count in ((5, 5), (12, 2)):
        paths = [
            made[f"0000000001_image_split_500_2000_{length}ks_{count}_{j + 1}.fits"]
            for j in range(count)
        ]
        counts = [fits.getdata(path) for path in paths]
        times = [fits.getheader(path)["EXPOSURE"] for path in paths]
        assert np.abs(np.subtract(times, 1000 * length)).max() <= 10
        # All events of the first parts together: none twice, none lost between two of them.
        first = binned(exposure.rows[first_ks(exposure, 1000 * length * count)])
        np.testing.assert_array_equal(sum(counts), first)
        assert (sum(counts) <= total).all()


def test_the_order_of_rows_does_not_matter(observation, full, tmp_path):
    exposure = observation.longest
    rows = np.random.default_rng(0).permutation(exposure.rows)
    path = tmp_path / exposure.events.name
    write_pieces(path, event_list(exposure, observation.obs_id, [rows], len(rows)))
    (tmp_path / exposure.light_curve.name).write_bytes(exposure.light_curve.read_bytes())
    (path,) = make_image(path, tmp_path / "out", "--expo_time=0").values()
    np.testing.assert_array_equal(fits.getdata(path), fits.getdata(full))
    one, other = (WCS(fits.getheader(name)).wcs for name in (path, full))
    np.testing.assert_array_equal(one.cd, other.cd)
    np.testing.assert_array_equal(one.crpix, other.crpix)


def test_a_gap_of_one_ccd_takes_only_its_events(observation, full, tmp_path):
    exposure, ccd = observation.longest, 7
    start, stop = exposure.start + np.array([3000.0, 4500.0])
    gti = exposure.stdgti[ccd]
    cut = np.concatenate([[[gti[0, 0], start], [stop, gti[0, 1]]], gti[1:]])
    other = dataclasses.replace(exposure, stdgti={**exposure.stdgti, ccd: cut})
    path = tmp_path / exposure.events.name
    write_pieces(path, event_list(other, observation.obs_id, [other.rows], len(other.rows)))
    (tmp_path / exposure.light_curve.name).write_bytes(exposure.light_curve.read_bytes())
    (path,) = make_image(path, tmp_path / "out", "--expo_time=0").values()
    time = exposure.rows["TIME"]
    lost = exposure.good() & (exposure.rows["CCDNR"] == ccd) & (time > start) & (time < stop)
    assert lost.sum() > 50
    expected = fits.getdata(full) - binned(exposure.rows[lost])
    np.testing.assert_array_equal(fits.getdata(path), expected)


def test_the_sky_lies_where_it_should(observation, made, full):
    exposure = observation.longest
    for path, events in ((made, first_ks(exposure, 20_000)), (full, exposure.good())):
        found = read_observation(path)
        assert found.wcs_method == "file"
        assert found.header["WCSMETH"] == "LSQ-EVENTS"
        # The noise of X and Y is 0.1 arcsec, and the pointing drifts by one.
        assert 0.1 < found.header["WCSRMS"] < 0.5
        time = exposure.rows["TIME"][events]
        for ra, dec, _ in observation.sources:
            x, y = found.wcs.wcs_world2pix([[ra, dec]], 0)[0]
            detx, dety = exposure.det_of_sky(ra, dec, time).mean(0)
            assert np.hypot(-18243.5 + 80 * x - detx, -17487.5 + 80 * y - dety) * 0.05 < 0.3
        # East to the right of north, as the camera looks at the sky.
        assert np.linalg.det(WCS(found.header).wcs.cd) > 0
        assert (misses(found.header, found.counts, observation.sources) < 1).all()


def test_without_sky_columns_the_pointing_is_used(observation, tmp_path):
    exposure = observation.longest
    names = [name for name in exposure.rows.dtype.names if name not in ("X", "Y")]
    rows = np.zeros(len(exposure.rows), [(name, exposure.rows.dtype[name]) for name in names])
    for name in names:
        rows[name] = exposure.rows[name]
    path = tmp_path / exposure.events.name
    write_pieces(path, event_list(exposure, observation.obs_id, [rows], len(rows)))
    (path,) = make_image(path, tmp_path / "out", "--unfiltered").values()
    found = read_observation(path)
    assert found.header["WCSMETH"] == "HEADER"
    assert (misses(found.header, found.counts, observation.sources) < 3).all()


def copying_weights(params, upscale):
    """Weights of a network that gives its input back, each pixel as often as it must."""
    params = jax.tree.map(jnp.zeros_like, params)

    def set_one(name, *channels):
        kernel = params[name]["kernel"]
        for channel in channels:
            kernel = kernel.at[1, 1, 0, channel].set(1)
        params[name]["kernel"] = kernel

    if upscale == 2:
        set_one("conv_first", 0)
        set_one("upsampling", 0, 1, 2, 3)
        set_one("HRconv", 0)
        set_one("conv_last", 0)
    return params


@pytest.mark.parametrize("task", ["sr", "dn"])
def test_an_enhanced_source_is_where_it_is(observation, made, tmp_path, task):
    config = NetworkConfig(size="tiny", target_clip_rate=TASKS[task].target_clip_rate)
    network, scale = make_network(task, config)
    params = copying_weights(init(jax.random.key(0), network, 2), scale.upscale)
    folder = tmp_path / "model"
    save_model(folder, Model(task, network, params, scale, {"made": "by a test"}))
    enhance.main([str(made), f"--model={folder}", f"--out={tmp_path}"])
    with fits.open(next(tmp_path.glob(f"*_{task.upper()}.fits.gz"))) as hdus:
        rate = hdus["RATE"].data
        assert rate.shape == (411 * scale.upscale, 403 * scale.upscale)
        assert (misses(hdus["RATE"].header, rate, observation.sources) < 1).all()
        # The network copies: the light is that of the image, pixel by pixel, below the clip rate.
        with fits.open(made) as given:
            exposure = np.where(given["EXPOSURE"].data > 0, given["EXPOSURE"].data, np.inf)
            expected = given[0].data / exposure
        expected = expected.repeat(scale.upscale, 0).repeat(scale.upscale, 1) / scale.upscale**2
        sound = hdus["DQ"].data == 0
        assert sound.mean() > 0.7
        np.testing.assert_allclose(rate[sound], expected[sound], atol=1e-9, rtol=1e-4)


@pytest.mark.slow
def test_the_benchmark_runs_and_a_list_takes_little_memory():
    # A process of its own: what this one has held would count towards the peak of its children.
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_events.py"
    words = [sys.executable, str(script), "--rows=1000000"]
    result = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    # The rows alone are 35 MiB in the file, and 2e7 rows take no more.
    assert result["plain"]["file_MiB"] > 34
    assert max(result[kind]["peak_MiB"] for kind in ("plain", "gzip")) < 1024


def test_one_command_for_an_observation(observation, tmp_path, capsys):
    """OBS_ID to image to both results to pictures, with the models of the package."""
    words = ["--obsid=0000000001", f"--pps_dir={observation.folder}", f"--out={tmp_path}"]
    enhance.main([*words, "--offline", "--preview", "--no-support"])
    stem = "0000000001_pn_cleaned_20.0ks_detxy_500_2000_80"
    for suffix, shape in (("SR", (822, 806)), ("DN", (411, 403))):
        with fits.open(tmp_path / f"{stem}_{suffix}.fits.gz") as hdus:
            assert hdus["RATE"].shape == shape
            assert WCS(hdus["RATE"].header).has_celestial
        assert (tmp_path / f"{stem}_{suffix}.png").read_bytes().startswith(b"\x89PNG")
    image_made = (tmp_path / f"{stem}.fits").stat().st_mtime_ns
    enhance.main([*words, "--offline", "--task=dn", "--no-support"])
    assert "is there already" in capsys.readouterr().out
    assert (tmp_path / f"{stem}.fits").stat().st_mtime_ns == image_made
