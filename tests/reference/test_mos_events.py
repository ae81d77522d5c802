"""Real MOS event lists of XGA (github DavidT3/XGA) against the sky images that SAS made of them."""

import re

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.binning import bin_sky, grid_of
from xmm_jax.data.eventimage import in_good_time
from xmm_jax.data.events import event_chunks, read_event_list
from xmm_jax.data.eventwcs import fit_wcs, sky_plane_deg
from xmm_jax.data.gti import intersect, length_s, merge
from xmm_jax.data.selection import Selection, select

pytestmark = pytest.mark.reference

LISTS = [(o, c) for o in ("0201901401", "0404910601") for c in ("mos1", "mos2")]


def chosen(events, rows=9999):
    """Events of 0.5-2 keV in the good time of their CCD, read in pieces."""
    parts = []
    for chunk in event_chunks(events, rows=rows):
        keep = select(chunk, Selection(pattern_max=12)) & in_good_time(chunk, events.gti)
        parts.append({name: values[keep] for name, values in chunk.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module", params=LISTS, ids="_".join)
def case(request, shared):
    obs_id, camera = request.param
    folder = shared / "data/events/mos" / obs_id
    events = read_event_list(folder / f"eclean/{camera}_exp1_clean_evts.fits.gz", camera=camera)
    image = folder / f"images/{obs_id}_{camera}_exp1-0.50-2.00keVimg.fits.gz"
    return events, image, chosen(events)


def test_sky_image_is_that_of_sas_bit_for_bit(case):
    _, path, rows = case
    with fits.open(path) as hdus:
        header, truth = hdus[0].header, hdus[0].data
    command = header["XPROC0"]
    low, high, size = (
        tuple(int(re.search(rf"{axis}image{what}=(\d+)", command)[1]) for axis in "xy")
        for what in ("min", "max", "binsize")
    )
    grid = grid_of(low, high, size[0])
    assert grid.first_centre == (header["CRVAL1L"], header["CRVAL2L"])
    counts = bin_sky(rows, grid)
    assert counts.sum() > 8000
    np.testing.assert_array_equal(counts, truth)


def test_exposure_and_on_times_are_those_of_sas(case):
    events, path, _ = case
    header = fits.getheader(path)
    ontime = {ccd: length_s(gti) for ccd, gti in events.gti.items()}
    assert events.gti_origin == "GTI"
    assert set(ontime) == {ccd for ccd in range(1, 8) if f"ONTIME{ccd:02d}" in header}
    for ccd, seconds in ontime.items():
        assert seconds == pytest.approx(header[f"ONTIME{ccd:02d}"], abs=1e-5)
        live = header.get(f"LIVETI{ccd:02d}")
        assert live is None or events.livetime[ccd] * seconds == pytest.approx(live)
    assert max(ontime.values()) == pytest.approx(header["EXPOSURE"], abs=1e-5)


def test_good_time_holds_every_event_and_no_other(case):
    """Each CCD's own table has all its events; shifted by a CCD it would not."""
    events, _, _ = case
    (rows,) = event_chunks(events, ("time_s", "ccdnr"))
    assert in_good_time(rows, events.gti).all()
    assert set(np.unique(rows["ccdnr"])) == set(events.gti)


def test_wcs_residual_is_the_attitude_jitter(case):
    events, _, rows = case
    plane, known = sky_plane_deg(rows["sky_x"], rows["sky_y"], events.sky)
    assert known.all()
    pixel = np.stack([rows["detx"], rows["dety"]], axis=1) / 80
    fit = fit_wcs(pixel, plane, centre=events.sky.centre_deg, scale_deg=4 / 3600)
    residual = 3600 * (plane - (pixel + 1 - fit.wcs.wcs.crpix) @ fit.wcs.wcs.cd.T)
    rms = np.sqrt(np.mean(residual**2, axis=0))
    assert (rms > 0.07).all()
    assert (rms < 0.14).all()
    assert fit.rms_arcsec == pytest.approx(np.sqrt(np.mean(rms**2)), rel=0.01)
    assert np.abs(residual).max() < 0.45
    matrix = fit.wcs.wcs.cd * 3600 / 4
    assert np.sqrt(np.linalg.det(matrix)) == pytest.approx(1, abs=1e-5)
    # Position angle of +DETX minus PA_PNT: 90.00 deg for MOS1, 179.71 for MOS2.
    roll = np.rad2deg(np.arctan2(matrix[0, 0], matrix[1, 0])) - events.header["PA_PNT"]
    wanted = {"mos1": 90.00, "mos2": 179.71}[events.camera]
    assert (roll - wanted + 180) % 360 - 180 == pytest.approx(0, abs=0.02)


def test_few_events_give_nearly_the_same_wcs(case):
    events, _, rows = case
    plane, _ = sky_plane_deg(rows["sky_x"], rows["sky_y"], events.sky)
    pixel = np.stack([rows["detx"], rows["dety"]], axis=1) / 80
    rng = np.random.default_rng(0)
    whole = fit_wcs(pixel, plane, centre=events.sky.centre_deg, scale_deg=4 / 3600)
    corners = np.array([[x, y] for x in (-150, 150) for y in (-150, 150)], float)
    for count, arcsec in ((40, 0.15), (100, 0.2), (1000, 0.06)):
        some = rng.choice(len(pixel), count, replace=False)
        part = fit_wcs(pixel[some], plane[some], centre=events.sky.centre_deg, scale_deg=4 / 3600)
        apart = [
            (corners + 1 - fit.wcs.wcs.crpix) @ fit.wcs.wcs.cd.T * 3600 for fit in (whole, part)
        ]
        assert np.hypot(*(apart[0] - apart[1]).T).max() < arcsec


def test_next_to_a_bad_pixel_is_nothing_of_flag_0(case):
    """Why image pixels beside bad ones are dead: 0.3-1 % of the events found elsewhere."""
    events, _, _ = case
    (rows,) = event_chunks(events)
    near = far = near_area = far_area = 0
    for ccd, bad in events.bad_pixels.items():
        dead = np.zeros((612, 612), bool)
        for x, y, extent, _ in bad:
            dead[x - 1 : x + 2, max(y - 1, 0) : y + max(extent, 1) + 1] = True
        own = (rows["ccdnr"] == ccd) & (rows["flag"] == 0) & (rows["rawx"] > 0)
        hit = dead[rows["rawx"][own], rows["rawy"][own]]
        near, far = near + hit.sum(), far + (~hit).sum()
        near_area += dead[1:601, 1:601].sum()
        far_area += (~dead[1:601, 1:601]).sum()
    assert near / near_area < 0.01 * far / far_area


def test_stdgti_and_quiet_time_give_the_tables_of_sas(shared):
    """EXOD: STDGTInn of the light curve with PN_gti are the GTI and ONTIMEnn of PN_image."""
    folder = shared / "data/events/pn_flare_0124710801"

    def gti(hdu):
        return merge(np.stack([hdu.data["START"], hdu.data["STOP"]], axis=1).astype(float))

    with (
        fits.open(folder / "PN_rate.fits") as rate,
        fits.open(folder / "PN_image.fits.gz") as image,
        fits.open(folder / "PN_gti.fits") as quiet,
    ):
        truth = {hdu.header["CCDID"]: gti(hdu) for hdu in image[1:]}
        header, flares = image[0].header, gti(quiet[1])
        ontime = []
        for ccd, rows in truth.items():
            mine = intersect(gti(rate[f"STDGTI{ccd:02d}"]), flares)
            np.testing.assert_array_equal(mine, rows)
            ontime.append(length_s(mine))
            assert ontime[-1] == pytest.approx(header[f"ONTIME{ccd:02d}"], abs=0.6)
    assert len(truth) == 12
    assert max(ontime) == pytest.approx(header["EXPOSURE"], abs=1e-6)
