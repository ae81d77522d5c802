import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.wcs import detector_wcs, regrid_header, sky_wcs

STEP = 4 / 3600
DETECTOR = {
    "CTYPE1": "DETX", "CRPIX1": 1, "CRVAL1": -18243.5, "CDELT1": 80.0,
    "CTYPE2": "DETY", "CRPIX2": 1, "CRVAL2": -17487.5, "CDELT2": 80.0,
}  # fmt: skip
POINTING = {"RA_PNT": 49.9778, "DEC_PNT": 41.4933, "PA_PNT": 261.963}


def _celestial(ra=68.43, dec=-13.28, **cards):
    return fits.Header(
        {
            "CTYPE1": "RA---TAN", "CRPIX1": 215.7, "CRVAL1": ra,
            "CTYPE2": "DEC--TAN", "CRPIX2": 238.1, "CRVAL2": dec,
        }
        | cards
    )  # fmt: skip


def _separation(header, x, y, other, other_x, other_y):
    """Largest distance on the sky [arcsec] between 0-based pixels of two headers."""
    return (
        WCS(header)
        .pixel_to_world(x, y)
        .separation(WCS(other).pixel_to_world(other_x, other_y))
        .arcsec.max()
    )


def _turned(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("form", ["CD", "PC", "CROTA2", "CROT2"])
def test_conventions_mean_the_same(form):
    angle = 0.7
    scale = {"CDELT1": STEP, "CDELT2": STEP}
    names = ("1_1", "1_2", "2_1", "2_2")
    cards = {
        "CD": {f"CD{n}": v for n, v in zip(names, STEP * _turned(angle).ravel(), strict=True)},
        "PC": scale | {f"PC{n}": v for n, v in zip(names, _turned(angle).ravel(), strict=True)},
        "CROTA2": scale | {"CROTA2": np.rad2deg(angle)},
        "CROT2": scale | {"CROT2": np.rad2deg(angle)},
    }
    wcs, method = sky_wcs(_celestial(**cards[form], RADESYS="ICRS"))
    assert method == "file"
    np.testing.assert_allclose(wcs.wcs.cd, STEP * _turned(angle), rtol=1e-12)
    if form != "CROT2":  # misspelt: astropy does not know it
        theirs = WCS(_celestial(**cards[form], RADESYS="ICRS"))
        np.testing.assert_allclose(
            wcs.all_pix2world([[10, 20], [400, 3]], 0),
            theirs.all_pix2world([[10, 20], [400, 3]], 0),
            rtol=1e-12,
        )


def test_unequal_increments_with_rotation_follow_the_old_convention():
    header = _celestial(CDELT1=-STEP, CDELT2=2 * STEP, CROTA2=25.0, RADESYS="ICRS")
    grid = [[3, 5], [100, 371], [402, 8]]
    np.testing.assert_allclose(
        sky_wcs(header)[0].all_pix2world(grid, 0), WCS(header).all_pix2world(grid, 0), rtol=1e-12
    )


def test_cd_matrix_outranks_what_stands_beside_it():
    cd = {"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP}
    header = _celestial(**cd, CDELT1=STEP, CDELT2=STEP, CROTA2=-167.0, CROT2=12.0)
    np.testing.assert_array_equal(sky_wcs(header)[0].wcs.cd, [[-STEP, 0], [0, STEP]])


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"RADECSYS": "FK5", "EQUINOX": 2000.0}, "FK5"),
        ({"RADESYS": "ICRS"}, "ICRS"),
        ({"EQUINOX": 2000.0}, "FK5"),
        ({}, "ICRS"),
    ],
)
def test_reference_frame(cards, frame):
    header = regrid_header(_celestial(CDELT1=STEP, CDELT2=STEP, **cards))
    assert header["RADESYS"] == frame
    assert ("EQUINOX" in header) == (frame == "FK5")
    assert "RADECSYS" not in header


@given(
    ra=st.floats(0, 359.9),
    dec=st.floats(-80, 80),
    angle=st.floats(-3.1, 3.1),
    parity=st.sampled_from([-1, 1]),
    pad=st.tuples(st.integers(-200, 40), st.integers(-200, 40)),
    upscale=st.integers(1, 4),
    pixel=st.tuples(st.floats(0, 402), st.floats(0, 410)),
)
def test_a_position_stays_where_it_is(ra, dec, angle, parity, pad, upscale, pixel):
    matrix = STEP * _turned(angle) * np.array([parity, 1])
    names = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
    header = _celestial(ra, dec, RADESYS="ICRS", **dict(zip(names, matrix.ravel(), strict=True)))
    moved = regrid_header(header, pad=pad, upscale=upscale)
    x, y = np.array(pixel)
    new = [upscale * (p + low + 0.5) - 0.5 for p, low in zip(pixel, pad, strict=True)]
    assert _separation(header, x, y, moved, *new) < 1e-4


def test_factor_two_in_words():
    header = regrid_header(_celestial(CDELT1=STEP, CDELT2=STEP), upscale=2)
    assert (header["CRPIX1"], header["CRPIX2"]) == (2 * 215.7 - 0.5, 2 * 238.1 - 0.5)


def test_detector_axes_move_along():
    moved = regrid_header(fits.Header(DETECTOR), pad=(6, 2), upscale=2)
    # A detector position half-way between the centres of the first two native pixels.
    first = WCS(moved, key="L").all_world2pix([[-18203.5, -17447.5]], 0)[0]
    np.testing.assert_allclose(first, [2 * (6 + 0.5 + 0.5) - 0.5, 2 * (2 + 0.5 + 0.5) - 0.5])
    # LTV, LTM: pixel (from 1) = LTM x detector + LTV.
    for axis, (det, low) in enumerate(zip((-18243.5, -17487.5), (6, 2), strict=True), 1):
        pixel = moved[f"LTM{axis}_{axis}"] * det + moved[f"LTV{axis}"]
        assert pixel == pytest.approx(2 * (1 + low) - 0.5, abs=1e-9)


def test_published_detector_zero():
    header = regrid_header(fits.Header(DETECTOR))
    assert (header["LTV1"], header["LTV2"]) == (229.04375, 219.59375)


def test_pointing_wcs_turns_with_the_roll_angle():
    wcs, method = sky_wcs(fits.Header(DETECTOR | POINTING | {"RADECSYS": "FK5", "EQUINOX": 2000.0}))
    assert method == "pointing"
    aim = SkyCoord(49.9778, 41.4933, unit="deg", frame="fk5")
    x, y = wcs.world_to_pixel(aim)
    np.testing.assert_allclose([x + 1, y + 1], [215.8, 238.1], atol=1e-6)
    along_x, along_y = wcs.pixel_to_world(x + 10, y), wcs.pixel_to_world(x, y + 10)
    assert aim.separation(along_x).arcsec == pytest.approx(40, abs=0.01)
    # +DETX at position angle PA_PNT + 0.25, +DETY 90 deg less: a mirrored sky.
    assert aim.position_angle(along_x).deg == pytest.approx(262.213, abs=0.01)
    assert aim.position_angle(along_y).deg == pytest.approx(172.213, abs=0.01)


def test_pointing_wcs_is_marked_and_survives_rewriting():
    first = regrid_header(fits.Header(DETECTOR | POINTING))
    assert first["WCSMETH"] == "POINTING"
    again = regrid_header(first)
    assert sky_wcs(again)[1] == "pointing"
    assert repr(again) == repr(first)


@pytest.mark.parametrize(
    "cards",
    [
        DETECTOR,
        DETECTOR | {"RA_PNT": 1.0, "DEC_PNT": 2.0},
        dict(_celestial(CDELT1=STEP, CDELT2=STEP)) | {"CTYPE2": "DETY"},
        dict(_celestial(CDELT1=STEP, CDELT2=STEP)) | {"CTYPE2": "DEC---TAN"},
        dict(_celestial(CDELT1=0.0, CDELT2=0.0)),
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"},
        POINTING,
    ],
)  # fmt: skip
def test_half_a_celestial_wcs_is_none(cards):
    assert sky_wcs(fits.Header(cards)) == (None, "none")
    header = regrid_header(fits.Header(cards))
    assert not [
        key for key in header if key.startswith(("CTYPE1", "CD1", "CRVAL1")) and key[-1] != "L"
    ]


def test_stale_cards_go_and_the_rest_stays():
    stale = {
        "CHECKSUM": "x",
        "DSVAL1": "1",
        "2DSREF5": ":GTI",
        "XPROC0": "evselect",
        "BUNIT": "count",
    }
    kept = {"OBJECT": "A426", "ONTIME04": 10812.2, "MJDREF": 50814.0, "DATE-OBS": "2001-01-30"}
    header = fits.Header(stale | kept | POINTING | DETECTOR)
    header["HISTORY"] = "made by hand"
    header["CROTA2"] = 5.0
    output = regrid_header(header, pad=(6, 2), upscale=2)
    assert not set(stale) & set(output)
    assert {key: output[key] for key in kept} == kept
    assert list(output["HISTORY"]) == ["made by hand"]
    assert not {"CROTA2", "CDELT1", "CDELT2", "CRPIX1A"} & set(output)
    WCS(output)  # astropy would warn about dates it has to repair, and warnings are errors


def test_no_header_gives_an_empty_one():
    assert len(regrid_header(None, upscale=2)) == 0


def _real_files(shared):
    data = shared / "data"
    return sorted((data / "images").iterdir()) + sorted((data / "real" / "20ks").iterdir())


def _plain(header):
    """The CD-matrix WCS of a file by hand, so that astropy reads it without a say of ours."""
    if "CD1_1" not in header:
        return regrid_header(header)
    names = ("CTYPE{}", "CRPIX{}", "CRVAL{}", "CD{}_1", "CD{}_2")
    keys = [name.format(axis) for name in names for axis in (1, 2)]
    return fits.Header({key: header[key] for key in keys} | {"RADESYS": "FK5", "EQUINOX": 2000.0})


@pytest.mark.reference
@pytest.mark.parametrize(
    ("pad", "upscale"), [((0, 0), 1), ((0, 0), 2), ((6, 2), 2), ((-70, -90), 1)]
)
def test_real_images_keep_their_sky(shared, pad, upscale):
    x, y = (grid.ravel() for grid in np.meshgrid([0.0, 201.3, 402], [0.0, 57.7, 410]))
    for path in _real_files(shared):
        header = read_image(path).header
        moved = regrid_header(header, pad=pad, upscale=upscale)
        new_x, new_y = (upscale * (p + low + 0.5) - 0.5 for p, low in zip((x, y), pad, strict=True))
        plain = _plain(header)
        assert _separation(plain, x, y, moved, new_x, new_y) < 0.01, path.name
        det = detector_wcs(header).all_pix2world(x, y, 0)
        np.testing.assert_allclose(
            WCS(moved, key="L").all_pix2world(new_x, new_y, 0), det, atol=1e-6
        )


@pytest.mark.reference
def test_pointing_falls_on_the_aim_pixel(shared):
    for path in _real_files(shared):
        header = read_image(path).header
        wcs, _ = sky_wcs(header)
        aim = SkyCoord(header["RA_PNT"], header["DEC_PNT"], unit="deg", frame="fk5")
        x, y = wcs.world_to_pixel(aim)
        assert abs(x + 1 - 215.8) < 0.5, path.name
        assert abs(y + 1 - 238.1) < 0.2, path.name


@pytest.mark.reference
def test_pointing_wcs_finds_two_galaxies(shared):
    """NGC 1399 and NGC 1404 (NED positions) in two pointings whose rolls differ by 148 deg."""
    galaxies = {"NGC 1399": (54.62118, -35.45074), "NGC 1404": (54.71634, -35.59439)}
    for path in sorted((shared / "data" / "real" / "full").glob("0[47]*.fits.gz"))[:3]:
        image = read_image(path)
        if image.header["OBJECT"] not in ("NGC 1399", "NGC 1404"):
            continue
        wcs, _ = sky_wcs(image.header)
        for name, (ra, dec) in galaxies.items():
            place = SkyCoord(ra, dec, unit="deg", frame="fk5")
            x, y = (round(float(p)) for p in wcs.world_to_pixel(place))
            stamp = image.data[y - 5 : y + 6, x - 5 : x + 6].astype(float)
            weight = np.clip(stamp - np.percentile(stamp, 90), 0, None)
            dy, dx = np.indices(stamp.shape)
            found = wcs.pixel_to_world(
                x - 5 + np.average(dx, weights=weight), y - 5 + np.average(dy, weights=weight)
            )
            assert found.separation(place) < 3 * u.arcsec, (path.name, name)


@pytest.mark.reference
def test_pointing_gives_the_reference_pixel_of_sas(shared):
    """SAS ecoordconv made the WCS of both images; RA, DEC, PA_PNT come within 0.5 arcsec."""
    for path in sorted((shared / "data" / "images").glob("*.fits.gz")):
        header = read_image(path).header
        truth = [header["CRPIX1"], header["CRPIX2"]]
        place = [[header["CRVAL1"], header["CRVAL2"]]]
        for key in ("CTYPE1", "CTYPE2"):
            del header[key]
        wcs, method = sky_wcs(header)
        assert method == "pointing"
        np.testing.assert_allclose(
            4 * wcs.wcs_world2pix(place, 1)[0], 4 * np.array(truth), atol=0.5
        )
