"""Families of extended sources as recipes: ranges of numbers and chances of features.

Every source is composed of the same pieces (envelope x texture x fronts x cavities, and compact
parts); a family says which pieces are likely and how large they are. To add a family, add a row.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Numbers that a recipe draws: (log-uniform?, low, high), used where a family says nothing else.
# Lengths and scales in arcsec, angles in degrees.
RANGES: dict[str, tuple[bool, float, float]] = {
    # Envelope. beta model: Cavaliere & Fusco-Femiano 1976; slopes of Mohr et al. 1999 (ApJ 517,
    # 627). The shell is a sphere of constant emissivity between two radii.
    "core": (True, 25.0, 250.0),
    "beta": (False, 0.45, 0.85),
    "core_ratio": (False, 0.1, 0.4),
    "excess": (True, 3.0, 30.0),
    "shell_radius": (True, 30.0, 500.0),
    "shell_width": (False, 0.05, 0.25),
    "disc_scale": (True, 20.0, 90.0),
    "merger_ratio": (True, 0.2, 1.0),
    # Texture. 3.67 is Kolmogorov. Relaxed clusters have 10 to 30 % (Zhuravleva et al. 2014, Nature
    # 515, 85); more here, so that the median source is as rough as the published simulations.
    "texture_slope": (False, 1.8, 4.0),
    "texture_outer": (True, 60.0, 600.0),
    "texture_strength": (False, 0.15, 0.45),
    "ridge_width": (False, 0.05, 0.2),
    "warp": (False, 20.0, 80.0),
    # Change with azimuth.
    "dipole": (False, 0.2, 0.6),
    "lumps": (False, 0.1, 0.4),
    "corrugation": (False, 0.03, 0.08),
    "arms": (False, 2.0, 5.0),
    "arm_pitch": (False, 10.0, 30.0),
    "arm_contrast": (False, 0.3, 0.9),
    # Fronts. Brightness jumps of 1.2 to 4: Markevitch & Vikhlinin 2007 (Phys. Rep. 443, 1).
    "front_jump": (True, 1.2, 4.0),
    "front_pitch": (False, 10.0, 25.0),
    "front_radius": (True, 20.0, 240.0),
    "front_soft": (False, 1.0, 3.0),
    "mach": (False, 1.2, 3.0),
    "shock_angle": (False, 30.0, 70.0),
    "shock_radius": (True, 40.0, 300.0),
    # Cavities: Birzan et al. 2004 (ApJ 607, 800).
    "cavity_pairs": (False, 1.0, 4.0),
    "cavity_distance": (True, 20.0, 100.0),
    "cavity_size": (False, 0.3, 0.8),
    "cavity_depth": (False, 0.1, 0.5),
    "cavity_rim": (False, 0.1, 0.3),
    # Compact parts, as shares of the light within 2 arcmin of the centre.
    "satellites": (False, 1.0, 9.0),
    "knots": (True, 5.0, 60.0),
    "knot_share": (True, 0.01, 0.2),
    "jet_length": (True, 20.0, 240.0),
    "jet_share": (True, 0.02, 0.3),
}

# Chance of each feature, used where a family says nothing else.
CHANCES: dict[str, float] = {
    "halo": 1.0,
    "cool_core": 0.0,
    "shell": 0.0,
    "disc": 0.0,
    "merger": 0.0,
    "ridges": 0.0,
    "leaves": 0.0,
    "lopsided": 0.2,
    "lumpy": 0.0,
    "corrugated": 0.0,
    "spiral": 0.0,
    "sloshing": 0.1,
    "shock": 0.03,
    "cavities": 0.05,
    "satellites": 0.5,
    "knots": 0.03,
    "jet": 0.02,
}


class Family(NamedTuple):
    """One family: which chances and which ranges differ from the common ones."""

    weight: float
    """Share of the sources."""
    chances: Mapping[str, float] = MappingProxyType({})
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})


FAMILIES = {
    "group": Family(0.20),
    # Two in five to one in two of a flux-limited sample: Hudson et al. 2010 (A&A 513, A37).
    "cool_core": Family(0.10, {"cool_core": 1.0, "sloshing": 0.3, "cavities": 0.2}),
    "merger": Family(0.12, {"merger": 1.0, "shock": 0.15}, {"texture_strength": (0.4, 0.8)}),
    "bullet": Family(0.06, {"shock": 1.0, "merger": 0.5}, {"texture_strength": (0.3, 0.7)}),
    "cold_front": Family(0.08, {"sloshing": 1.0, "cool_core": 0.5}),
    "cavities": Family(0.06, {"cavities": 1.0, "cool_core": 0.6, "jet": 0.2}),
    "filaments": Family(
        0.10,
        {"ridges": 1.0, "lopsided": 0.5, "knots": 0.3},
        # Ridges of a flatter spectrum are hash, not filaments.
        {"texture_strength": (0.4, 0.8), "texture_slope": (2.4, 4.0), "beta": (0.3, 0.5)}
        | {"core": (40.0, 300.0)},
    ),
    # Centre-filled and composite remnants are each about 15 % (Green 2019, JApA 40, 36).
    "remnant": Family(
        0.10,
        {"shell": 0.85, "halo": 0.3, "lumpy": 1.0, "corrugated": 1.0, "ridges": 0.3, "knots": 0.3},
        {"texture_strength": (0.3, 0.8), "shell_radius": (30.0, 600.0)},
    ),
    # Knots follow the luminosity function of Grimm et al. 2003 (MNRAS 339, 793).
    "spiral": Family(
        0.06,
        {"halo": 0.3, "disc": 1.0, "spiral": 0.8, "knots": 1.0, "cool_core": 0.3},
        {"texture_strength": (0.3, 0.7)},
    ),
    "jet": Family(0.03, {"jet": 1.0, "cavities": 0.3}),
    "lopsided": Family(0.04, {"lopsided": 1.0}, {"texture_strength": (0.02, 0.15)}),
    "leaves": Family(0.05, {"leaves": 1.0}, {"texture_strength": (0.02, 0.3)}),
}


class Recipe(NamedTuple):
    """What was drawn for one source.

    Attributes
    ----------
    family : array
        Index into `FAMILIES`.
    numbers : dict of array
        One number per name of `RANGES`, in the unit said there.
    has : dict of array
        1 (true) or 0 per name of `CHANCES`.
    """

    family: jax.Array
    numbers: dict[str, jax.Array]
    has: dict[str, jax.Array]


def draw_recipe(key: jax.Array) -> Recipe:
    """Draw a family, then its numbers and features.

    Parameters
    ----------
    key : array
        Random key.

    Returns
    -------
    Recipe
        The recipe.
    """
    family_key, number_key, chance_key = jax.random.split(key, 3)
    families = FAMILIES.values()
    weights = np.array([family.weight for family in families])
    steps = np.float32(np.cumsum(weights[:-1]) / weights.sum())
    family = jnp.sum(jax.random.uniform(family_key) > steps)

    log = np.array([row[0] for row in RANGES.values()])
    limits = np.array(
        [[one.ranges.get(name, row[1:]) for name, row in RANGES.items()] for one in families],
        np.float32,
    )
    low, high = jnp.asarray(limits)[family].T
    uniform = jax.random.uniform(number_key, low.shape)
    value = jnp.where(log, low * (high / low) ** uniform, low + (high - low) * uniform)

    chances = np.array(
        [[one.chances.get(name, chance) for name, chance in CHANCES.items()] for one in families],
        np.float32,
    )
    has = jax.random.uniform(chance_key, (len(CHANCES),)) < jnp.asarray(chances)[family]
    has = dict(zip(CHANCES, has.astype(jnp.float32), strict=True))
    has["halo"] = jnp.maximum(has["halo"], 1.0 - jnp.maximum(has["shell"], has["disc"]))
    return Recipe(family, dict(zip(RANGES, value, strict=True)), has)
