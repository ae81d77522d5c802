import re

import jax
import numpy as np
import pytest

from xmm_jax.instrument.camera import PN, canvas_axes, crop_canvas, frame_axes, from_native
from xmm_jax.instrument.vignetting import vignetting_map
from xmm_jax.simulator import sky
from xmm_jax.simulator.presets import PRESETS
from xmm_jax.simulator.statistics import measure_shape

X, Y = frame_axes(PN, 2)
VIGNETTING = vignetting_map(PN, X, Y)
CENTRE = tuple(from_native(position, 2) for position in PN.axis)


def test_a_power_law_has_its_slope():
    # In the middle of the frame, so that the centre of its light is its own.
    middle = (X[0] + X[-1]) / 2, (Y[0] + Y[-1]) / 2
    radius = np.hypot((X - middle[0])[None, :], (Y - middle[1])[:, None]) * 4
    light = (1 + (radius / 30) ** 2) ** (0.5 - 3 * 0.6)
    centre = tuple(from_native(position, 2) for position in middle)
    shape = measure_shape(light * VIGNETTING, VIGNETTING, centre, pixel_arcsec=2.0)
    slope = -2.6 * np.array([60.0**2 / (60**2 + 30**2), 300**2 / (300**2 + 30**2)])
    assert [shape.slope_1, shape.slope_5] == pytest.approx(slope, rel=0.05)
    assert shape.residual_rms < 0.01


def test_scatter_about_the_profile_is_measured_through_noise():
    # Waves of 100 arcsec and amplitude 0.4 have an rms of 0.28; Poisson noise is far larger.
    wave = 1 + 0.4 * np.sin(2 * np.pi * X * 4 / 100)[None, :] * np.ones((len(Y), 1))
    counts = np.random.default_rng(0).poisson(0.5 * wave * VIGNETTING).astype(float)
    shape = measure_shape(counts, VIGNETTING, CENTRE, pixel_arcsec=2.0, noise=counts)
    assert shape.residual_rms == pytest.approx(0.4 / np.sqrt(2), abs=0.03)


# Peak over box, slopes at 1 and 5 arcmin, slope of the power, slope and scatter of what is left
# after division by the profile: an independent measurement.
PUBLISHED = {
    "TNG100*343638*": (4.5, -0.9, -0.5, -3.0, -3.1, 0.73),
    "TNG300*415728*": (2.2, -0.7, -3.6, -4.3, -3.4, 0.40),
    "TNG50_*448830*": (8.0, -1.1, -1.9, -1.95, -1.8, 0.59),
}


@pytest.mark.reference
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_simulations_have_the_shape_measured_before(shared, name):
    fits = pytest.importorskip("astropy.io.fits")
    (path,) = (shared / "data/sim/100ks/img/2x").glob(name)
    counts = fits.getdata(path).astype(float)
    whole, cents = re.findall(r"zoom_(\d)_(\d+)", path.name)[0]
    shape = measure_shape(
        counts, VIGNETTING, CENTRE, pixel_arcsec=2.0, zoom=float(f"{whole}.{cents}"), noise=counts
    )
    peak, slope_1, slope_5, spectrum, residual, rms = PUBLISHED[name]
    assert shape.peak == pytest.approx(peak, rel=0.05)
    assert shape.slope_1 == pytest.approx(slope_1, abs=0.3)
    assert shape.slope_5 == pytest.approx(slope_5, rel=0.15)
    assert shape.spectrum == pytest.approx(spectrum, abs=0.3)
    assert shape.residual_spectrum == pytest.approx(residual, abs=0.45)
    assert shape.residual_rms == pytest.approx(rms, rel=0.12)


@pytest.mark.slow
def test_drawn_sources_have_the_shapes_of_published_ones():
    # Bands of six published images, that of the slope at 1 arcmin wider by two errors: the median
    # of 60 draws with the scatter of ours (0.9) has an error of 1.25 * 0.9 / sqrt(60) = 0.15.
    x, y = canvas_axes(PN, 2)
    factor = vignetting_map(PN, x, y)
    draw = jax.jit(lambda key: sky.draw_extended(key, PN, PRESETS["reference"], factor))
    shapes = []
    for key in jax.random.split(jax.random.key(0), 60):
        rate, extended = draw(key)
        seen = crop_canvas(PN, np.asarray(rate) * factor, 2)
        centre = (from_native(float(extended.x), 2), from_native(float(extended.y), 2))
        shapes.append(
            measure_shape(seen, VIGNETTING, centre, pixel_arcsec=2.0, zoom=float(extended.zoom))
        )
    median = dict(zip(shapes[0]._fields, np.nanmedian(np.array(shapes), axis=0), strict=True))
    assert 2 < median["peak"] < 9
    assert 0.35 < median["residual_rms"] < 0.8
    assert -3.5 < median["residual_spectrum"] < -1.2
    assert -1.4 < median["slope_1"] < 0.2
    assert -3.6 < median["slope_5"] < -0.4
