import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.simulator import envelopes, families


def test_families_come_as_often_as_their_weights_and_keep_to_their_ranges():
    keys = jax.random.split(jax.random.key(0), 4000)
    recipe = jax.jit(jax.vmap(families.draw_recipe))(keys)
    rows = list(families.FAMILIES.values())
    weights = np.array([row.weight for row in rows])
    share = weights / weights.sum()
    count = np.bincount(np.asarray(recipe.family), minlength=len(rows))
    assert (np.abs(count - 4000 * share) < 4 * np.sqrt(4000 * share)).all()
    for index, row in enumerate(rows):
        mine = np.asarray(recipe.family) == index
        assert set(row.chances) <= set(families.CHANCES)
        assert set(row.ranges) <= set(families.RANGES)
        for name, (_, *common) in families.RANGES.items():
            low, high = row.ranges.get(name, common)
            value = np.asarray(recipe.numbers[name])[mine]
            assert (value >= low * 0.9999).all()
            assert (value <= high * 1.0001).all()
        for name, chance in row.chances.items():
            if chance == 1.0:
                assert np.asarray(recipe.has[name])[mine].all()
    body = recipe.has["halo"] + recipe.has["shell"] + recipe.has["disc"]
    assert (np.asarray(body) >= 1).all()


def test_a_beta_model_falls_to_its_slope():
    # d ln S / d ln r = (1 - 6 beta) r^2 / (r^2 + core^2).
    radius = jnp.array([30.0, 30.3, 3000.0, 3030.0])
    light = np.log(np.asarray(envelopes.beta_model(radius**2, 30.0, 0.7), float))
    slope = np.diff(light)[[0, 2]] / np.log(1.01)
    np.testing.assert_allclose(slope, [-3.2 * 0.5025, -3.2], rtol=0.01)


def test_a_shell_is_the_path_through_it():
    # Brute force: length of the line of sight with inner < r < outer.
    offset, line = np.array([0.0, 40.0, 79.0, 95.0, 101.0]), np.linspace(-100, 100, 200_001)
    r = np.hypot(offset[:, None], line[None, :])
    path = ((r < 100) & (r > 80)).sum(axis=1) * 1e-3
    shell = np.asarray(envelopes.shell(jnp.float32(offset**2), jnp.float32(100), jnp.float32(0.2)))
    np.testing.assert_allclose(shell * np.sqrt(100**2 - 80**2) * 2, path, atol=0.05)


def test_a_rim_has_the_scatter_it_was_given_and_no_period(recipe_with):
    recipe = recipe_with("corrugated", corrugation=0.05)
    draw = jax.jit(jax.vmap(lambda key: envelopes.azimuthal_factors(key, recipe)))
    brightness, radius = (
        np.asarray(one, float) for one in draw(jax.random.split(jax.random.key(4), 200))
    )
    np.testing.assert_allclose(brightness, 1.0)
    assert np.sqrt(np.mean((radius - 1) ** 2)) == pytest.approx(0.05, rel=0.1)
    # Power of the orders falls as m^-2.5 from 2 to 64: no order stands out.
    power = np.mean(np.abs(np.fft.rfft(radius - 1, axis=1)) ** 2, axis=0)
    order = np.arange(2, 65)
    slope = np.polyfit(np.log(order), np.log(power[2:65]), 1)[0]
    assert slope == pytest.approx(-2.5, abs=0.15)
    assert power[65:].max() < 1e-6 * power[2]
    assert power[1] < 1e-6 * power[2]
