import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import constants, integrate

from xmm_jax.errors import InputError
from xmm_jax.simulator import submm, submm_sky

KEY, SIDE, NUMBER = jax.random.key(11), 128, 96


@pytest.fixture(scope="module")
def quiet_fields():
    """Fields without noise, maps of 4.3 arcmin."""
    return jax.device_get([quiet_field(key) for key in jax.random.split(jax.random.key(2), NUMBER)])


def quiet_field(key, **changes):
    """One of them; all calls share one compiled function."""
    return submm.draw_field(
        key, side=SIDE, **{"noise_mjy": (0.0, 0.0, 0.0), "target_noise_mjy": 0.0, **changes}
    )


def one_source(x, y, flux=10.0, *, side=SIDE, phase=0.0):
    """Bands and target of one source."""
    places = jnp.float32([x]), jnp.float32([y])
    bands = submm.make_maps(
        *places, jnp.full((1, 3), flux), side, 2.0, jnp.full((3, 2), phase, jnp.float32)
    )
    target = submm.make_target(*places, jnp.full((1, 1), flux), side, 2.0)
    return np.asarray(bands, float), np.asarray(target, float)


# The sky


def slope_at(flux):
    """dN/dS written down again, from the constants of the file [1/deg^2/mJy]."""
    if flux < 1.0:
        return 6.25e4 * flux**-1.2
    return 6.25e4 * flux**-2.59 if flux < 25.0 else 6.25e4 * 25.0**-2.59 * (flux / 25.0) ** -4.5


@pytest.mark.parametrize("flux", [0.1, 0.5, 1.0, 3.0, 30.0])
def test_counts_are_the_integral_of_their_density(flux):
    pieces = [(max(low, flux), max(high, flux)) for low, high in ((0.1, 1), (1, 25), (25, 200))]
    number = sum(integrate.quad(slope_at, *ends)[0] for ends in pieces)
    light = sum(integrate.quad(lambda s: s * slope_at(s), *ends)[0] for ends in pieces)
    assert submm_sky.counts_above(flux) == pytest.approx(number, rel=1e-6)
    assert submm_sky.surface_brightness(flux) == pytest.approx(light / 1000, rel=1e-6)


def test_counts_agree_with_what_was_measured():
    light = submm_sky.surface_brightness
    assert light(1.0) == pytest.approx(90.0, abs=17.2)  # Wang et al. 2017
    # Geach et al. 2013: (7.4 +- 0.7) 1e-2 MJy/sr above 5 mJy; ours is within 40 %.
    assert light(5.0) == pytest.approx(7.4e-2 * 1e6 * np.deg2rad(1) ** 2, rel=0.4)
    # 90 Jy/deg^2 are 83 % of the background that COBE saw and 48 % or more of that of Planck.
    assert 90.0 / 0.83 < light(0.0) < 90.0 / 0.48


def test_fluxes_follow_the_counts():
    flux = np.asarray(submm_sky.draw_fluxes(KEY, 400_000))
    total = submm_sky.counts_above(0.0)
    assert flux.min() >= 0.1
    assert flux.max() <= 200.0
    for limit in (0.2, 0.9, 1.1, 4.0, 20.0, 40.0):
        share = submm_sky.counts_above(limit) / total
        assert np.mean(flux > limit) == pytest.approx(share, abs=4 * np.sqrt(share / flux.size))


def test_flux_ratios_are_those_of_a_modified_planck_function():
    redshift, kelvin = np.array([0.1, 1.0, 2.5, 5.0]), np.array([25.0, 30.0, 36.0, 45.0])

    def glow(wavelength_um):
        nu = constants.c / (wavelength_um * 1e-6) * (1 + redshift)
        x = constants.h * nu / (constants.k * kelvin)
        return nu**1.8 * nu**3 / (np.exp(x) - 1)

    for band in submm.BANDS_UM:
        ours = submm_sky.flux_ratio(float(band), jnp.float32(redshift), jnp.float32(kelvin))
        np.testing.assert_allclose(ours, glow(band) / glow(450), rtol=2e-5)


def test_the_background_has_the_colours_of_the_measured_one():
    redshift = submm_sky.draw_redshifts(KEY, 50_000)
    assert np.median(redshift) == pytest.approx(1.6, abs=0.03)
    assert (redshift > 0).all()
    kelvin = submm_sky.draw_temperatures(jax.random.key(1), redshift)
    # 0.85, 0.65, 0.39 MJy/sr at 250, 350, 500 um, what Lagache et al. get out of FIRAS.
    for band, sky in zip(submm.BANDS_UM, (0.85, 0.65, 0.39), strict=True):
        ratio = submm_sky.flux_ratio(float(band), redshift, kelvin)
        light = submm_sky.surface_brightness(0.0) * np.mean(ratio)
        assert light / 1e6 / np.deg2rad(1) ** 2 == pytest.approx(sky, rel=0.25)


@pytest.mark.parametrize("clustering", [0.0, 0.6])
def test_clustering_raises_the_variance_of_counts_in_cells(clustering):
    number, size = 5000, 320
    draw = jax.jit(lambda key: submm_sky.draw_places(key, number, size, 2.0, clustering))
    ratios = []
    for key in jax.random.split(KEY, 12):
        x, y = map(np.asarray, draw(key))
        assert min(x.min(), y.min()) >= -0.5
        assert max(x.max(), y.max()) <= size - 0.5
        cells = np.histogram2d(y, x, bins=16, range=[[-0.5, size - 0.5]] * 2)[0]
        ratios.append(cells.var() / cells.mean())  # 1 - 1 / 256 for even places
    if clustering:
        assert np.mean(ratios) > 2
    else:
        assert np.mean(ratios) == pytest.approx(1 - 1 / 256, abs=4 * np.sqrt(2 / 256 / 12))


# The maps


@pytest.mark.parametrize("place", [(64.0, 60.0), (50.3, 70.8), (30.5, 90.5)])
def test_the_target_is_a_gaussian_of_its_beam_and_flux(place):
    target = one_source(*place)[1][:, :, 0]
    index = np.arange(SIDE)
    square = np.square(index[:, None] - place[1]) + np.square(index[None, :] - place[0])
    exact = 10.0 * np.exp(-4 * np.log(2) * square * 2.0**2 / 7.9**2)
    np.testing.assert_allclose(target, exact, atol=0.02)  # 0.2 % of the peak


def test_bands_have_peak_place_and_width_of_their_beams():
    # The middle of a native pixel of every band: 25 of 6 and 18 of 25/3 are 150 arcsec, as are 12.5
    # of 12, so that one is moved by half a pixel.
    places = jnp.float32([75.0]), jnp.float32([75.0])
    phase = np.zeros((3, 2), np.float32)
    phase[2] = 0.5
    bands = submm.make_maps(*places, jnp.full((1, 3), 10.0), 160, 2.0, jnp.asarray(phase))
    index = np.arange(160)
    for band, (fwhm, native) in enumerate(zip((18.1, 24.9, 36.6), (6, 25 / 3, 12), strict=True)):
        image = np.asarray(bands[:, :, band], float)
        assert image.max() == pytest.approx(10.0, rel=1e-3)
        assert np.unravel_index(image.argmax(), image.shape) == (75, 75)
        for axis in (0, 1):
            profile = image.sum(axis) / image.sum()
            middle = (profile * index).sum()
            assert middle == pytest.approx(75, abs=0.02)
            width = (profile * np.square(index - middle)).sum() * 2.0**2
            # A beam, a box of one native pixel and the triangle of linear interpolation.
            exact = fwhm**2 / (8 * np.log(2)) + native**2 / 12 + native**2 / 6
            assert width == pytest.approx(exact, rel=0.01)


def test_a_source_in_the_corner_of_four_native_pixels_looks_fainter():
    """Against a brute-force average over one native pixel."""
    side = (np.arange(200) + 0.5) / 200
    for band, (fwhm, native) in enumerate(zip((18.1, 24.9, 36.6), (6, 25 / 3, 12), strict=True)):
        sigma, pitch = fwhm / 2.354820, native / 2.0
        middle = round(64 / pitch) * pitch  # a centre of a native pixel for a phase of 0
        bands, _ = one_source(middle + pitch / 2, middle + pitch / 2, phase=0.0)
        beam = np.exp(-0.5 * np.square(native * side / sigma)).mean()
        centred = np.exp(-0.5 * np.square(native * (side - 0.5) / sigma)).mean()
        assert bands[:, :, band].max() == pytest.approx(10 * (beam / centred) ** 2, rel=0.01)
        assert (beam / centred) ** 2 == pytest.approx(0.866, abs=0.005)


def test_light_from_outside_comes_in_and_none_wraps_around():
    bands, target = one_source(-8.0, 60.0, flux=100.0)
    assert bands[60, 0, 2] == pytest.approx(100 * np.exp(-0.5 * (16 / 15.54) ** 2), rel=0.15)
    assert abs(bands[:, -30:]).max() < 1e-3
    assert abs(target[:, -30:]).max() < 1e-3


def test_pixels_that_are_too_large_are_refused():
    with pytest.raises(InputError, match=r"^pixels of 4 arcsec are too large .* take 2.5 or less"):
        submm.draw_field(KEY, side=32, pixel_arcsec=4.0)


# Fields


def test_a_field_is_what_it_says(quiet_fields):
    for field in quiet_fields[:5]:
        assert field.bands.shape == (SIDE, SIDE, 3)
        assert field.target.shape == field.observed_target.shape == (SIDE, SIDE, 1)
        assert field.x.shape == field.flux.shape == (submm.most_sources(SIDE),)
        assert field.bands.dtype == field.target.dtype == field.flux.dtype == np.float32
        assert np.abs(field.bands.mean((0, 1))).max() < 1e-3
        assert (field.target >= 0).all()
        assert (np.diff(field.flux) <= 0).all()
        lit = field.flux > 0
        for place in (field.x[lit], field.y[lit]):
            assert place.min() >= -0.5
            assert place.max() < SIDE - 0.5
        assert (field.redshift[lit] > 0).all()
        assert not field.redshift[~lit].any()


def test_the_number_of_galaxies_is_that_of_the_counts(quiet_fields):
    area = NUMBER * (SIDE * 2 / 3600) ** 2
    for limit in (0.1, 1.0, 5.0):
        found = sum((field.flux > limit).sum() for field in quiet_fields)
        expected = float(submm_sky.counts_above(limit)) * area
        # Clustering adds to Poisson noise: fields differ by some percent.
        assert found == pytest.approx(expected, abs=4 * np.sqrt(expected) + 0.02 * expected)


def test_confusion_is_that_of_spire(quiet_fields):
    rms = np.sqrt(np.mean([field.bands.var((0, 1)) for field in quiet_fields], axis=0))
    # Nguyen et al. 2010, A&A 518, L5.
    np.testing.assert_allclose(rms, (5.8, 6.3, 6.8), rtol=0.3)
    # At 450 um 0.65 (Gao et al. 2024, arXiv 2405.20616) to about 1 mJy/beam (slides of Lauritsen et
    # al.) are left when bright sources are taken out; here they are in.
    rms = np.sqrt(np.mean([field.observed_target.var() for field in quiet_fields]))
    assert 0.65 < rms < 1.6


def test_bright_galaxies_of_the_list_are_in_the_maps(quiet_fields):
    seen = 0
    for field in quiet_fields:
        # The list alone, at least of what lies far from the edge, makes the target.
        inner = slice(12, -12)
        alone = submm.make_target(field.x, field.y, field.flux[:, None], SIDE, 2.0)
        np.testing.assert_allclose(alone[inner, inner], field.target[inner, inner], atol=2e-3)
        for x, y, flux in zip(field.x[:3], field.y[:3], field.flux[:3], strict=True):
            if flux < 15 or min(x, y) < 4 or max(x, y) > SIDE - 5:
                continue
            row, column = round(float(y)), round(float(x))
            square = ((row - y) ** 2 + (column - x) ** 2) * 2.0**2
            own = flux * np.exp(-4 * np.log(2) * square / 7.9**2)
            assert field.target[row, column, 0] > 0.998 * own  # neighbours only add
            seen += 1
    assert seen > 5


def test_a_limit_leaves_faint_galaxies_out_of_the_target_only():
    every, bright = quiet_field(KEY), quiet_field(KEY, target_above_mjy=2.0)
    assert np.array_equal(every.bands, bright.bands)
    assert np.array_equal(every.observed_target, bright.observed_target)
    assert np.array_equal(every.flux, bright.flux)
    lost = np.asarray(every.target - bright.target)
    assert lost.min() > -1e-3
    assert lost.max() > 0.5


def test_noise_has_the_strength_asked_for():
    drawn = [
        quiet_field(KEY, noise_mjy=(width, 2 * width, 3 * width), target_noise_mjy=width)
        for width in (0.0, 2.0)
    ]
    quiet, noisy = jax.device_get(drawn)
    assert np.array_equal(quiet.target, noisy.target)
    noise = (noisy.observed_target - quiet.observed_target)[:, :, 0]
    assert noise.std() == pytest.approx(2.0, rel=0.12)
    # White noise behind a Gaussian of width s is correlated as exp(-d^2 / 4 s^2).
    near = np.mean(noise[:, 2:] * noise[:, :-2]) / noise.var()
    assert near == pytest.approx(np.exp(-(4.0**2) / 4 / (7.9 / 2.354820) ** 2), abs=0.05)
    # Linear interpolation keeps 2/3 of the variance along each axis.
    width = (noisy.bands - quiet.bands).std((0, 1))
    np.testing.assert_allclose(width, 2 / 3 * np.array([2, 4, 6]), rtol=0.2)


def test_a_field_is_a_pure_function_of_its_key():
    first, again, other = quiet_field(KEY), quiet_field(KEY), quiet_field(jax.random.key(12))
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(first.bands, other.bands)
    assert not np.array_equal(first.flux, other.flux)
    several = jax.eval_shape(jax.vmap(quiet_field), jax.random.split(KEY, 2))
    assert several.bands.shape == (2, SIDE, SIDE, 3)
