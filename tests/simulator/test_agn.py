import functools

import jax
import numpy as np
import pytest

from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import agn
from xmm_jax.simulator.presets import PRESETS

FIELDS = 400


@functools.cache
def fields(name, absorption_max=1.0):
    preset = PRESETS[name]
    draw = functools.partial(
        agn.POPULATIONS[name],
        camera=PN,
        slots=preset.sources,
        ecf=preset.ecf,
        absorption_max=absorption_max,
    )
    x, y, rate = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(7), FIELDS))
    return np.asarray(x), np.asarray(y), np.asarray(rate)


@pytest.mark.parametrize("name", ["reference", "physical"])
def test_brightest_first_and_unused_slots_dark(name):
    *_, rate = fields(name)
    assert rate.shape == (FIELDS, PRESETS[name].sources)
    assert (np.diff(rate, axis=1) <= 0).all()
    assert (rate[:, -1] == 0).mean() > 0.999  # room for one more in every field


def test_published_number_and_square():
    # 383.5 sources per square degree on pi 0.25^2, scattered by at most its square root.
    x, y, rate = fields("reference")
    number = (rate > 0).sum(axis=1)
    assert number.mean() == pytest.approx(75.3, abs=4 * np.sqrt(75.3 / 3 / FIELDS))
    assert number.min() >= 66
    assert number.max() <= 84
    lit = rate > 0
    for position, axis in ((x, 243), (y, 223)):
        offset = (position - axis)[lit] * 4
        assert np.abs(offset).max() <= 900
        assert offset.std() == pytest.approx(900 / np.sqrt(3), rel=0.02)


def test_published_fluxes_follow_the_table():
    *_, rate = fields("reference")
    flux = rate[rate > 0] / 9.8e11
    for limit, density in ((1.585e-15, 383.5), (6.31e-15, 78.379), (2.512e-14, 8.4102)):
        share = density / 383.5
        error = np.sqrt(share * (1 - share) / flux.size)
        assert np.mean(flux >= limit * 0.9999) == pytest.approx(share, abs=4 * error + 1e-6)


def test_published_absorption_drops_the_faint():
    *_, rate = fields("reference", absorption_max=100.0)
    assert rate[rate > 0].min() >= 1.585e-15 * 9.8e11 * 0.999
    number = (rate > 0).sum(axis=1)
    # Over a factor of 1 to 100 the number must fall from about 75 to about none.
    assert np.percentile(number, 95) > 55
    assert np.percentile(number, 5) <= 1


def test_observed_density_of_real_fields():
    # Counted in EPIC-pn images of ELAIS-S1 and M51: 228 +- 30 above 5e-15, 95 +- 20 above 1e-14
    # per square degree; the drawn sources must have the density of the double power law.
    *_, rate = fields("physical")
    flux, area = rate / 6.9e11, np.pi * (19 / 60) ** 2
    density = {limit: (flux > limit).sum() / FIELDS / area for limit in (1e-15, 5e-15, 2e-14)}
    for limit, found in density.items():
        law = 6150 * 2e-15**1.82 / (limit**1.82 + 1.48e-14**1.22 * limit**0.6)
        error = np.sqrt(law / FIELDS / area)
        assert found == pytest.approx(law, abs=4 * error + 0.05), limit  # capped at 1e-12
    assert density[5e-15] == pytest.approx(228, abs=30)
    assert flux.max() <= 1e-12 * 1.001


def test_observed_positions_fill_a_disc_about_the_field():
    x, y, rate = fields("physical")
    lit = rate > 0
    number = lit.sum(axis=1)
    assert number.var() == pytest.approx(number.mean(), rel=0.25)  # Poisson
    radius = np.hypot(x - 200.5, y - 205.0)[lit] * 4 / 60
    assert radius.max() <= 19.001
    assert np.mean(radius < 9.5) == pytest.approx(0.25, abs=0.005)
    assert np.mean(x[lit] - 200.5) == pytest.approx(0.0, abs=1.5)
