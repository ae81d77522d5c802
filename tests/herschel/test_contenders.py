"""What needs no network: points painted here with the beams of the slides."""

import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.herschel.contenders import (
    METHODS,
    Tuning,
    deconvolution,
    detection_250,
    paint,
    rescaled,
    tune,
    tune_iterations,
)
from xmm_jax.metrics.submm_sources import Sources, beam_fwhm, detect, stack_psf

SIZE, COLOUR = 128, 0.4
BEAMS = (18.1, 24.9, 36.6)
PIXEL = 2.0


def painted(sources, fwhm_arcsec, size=SIZE):
    y, x = np.mgrid[:size, :size] * PIXEL
    image = np.zeros((size, size))
    for x0, y0, flux in zip(*sources, strict=True):
        apart = (x - PIXEL * x0) ** 2 + (y - PIXEL * y0) ** 2
        image += flux * np.exp2(-4 * apart / fwhm_arcsec**2)
    return image


def field(seed, noise=0.0):
    """Bands of mean 0 and truth at 450 um: points far apart, one colour."""
    rng = np.random.default_rng(seed)
    y, x = (axis.ravel() for axis in np.mgrid[24:120:32, 24:120:32])
    flux = rng.uniform(40, 90, x.size)
    x, y = x + rng.uniform(-3, 3, x.size), y + rng.uniform(-3, 3, x.size)
    sources = Sources(x, y, flux)
    bands = np.stack([painted(sources, beam) for beam in BEAMS], axis=-1)
    bands += rng.normal(0, 1, bands.shape) * noise
    target = sources._replace(flux=COLOUR * flux)
    return bands - bands.mean((0, 1)), painted(target, 7.9), target


def same(found, truth):
    """Found sources in the order of the true ones, and how far they are [arcsec]."""
    apart = np.hypot(found.x - truth.x[:, None], found.y - truth.y[:, None])
    partner = apart.argmin(axis=1)
    return Sources(*(column[partner] for column in found)), PIXEL * apart.min(axis=1)


def test_the_colour_is_that_painted():
    fields = [field(seed)[:2] for seed in (1, 2)]
    tuning = tune(fields)
    assert tuning.colour == pytest.approx(COLOUR, rel=1e-3)
    assert tuning.level == pytest.approx(np.mean([target.mean() for _, target in fields]))
    # A level changes no colour; a noisy 250 um map lowers it.
    assert tune([(bands + 7, target) for bands, target in fields]).colour == pytest.approx(
        tuning.colour
    )
    assert tune([field(1, noise=4.0)[:2]]).colour < tuning.colour


def test_a_colour_needs_something_to_see():
    with pytest.raises(InputError, match="training fields"):
        tune([])
    with pytest.raises(InputError, match="training fields"):
        tune([(np.full((16, 16, 3), 5.0), np.ones((16, 16)))])


def test_nothing_done_keeps_fluxes_and_the_beam():
    bands, target, truth = field(3)
    image = rescaled(bands, Tuning(COLOUR, float(target.mean())))
    assert image.mean() == pytest.approx(target.mean(), rel=1e-3)
    found, apart = same(detect(image, threshold_mjy=5, fwhm_pixel=9), truth)
    assert apart.max() < 0.5
    # Peaks of all differ by one level: a wider beam holds more of the mean.
    shift = found.flux - truth.flux
    assert np.ptp(shift) < 0.2
    stamp, _ = stack_psf(image - np.median(image), truth, 12)
    assert beam_fwhm(stamp, pixel_arcsec=PIXEL) == pytest.approx(18.1, rel=0.05)


def test_deconvolution_sharpens_and_keeps_the_flux():
    bands, target, truth = field(4)
    image = deconvolution(bands, Tuning(COLOUR, float(target.mean())), iterations=200)
    stamp, _ = stack_psf(image, truth, 12)
    assert 7.5 < beam_fwhm(stamp, pixel_arcsec=PIXEL) < 11
    few = deconvolution(bands, Tuning(COLOUR, float(target.mean())), iterations=10)
    wide, _ = stack_psf(few, truth, 12)
    assert beam_fwhm(wide, pixel_arcsec=PIXEL) > beam_fwhm(stamp, pixel_arcsec=PIXEL)
    # In a box of 25 pixels about each source is its flux, whatever the beam became.
    y, x = np.rint([truth.y, truth.x]).astype(int)
    for centre_y, centre_x, flux in zip(y, x, truth.flux, strict=True):
        box = np.s_[centre_y - 12 : centre_y + 13, centre_x - 12 : centre_x + 13]
        assert image[box].sum() == pytest.approx(target[box].sum(), rel=0.05)
        assert image[box].max() == pytest.approx(flux, rel=0.3)


def test_noise_calls_for_fewer_iterations():
    choices = (3, 30, 300)
    tuning = Tuning(COLOUR, 0.5)
    assert tune_iterations([field(1)[:2]], tuning, choices=choices) == 300
    assert tune_iterations([field(1, noise=30.0)[:2]], tuning, choices=choices) < 300


def test_deconvolution_separates_what_the_beam_blends():
    pair = Sources(np.array([60.0, 67.0]), np.array([64.0, 64.0]), np.array([60.0, 60.0]))
    bands = np.repeat(painted(pair, 18.1)[..., None], 3, axis=-1)
    tuning = Tuning(COLOUR, 0.5)
    for method, number in ((rescaled, 1), (deconvolution, 2)):
        image = method(bands, tuning, **({"iterations": 200} if number == 2 else {}))
        assert len(detect(image, threshold_mjy=8, fwhm_pixel=3.95).x) == number


def test_detected_sources_are_painted_with_the_narrow_beam():
    bands, target, truth = field(5, noise=0.5)
    image = detection_250(bands, Tuning(COLOUR, 0.0))
    found, apart = same(detect(image, threshold_mjy=5, fwhm_pixel=3.95), truth)
    assert apart.max() < 1.5
    np.testing.assert_allclose(found.flux, truth.flux, rtol=0.06)
    np.testing.assert_allclose(image, target, atol=4)
    assert not detection_250(np.zeros((32, 32, 3)), Tuning(COLOUR, 0.0)).any()


def test_paint_is_the_formula_of_a_gaussian():
    _, target, truth = field(6)
    np.testing.assert_allclose(paint(truth, target.shape, fwhm_pixel=3.95), target, atol=1e-5)
    image = paint(Sources(np.array([4.0]), np.array([2.0]), np.array([3.0])), (6, 9), fwhm_pixel=2)
    assert (image[2, 4], image[3, 4]) == (3, 1.5)


@pytest.mark.parametrize("name", METHODS)
def test_all_answer_alike(name):
    bands, target, _ = field(7, noise=3.0)
    image = METHODS[name](bands.astype(np.float32), tune([(bands, target)]))
    assert image.shape == target.shape
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert np.corrcoef(image.ravel(), target.ravel())[0, 1] > 0.4
