import itertools

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.simulator import envelopes, families, features, textures


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


def recipe_with(**numbers):
    common = {name: jnp.float32(row[1]) for name, row in families.RANGES.items()}
    changed = {name: jnp.float32(value) for name, value in numbers.items()}
    has = dict.fromkeys(families.CHANCES, jnp.float32(0))
    return families.Recipe(jnp.int32(0), common | changed, has)


def test_a_cold_front_jumps_by_the_number_it_says():
    # Around a small circle the spiral is crossed once: one sharp edge of almost the full jump.
    recipe = recipe_with(front_jump=3.0, front_radius=200.0, front_soft=1.0, front_pitch=20.0)
    angle = jnp.linspace(-np.pi, np.pi, 4001)[:-1]
    x, y = 60 * jnp.cos(angle), 60 * jnp.sin(angle)
    factor = np.asarray(features.cold_front(recipe, x, y, angle))
    assert 0.999 < factor.min() < 1.05
    assert 2.8 < factor.max() <= 3.0
    steps = np.abs(np.diff(np.append(factor, factor[0])))
    assert (steps > 0.02).sum() <= 40  # the edge takes less than a hundredth of the turn


def test_a_shock_compresses_by_rankine_hugoniot_inside_its_cone_only():
    recipe = recipe_with(mach=2.0, shock_radius=100.0, shock_angle=50.0)
    x = jnp.float32([[150.0, 45.0, -90.0]])
    factor = np.asarray(features.shock(jax.random.key(0), recipe, x, jnp.zeros_like(x)))[0]
    compression = 4 * 4 / 7
    assert factor[0] == 1.0
    assert 1.05 < factor[1] < compression**2
    assert factor[2] < 1.01


def test_turbulence_keeps_the_mean_and_has_the_spectrum_it_was_given():
    draw = jax.jit(lambda key, slope: textures.draw_fields(key, 256, 2.0, slope, 1e3))
    wave = np.hypot(np.fft.fftfreq(256, 2.0)[:, None], np.fft.fftfreq(256, 2.0)[None, :])
    edges = np.geomspace(1 / 100, 1 / 20, 6)
    for slope in (2.0, 3.6):
        first, second = (
            np.asarray(field, float) for field in draw(jax.random.key(1), jnp.float32(slope))
        )
        power, found = np.abs(np.fft.fft2(first)) ** 2 + np.abs(np.fft.fft2(second)) ** 2, []
        # Steep fields share their few largest waves by chance.
        assert abs(np.mean(first * second)) < (0.2 if slope < 3 else 0.6)
        assert abs(first.mean()) < 1e-3
        for low, high in itertools.pairwise(edges):
            found.append(power[(wave >= low) & (wave < high)].mean())
        middle = np.sqrt(edges[1:] * edges[:-1])
        # The cut at 3 arcsec steepens by 2 * 9/2 * k^2 at most 0.02 in ln power.
        assert abs(np.polyfit(np.log(middle), np.log(found), 1)[0] + slope) < 0.35
        np.testing.assert_allclose(first.std(), 1.0, rtol=1e-3)
    noise = jax.random.normal(jax.random.key(2), (1000, 1000))
    assert abs(float(jnp.mean(textures.lognormal(noise, jnp.float32(0.5)))) - 1) < 0.005
