"""Smooth shapes with a centre: cluster, shell, disc, and how they change with azimuth."""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.simulator.families import Recipe

SUBCLUSTERS = 4
ANGLES = 1024  # nodes of a function of azimuth
HARMONICS = 64


def beta_model(square: jax.Array, core: jax.Array, beta: jax.Array) -> jax.Array:
    """Brightness of isothermal gas: (1 + r^2 / core^2) ** (1/2 - 3 beta).

    Parameters
    ----------
    square : array
        Squared distance from the centre [arcsec2].
    core : array
        Core radius [arcsec].
    beta : array
        Slope.

    Returns
    -------
    array
        Brightness, 1 at the centre (Cavaliere & Fusco-Femiano 1976, A&A 49, 137).
    """
    return jnp.exp((0.5 - 3.0 * beta) * jnp.log1p(square / (core * core)))


def shell(square: jax.Array, radius: jax.Array, width: jax.Array) -> jax.Array:
    """Brightness of a hollow sphere of constant emissivity.

    Parameters
    ----------
    square : array
        Squared distance from the centre [arcsec2].
    radius : array
        Outer radius [arcsec].
    width : array
        Thickness as a share of the outer radius.

    Returns
    -------
    array
        Length of the line of sight inside the shell, 1 at its brightest.
    """
    outer, inner = radius * radius, jnp.square(radius * (1.0 - width))
    path = jnp.sqrt(jnp.maximum(outer - square, 0.0)) - jnp.sqrt(jnp.maximum(inner - square, 0.0))
    return path / jnp.sqrt(outer - inner)


def azimuthal_factors(key: jax.Array, recipe: Recipe) -> tuple[jax.Array, jax.Array]:
    """How brightness and radius change with azimuth.

    Parameters
    ----------
    key : array
        Random key.
    recipe : Recipe
        The recipe.

    Returns
    -------
    brightness, radius : array
        Factors at `ANGLES` equal steps from -pi: in the brightness a dipole and lumps of orders 1
        to 6 with amplitudes falling as 1/m, in the radius corrugation of orders 2 to 64 falling as
        m^-1.25 with random phases, so that a rim has no period.
    """
    amplitude_key, phase_key = jax.random.split(key)
    order = np.arange(1, HARMONICS + 1, dtype=np.float32)
    angle = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False, dtype=np.float32)
    phase = jax.random.uniform(phase_key, (HARMONICS,), maxval=2.0 * np.pi)
    amplitude = jax.random.normal(amplitude_key, (HARMONICS,))
    wave = jnp.cos(order[:, None] * angle[None, :] + phase[:, None])
    numbers, has = recipe.numbers, recipe.has
    lumps = jnp.where(order <= 6, 1.0 / order, 0.0) * amplitude * numbers["lumps"] * has["lumpy"]
    lumps = lumps.at[0].add(numbers["dipole"] * has["lopsided"])
    falling = np.where(order >= 2, order**-1.25, 0.0)
    # Waves have a mean square of one half: `corrugation` is the rms of the radius.
    ripple = falling * np.float32(np.sqrt(2.0 / np.sum(np.square(falling)))) * amplitude
    ripple = ripple * numbers["corrugation"] * has["corrugated"]
    brightness = jnp.exp(lumps @ wave)
    return brightness, 1.0 + jnp.matmul(ripple, wave)


def at_azimuth(table: jax.Array, azimuth: jax.Array) -> jax.Array:
    """Value of a function of azimuth.

    Parameters
    ----------
    table : array
        Values at `ANGLES` equal steps from -pi, any unit.
    azimuth : array
        Angles from -pi to pi [rad].

    Returns
    -------
    array
        Linear interpolation, same shape as `azimuth`.
    """
    place = (azimuth + np.pi) * (ANGLES / (2.0 * np.pi))
    below = jnp.floor(place)
    part, below = place - below, below.astype(jnp.int32) % ANGLES
    return table[below] * (1.0 - part) + table[(below + 1) % ANGLES] * part


def envelope(
    key: jax.Array, recipe: Recipe, x: jax.Array, y: jax.Array, azimuth: jax.Array
) -> jax.Array:
    """Smooth shape of a source: halo, cool core, shell, disc with arms, and subclusters.

    Parameters
    ----------
    key : array
        Random key.
    recipe : Recipe
        The recipe.
    x, y : array
        Coordinates in the frame of the source [arcsec].
    azimuth : array
        Their azimuth [rad].

    Returns
    -------
    array
        Brightness, any unit.
    """
    azimuth_key, merger_key = jax.random.split(key)
    numbers, has = recipe.numbers, recipe.has
    factor, stretch = azimuthal_factors(azimuth_key, recipe)
    square = x * x + y * y
    bent = square * jnp.square(at_azimuth(stretch, azimuth))

    core = numbers["core"]
    halo = beta_model(square, core, numbers["beta"])
    inner = jnp.maximum(core * numbers["core_ratio"], 4.0)  # two sky pixels
    peak = beta_model(square, inner, jnp.maximum(numbers["beta"], 0.6))
    halo = halo + has["cool_core"] * numbers["excess"] * peak

    disc = jnp.exp(-jnp.sqrt(square) / numbers["disc_scale"])
    pitch = jnp.tan(jnp.deg2rad(numbers["arm_pitch"]))
    turns = azimuth - 0.5 * jnp.log(square + 1.0) / pitch
    arms = has["spiral"] * numbers["arm_contrast"] * jnp.cos(jnp.floor(numbers["arms"]) * turns)

    light = has["halo"] * halo + has["disc"] * disc * (1.0 + arms)
    light = light + has["shell"] * shell(bent, numbers["shell_radius"], numbers["shell_width"])
    return light * at_azimuth(factor, azimuth) + has["merger"] * subclusters(
        merger_key, recipe, x, y
    )


def subclusters(key: jax.Array, recipe: Recipe, x: jax.Array, y: jax.Array) -> jax.Array:
    """Smaller clusters falling in.

    Parameters
    ----------
    key : array
        Random key.
    recipe : Recipe
        The recipe.
    x, y : array
        Coordinates in the frame of the source [arcsec].

    Returns
    -------
    array
        Brightness in units of the centre of the main cluster: one to `SUBCLUSTERS` beta models at
        0.2 to 2 core radii or 1 arcmin, mass ratios of density m^-1.9 from 0.02 and at least one of
        `merger_ratio`, brightness m^1.2 and size m^(1/3).
    """
    uniform = jax.random.uniform(key, (5, SUBCLUSTERS))
    power, low = -0.9, 0.02
    mass = (low**power + uniform[0] * (1.0 - low**power)) ** (1.0 / power)
    mass = mass.at[0].set(recipe.numbers["merger_ratio"])
    kept = jnp.arange(SUBCLUSTERS) < 1.0 + SUBCLUSTERS * uniform[4, 0]
    distance = jnp.maximum(recipe.numbers["core"], 60.0) * (0.2 + 1.8 * uniform[1])
    angle = 2.0 * np.pi * uniform[2]
    total = jnp.zeros_like(x)
    for i in range(SUBCLUSTERS):
        dx, dy = x - distance[i] * jnp.cos(angle[i]), y - distance[i] * jnp.sin(angle[i])
        flat = 0.6 + 0.4 * uniform[3, i]
        core = jnp.maximum(recipe.numbers["core"] * mass[i] ** (1.0 / 3.0), 4.0)
        one = beta_model(dx * dx * flat + dy * dy / flat, core, recipe.numbers["beta"])
        total = total + jnp.where(kept[i], mass[i] ** 1.2, 0.0) * one
    return total
