import importlib

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from xmm_jax.data import spire
from xmm_jax.errors import InputError
from xmm_jax.simulator import submm

FWHM = {250: 18.1, 350: 24.9, 500: 36.6, 450: 7.9}
NATIVE = {250: 6.0, 350: 25 / 3, 500: 12.0, 450: 1.0}
CENTRE = SkyCoord(150.1, 2.2, unit="deg")
SOURCES = (SkyCoord(150.1103, 2.2051, unit="deg"), SkyCoord(150.0894, 2.1903, unit="deg"))
FLUXES = (20.0, 12.0)  # [mJy]


def make_map(path, band, *, side=None, turn_deg=0.0, change=None, error=None, scale=1e-3, **cards):
    """A map of two point sources, sampled at the middles of its pixels; Jy/beam unless scaled."""
    pixel = NATIVE[band]
    side = side or int(240 / pixel)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [CENTRE.ra.deg, CENTRE.dec.deg]
    wcs.wcs.crpix = [side / 2 + 0.7, side / 2 - 0.4]
    cos, sin = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    wcs.wcs.cd = np.array([[-cos, sin], [sin, cos]]) * pixel / 3600
    y, x = np.indices((side, side))
    sky = wcs.pixel_to_world(x, y)
    data = sum(
        flux * np.exp(-4 * np.log(2) * (sky.separation(place).arcsec / FWHM[band]) ** 2)
        for place, flux in zip(SOURCES, FLUXES, strict=True)
    )
    data = (scale * data).astype(np.float32)
    if change is not None:
        change(data)
    header = wcs.to_header()
    header["BUNIT"] = "Jy/beam"
    header["WAVELNTH"] = (float(band), "[um]")
    for key, value in cards.items():
        if value is None:
            del header[key]
        else:
            header[key] = value
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data, header, name="IMAGE")]
    if error is not None:
        hdus.append(fits.ImageHDU(error, name="ERROR"))
    fits.HDUList(hdus).writeto(path)
    return path


def peak_near(image, wcs, place):
    """Peak and place of a source: a paraboloid through the logarithm about the brightest pixel."""
    x, y = (round(float(value)) for value in wcs.world_to_pixel(place))
    near = np.log(image[y - 2 : y + 3, x - 2 : x + 3].astype(float))
    dy, dx = np.indices(near.shape) - 2
    table = np.stack([np.ones_like(dx), dx, dy, dx**2, dy**2], -1).reshape(-1, 5)
    level, a, b, c, d = np.linalg.lstsq(table.astype(float), near.ravel(), rcond=None)[0]
    peak = np.exp(level - a**2 / (4 * c) - b**2 / (4 * d))
    return peak, x - a / (2 * c), y - b / (2 * d)


def test_reader_and_simulator_agree():
    assert spire.BANDS_UM == submm.BANDS_UM
    assert spire.PIXEL_ARCSEC == submm.PIXEL_ARCSEC
    beams = [*submm.FWHM_ARCSEC, submm.TARGET_FWHM_ARCSEC]
    assert [spire.FWHM_ARCSEC[band] for band in (*spire.BANDS_UM, spire.TARGET_UM)] == beams


def test_a_map_in_jy_per_beam_is_read_in_mjy_per_beam(tmp_path):
    def change(data):
        data[0, :4], data[3, 3] = np.nan, np.inf

    error = np.full((40, 40), 0.002, np.float32)
    error[5, 5], error[6, 6] = np.nan, 0.0
    path = make_map(tmp_path / "map.fits", 250, change=change, error=error)
    image = spire.read_map(path)
    dead = np.zeros((40, 40), bool)
    dead[0, :4] = dead[3, 3] = dead[5, 5] = dead[6, 6] = True
    assert np.array_equal(image.valid, ~dead)
    assert image.flux.dtype == np.float32
    assert not image.flux[dead].any()
    with fits.open(path) as hdus:
        np.testing.assert_allclose(image.flux[~dead], 1000 * hdus[1].data[~dead], rtol=1e-6)
    assert (image.band_um, image.path) == (250, path)


@pytest.mark.parametrize(
    ("unit", "factor"), [("mJy/beam", 1.0), ("Jy beam-1", 1e3), (" mJy / Beam ", 1.0)]
)
def test_units_are_understood(tmp_path, unit, factor):
    image = spire.read_map(make_map(tmp_path / "u.fits", 500, scale=1.0, BUNIT=unit))
    assert image.flux.max() == pytest.approx(factor * 20, rel=0.08)


@pytest.mark.parametrize("cards", [{}, {"BMAJ": 18.1 / 3600}, {"BMAJ": 0.004, "BMIN": 0.006}])
def test_surface_brightness_is_turned_into_flux_per_beam(tmp_path, cards):
    path = make_map(tmp_path / "s.fits", 250, scale=1.0, BUNIT="MJy/sr", **cards)
    plain = spire.read_map(make_map(tmp_path / "p.fits", 250))
    square_deg = 0.004 * 0.006 if "BMIN" in cards else (18.1 / 3600) ** 2
    beam_sr = np.pi / 4 / np.log(2) * square_deg * (np.pi / 180) ** 2
    np.testing.assert_allclose(
        spire.read_map(path).flux, plain.flux * 1e6 * 1e3 * beam_sr, rtol=1e-4, atol=1e-20
    )


@pytest.mark.parametrize(
    ("cards", "band"),
    [
        ({"WAVELNTH": 350.0}, 350),
        ({"WAVELNTH": (5.0e-4, "[m] of the band")}, 500),
        ({"WAVELNTH": None, "BAND": "PMW"}, 350),
        ({"WAVELNTH": None, "BAND": "500 um"}, 500),
        ({"WAVELNTH": None, "FILTER": "450"}, 450),
        ({"WAVELNTH": 248.0}, 250),
    ],
)
def test_the_band_is_in_the_header(tmp_path, cards, band):
    assert spire.read_map(make_map(tmp_path / "b.fits", 250, **cards)).band_um == band


def test_the_band_may_be_told(tmp_path):
    path = make_map(tmp_path / "t.fits", 450, side=40, WAVELNTH=None)
    assert spire.read_map(path, band_um=450).band_um == 450
    with pytest.raises(InputError, match=r"850 um is no band; choose one of 250, 350, 450, 500$"):
        spire.read_map(path, band_um=850)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"BUNIT": "pW"}, "BUNIT is 'pW'; convert the map"),
        ({"BUNIT": "MJy/beam"}, "BUNIT is 'MJy/beam'; convert the map"),
        ({"BUNIT": None}, "there is no BUNIT; convert the map"),
        ({"WAVELNTH": None}, "its header does not tell the band; write WAVELNTH"),
        ({"WAVELNTH": 850.0}, "its header does not tell the band; write WAVELNTH"),
        ({"CTYPE1": "X", "CTYPE2": "Y"}, "there are no sky coordinates; fetch"),
        ({"CRPIX1": "left"}, "CRPIX1 is 'left', expected a number in its sky coordinates; mend"),
        ({"error": np.ones((3, 3), np.float32)}, "ERROR is not as large as the map; fetch"),
        ({"BUNIT": "MJy/sr", "BMAJ": -1.0}, "a beam of -1 x -1 deg; mend"),
        ({"BUNIT": "MJy/sr", "BMAJ": "wide"}, "BMAJ is 'wide', expected a number of degrees"),
        ({"EXTNAME": "coverage"}, "its first image is COVERAGE; expected the flux"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, changes, words):
    path = make_map(tmp_path / "bad.fits", 250, **changes)
    if "EXTNAME" in changes:
        with fits.open(path, mode="update") as hdus:
            hdus[1].header["EXTNAME"] = "COVERAGE"
    with pytest.raises(InputError) as caught:
        spire.read_map(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def four_maps(folder, **changes):
    """Maps of one sky, each turned otherwise; the target is the smallest."""
    turns = {250: 20.0, 350: -35.0, 500: 70.0, 450: 10.0}
    images = [
        spire.read_map(
            make_map(
                folder / f"{band}.fits",
                band,
                turn_deg=turn,
                side=110 if band == 450 else int(360 / NATIVE[band]),
                **(changes if band == 350 else {}),
            )
        )
        for band, turn in turns.items()
    ]
    return images[:3], images[3]


def test_bands_are_resampled_as_the_simulator_does_it(tmp_path):
    """Linear interpolation, which lowers peaks; a network that was trained on it expects that."""
    pytest.importorskip("reproject")
    maps, target = four_maps(tmp_path)
    linear, smooth = (spire.common_grid(maps, target, **how) for how in ({}, {"order": "bicubic"}))
    assert np.array_equal(linear.target, smooth.target)
    shares = linear.bands.max((0, 1)) / smooth.bands.max((0, 1))
    assert np.all((shares > 0.85) & (shares < 0.99))
    image = spire.reproject_to(maps[0], linear.header, order="bilinear")[0]
    assert np.array_equal(np.where(linear.valid, image, 0), linear.bands[..., 0])


def test_sources_keep_place_and_peak_on_the_common_grid(tmp_path):
    pytest.importorskip("reproject")
    maps, target = four_maps(tmp_path)
    grid = spire.common_grid(maps[::-1], target, order="bicubic")
    shape = grid.valid.shape
    assert grid.bands.shape == (*shape, 3)
    assert grid.target.shape == (*shape, 1)
    assert grid.bands.dtype == grid.target.dtype == np.float32
    wcs = WCS(grid.header)
    assert (grid.header["NAXIS2"], grid.header["NAXIS1"]) == shape
    np.testing.assert_allclose(wcs.proj_plane_pixel_scales()[0].to_value("arcsec"), 2.0)
    # The target is 110 arcsec wide and turned by 10 deg.
    assert shape[0] == pytest.approx(110 * (np.cos(0.1745) + np.sin(0.1745)) / 2, abs=3)
    assert grid.valid.sum() == pytest.approx(110**2 / 4, rel=0.03)
    assert not grid.bands[~grid.valid].any()
    assert not grid.target[~grid.valid].any()
    for plane, (band, fwhm) in enumerate(FWHM.items()):
        image = np.concatenate([grid.bands, grid.target], -1)[:, :, plane]
        for place, flux in zip(SOURCES, FLUXES, strict=True):
            other = FLUXES[0] + FLUXES[1] - flux
            apart = SOURCES[0].separation(SOURCES[1]).arcsec
            exact = flux + other * np.exp(-4 * np.log(2) * (apart / fwhm) ** 2)
            peak, x, y = peak_near(image, wcs, place)
            sky_x, sky_y = wcs.world_to_pixel(place)
            assert peak == pytest.approx(exact, rel=0.03), band
            assert np.hypot(x - sky_x, y - sky_y) < 0.2, band


def test_holes_stay_holes_and_do_not_disturb_what_is_around_them(tmp_path):
    pytest.importorskip("reproject")

    def change(data):
        data[20:24, 18:21] = np.nan

    whole = four_maps(tmp_path)
    (tmp_path / "holes").mkdir()
    holes = four_maps(tmp_path / "holes", change=change)
    whole, holes = (spire.common_grid(*maps) for maps in (whole, holes))
    lost = whole.valid & ~holes.valid
    assert lost.sum() == pytest.approx(5 * 4 * (25 / 3 / 2) ** 2, rel=0.05)
    assert np.isfinite(holes.bands).all()
    both = whole.valid & holes.valid
    # The hole cuts the flank of a source of 20 mJy; three native pixels away nothing is left of it.
    change = np.abs(holes.bands - whole.bands).max(-1)
    assert change[both].max() < 0.06 * 20
    far = ndimage.distance_transform_edt(~lost) > 3 * 25 / 3 / 2
    assert change[both & far].max() < 0.05
    np.testing.assert_array_equal(holes.target[both], whole.target[both])


def test_a_grid_may_be_given(tmp_path):
    pytest.importorskip("reproject")
    image = spire.read_map(make_map(tmp_path / "g.fits", 250))
    header = spire.tangent_header((150.1, 2.2), (20, 30), 4.0)
    flux, valid = spire.reproject_to(image, header)
    assert flux.shape == valid.shape == (20, 30)
    assert valid.all()
    flux, valid = spire.reproject_to(image, header, (300, 5))
    assert flux.shape == (300, 5)
    assert not valid[-1].any()
    assert not flux[~valid].any()
    middle = WCS(header).pixel_to_world(14.5, 9.5)
    assert middle.separation(CENTRE).arcsec < 1e-3
    del header["NAXIS1"]
    with pytest.raises(InputError, match=r"^a grid of 0 x 20 pixels; write NAXIS1 and NAXIS2"):
        spire.reproject_to(image, header)


def test_maps_that_do_not_belong_together_are_refused(tmp_path):
    maps, target = four_maps(tmp_path)
    with pytest.raises(InputError, match=r"give one each of 250, 350 and 500 um$"):
        spire.common_grid(maps[:2], target)
    with pytest.raises(InputError, match=r"a map at 250 um; give one at 450 um$"):
        spire.common_grid(maps, maps[0])
    target.valid[:] = False
    with pytest.raises(InputError, match="there is no valid pixel"):
        spire.common_grid(maps, target)


def test_without_reproject_one_is_told_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    image = spire.read_map(make_map(tmp_path / "m.fits", 250))
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'xmm-jax\[herschel\]'$"):
        spire.reproject_to(image, spire.tangent_header((150.1, 2.2), (9, 9), 2.0))
