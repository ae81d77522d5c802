import jax
import numpy as np
import pytest

from xmm_jax.simulator import hstpsf, starfield

SIDE, NUMBER = 160, 24


@pytest.fixture(scope="module")
def fields():
    keys = jax.random.split(jax.random.key(7), NUMBER)
    drawn = jax.jit(jax.vmap(lambda key: starfield.draw_field(key, side=SIDE)))(keys)
    return jax.device_get(drawn)


def one_of(fields, number):
    return jax.tree.map(lambda leaf: leaf[number], fields)


def test_a_field_is_what_it_says(fields):
    assert fields.truth.shape == fields.rate.shape == fields.valid.shape == (NUMBER, SIDE, SIDE)
    assert fields.truth.dtype == fields.rate.dtype == np.float32
    assert fields.valid.dtype == bool
    assert fields.stars.flux.shape == (NUMBER, starfield.most_stars(SIDE))
    assert starfield.most_stars(512) == 6000
    assert np.isfinite(fields.rate).all()
    assert (fields.truth >= 0).all()
    assert ((fields.exposure_s > 499) & (fields.exposure_s < 5001)).all()
    assert set(fields.kind) == set(range(len(starfield.KINDS)))


def test_some_fields_have_dead_pixels_and_those_are_zero(fields):
    share = fields.valid.mean(axis=(1, 2))
    assert 0 < np.mean(share < 1) < 0.7
    assert share.min() > 0.3
    assert not fields.rate[~fields.valid].any()
    assert (fields.rate[fields.valid] != 0).mean() > 0.999


def test_the_observation_is_the_truth_with_its_noise(fields):
    time, sky = fields.exposure_s[:, None, None], fields.sky_rate[:, None, None]
    exposures = np.maximum(np.round(time / 500), 2)
    electrons = (fields.truth + sky + 7 / 3600) * time + 9 * exposures
    pull = (fields.rate - fields.truth) * time / np.sqrt(electrons)
    for number in range(NUMBER):
        pulls = pull[number][fields.valid[number]]
        assert pulls.mean() == pytest.approx(0, abs=6 / np.sqrt(pulls.size))
        assert pulls.std() == pytest.approx(1, abs=0.04)


def test_stars_in_the_list_are_stars_in_the_image(fields):
    index, seen = np.arange(SIDE), 0
    stamp = hstpsf.stamp(0).astype(float)
    offset = np.arange(-64, 65)
    near = np.hypot(offset[:, None], offset[None, :]) <= 5.5
    for number in range(NUMBER):
        field = one_of(fields, number)
        flux, x, y = field.stars.flux, field.stars.x, field.stars.y
        lit = flux > 0
        assert ((x[lit] >= -0.5) & (x[lit] < SIDE - 0.5)).all()
        assert ((y[lit] >= -0.5) & (y[lit] < SIDE - 0.5)).all()
        for star in np.flatnonzero(flux > 20):
            if min(x[star], y[star]) < 8 or max(x[star], y[star]) > SIDE - 9:
                continue
            others = np.hypot(x - x[star], y - y[star]) < 20
            if flux[others].sum() > 1.05 * flux[star] or starfield.KINDS[field.kind] == "nebula":
                continue
            near_star = np.hypot(index[:, None] - y[star], index[None, :] - x[star]) <= 5.5
            light = field.truth * near_star
            background = field.truth[near_star].min() * near_star
            light, total = light - background, (light - background).sum()
            assert total == pytest.approx(flux[star] * stamp[near].sum(), rel=0.15)
            assert (light.sum(0) * index).sum() / total == pytest.approx(x[star], abs=0.1)
            assert (light.sum(1) * index).sum() / total == pytest.approx(y[star], abs=0.1)
            seen += 1
    assert seen > 3


def test_fluxes_follow_their_power_law(fields):
    flux = fields.stars.flux[fields.stars.flux > 0]
    low, high = starfield.STAR_FLUX
    assert flux.min() >= low * 0.999
    assert flux.max() <= high * 1.001
    # Exact share above 2 electron/s of dN/dF as F^-1.7.
    share = (2**-0.7 - high**-0.7) / (low**-0.7 - high**-0.7)
    assert np.mean(flux > 2) == pytest.approx(share, abs=4 * np.sqrt(share / flux.size))


def test_clusters_are_crowded_and_stars_do_not_saturate(fields):
    counts = {kind: [] for kind in range(len(starfield.KINDS))}
    for number in range(NUMBER):
        counts[int(fields.kind[number])].append((fields.stars.flux[number] > 0).sum())
    assert np.median(counts[0]) > 4 * np.median(counts[1])
    # Full well of WFC3/UVIS is above 60000 electrons; sub-exposures last about 500 s.
    assert fields.truth.max() * 500 < 60000


def test_a_field_is_a_pure_function_of_its_key(fields):
    keys = jax.random.split(jax.random.key(7), NUMBER)
    field = starfield.draw_field(keys[3], side=SIDE, band=0)
    np.testing.assert_allclose(field.truth, fields.truth[3], atol=1e-3)
    again = starfield.draw_field(keys[3], side=SIDE, band=0)
    assert np.array_equal(field.rate, again.rate)
    wider = starfield.draw_field(keys[3], side=SIDE, band=1)
    assert int(wider.band) == 1
    assert wider.truth.max() < field.truth.max()
