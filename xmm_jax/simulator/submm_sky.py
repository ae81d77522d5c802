"""Galaxies of the sub-mm sky: number counts at 450 um, redshifts, spectra, places on the sky.

What was measured is cited where it is used; everything else is called a guess. The guesses are made
so that the confusion noise and the background in all bands come out as measured.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.simulator.extended import clouds

# Counts dN/dS = A (S / mJy)^-g with breaks. From 1 to 25 mJy the slope is 2.59, and sources above
# 1 mJy make 90.0 +- 17.2 Jy/deg^2 (Wang et al. 2017, ApJ 850, 37, abstract); a power law from 1 to
# 25 mJy of 90 Jy/deg^2 has the A below. Guesses: the slope under 1 mJy, for a background between
# those of COBE and Planck; the one above 25 mJy, near the -3.7 to -4.5 that BLAST saw at 250 to
# 500 um (Patanchon et al. 2009, ApJ 707, 1750, abstract); and both ends.
BREAKS_MJY = (0.1, 1.0, 25.0, 200.0)
SLOPES = (1.2, 2.59, 4.5)
AT_1_MJY = 6.25e4  # [1/deg^2/mJy]
# 1 + z is lognormal. The median z is a guess above 1.3, the mean redshift of those 450 um sources
# that have an optical counterpart (Geach et al. 2013, MNRAS 432, 53, abstract).
MEDIAN_Z, SPREAD_Z, MOST_Z = 1.6, 0.27, 6.0
# Temperatures of the dust [K]: lognormal about a line in z; guesses of the usual size.
TEMPERATURE_K, TEMPERATURE_PER_Z, SPREAD_T = 31.0, 4.0, 0.12
BETA = 1.8  # emissivity index of the dust, the usual assumption
HC_OVER_K = 14387.77  # h c / k [um K] (CODATA 2018)
REFERENCE_UM = 450.0
# Clustering, guesses: spectrum and outer scale of the density, on cells of about this size.
CLUSTER_SLOPE, CLUSTER_OUTER_ARCSEC, CELL_ARCSEC = 2.5, 240.0, 10.0


def counts_above(flux: np.ndarray | float) -> np.ndarray:
    """Number of galaxies brighter than a flux density.

    Parameters
    ----------
    flux : ndarray or float
        Flux density at 450 um [mJy].

    Returns
    -------
    ndarray
        N(> flux) [1/deg^2], the integral of the broken power law from `flux`, or from 0.1 mJy if
        that is more, to 200 mJy.
    """
    return _moment_above(flux, 0)


def surface_brightness(flux: np.ndarray | float = 0.0) -> np.ndarray:
    """Light of galaxies brighter than a flux density.

    Parameters
    ----------
    flux : ndarray or float
        Flux density at 450 um [mJy].

    Returns
    -------
    ndarray
        Integral of S dN/dS [Jy/deg^2] at 450 um.
    """
    return _moment_above(flux, 1) / 1000.0


def _amplitudes() -> list[float]:
    """A of every piece of the counts, which are continuous [1/deg^2/mJy at 1 mJy]."""
    first, second, third = SLOPES
    knee, ankle = BREAKS_MJY[1:3]
    return [AT_1_MJY * knee ** (first - second), AT_1_MJY, AT_1_MJY * ankle ** (third - second)]


def _moment_above(flux: np.ndarray | float, order: int) -> np.ndarray:
    """Integral of S^order dN/dS above a flux."""
    total = np.zeros(np.shape(flux))
    for low, high, slope, amplitude in zip(
        BREAKS_MJY[:-1], BREAKS_MJY[1:], SLOPES, _amplitudes(), strict=True
    ):
        power = order + 1.0 - slope
        start = np.clip(flux, low, high)
        total = total + amplitude * (high**power - start**power) / power
    return total


def draw_fluxes(key: jax.Array, number: int) -> jax.Array:
    """Draw flux densities from the counts.

    Parameters
    ----------
    key : array
        Random key.
    number : int
        How many.

    Returns
    -------
    array
        Flux densities at 450 um [mJy], [source], between the ends of `BREAKS_MJY`: the inverse of
        `counts_above` at even ranks, in closed form piece by piece.
    """
    above = counts_above(np.array(BREAKS_MJY)).astype(np.float32)
    rank = jax.random.uniform(key, (number,), maxval=above[0])
    flux = jnp.full((number,), BREAKS_MJY[0], jnp.float32)
    for piece, (slope, amplitude) in enumerate(zip(SLOPES, _amplitudes(), strict=True)):
        power = 1.0 - slope
        end = np.float32(BREAKS_MJY[piece + 1] ** power)
        here = jnp.clip(rank, above[piece + 1], above[piece]) - above[piece + 1]
        inverse = (end - power / amplitude * here) ** (1.0 / power)
        flux = jnp.where(rank <= above[piece], inverse, flux)
    return jnp.clip(flux, BREAKS_MJY[0], BREAKS_MJY[-1])


def draw_redshifts(key: jax.Array, number: int) -> jax.Array:
    """Draw redshifts, independent of flux.

    Parameters
    ----------
    key : array
        Random key.
    number : int
        How many.

    Returns
    -------
    array
        Redshifts [source], 0.01 to 6: 1 + z is lognormal about 2.6, a guess.
    """
    logarithm = SPREAD_Z * jax.random.normal(key, (number,))
    return jnp.clip((1.0 + MEDIAN_Z) * jnp.exp(logarithm) - 1.0, 0.01, MOST_Z)


def draw_temperatures(key: jax.Array, redshift: jax.Array) -> jax.Array:
    """Draw temperatures of the dust.

    Parameters
    ----------
    key : array
        Random key.
    redshift : array
        Redshifts [source].

    Returns
    -------
    array
        Temperatures in the frame of the galaxy [K], [source]: warmer at higher redshift, as is
        known; the numbers are guesses.
    """
    middle = TEMPERATURE_K + TEMPERATURE_PER_Z * (redshift - MEDIAN_Z)
    return middle * jnp.exp(SPREAD_T * jax.random.normal(key, redshift.shape))


def flux_ratio(wavelength_um: float, redshift: jax.Array, temperature_k: jax.Array) -> jax.Array:
    """Flux density at a wavelength over that at 450 um.

    Parameters
    ----------
    wavelength_um : float
        Observed wavelength [um].
    redshift : array
        Redshifts z [source].
    temperature_k : array
        Temperatures T of the dust [K], [source].

    Returns
    -------
    array
        Ratio [source] of optically thin modified black bodies nu^beta B_nu(T), emitted at
        nu (1 + z) (Hildebrand 1983, QJRAS 24, 267), with beta = 1.8. The band is one wavelength.
    """
    cold = HC_OVER_K * (1.0 + redshift) / temperature_k
    steep = (REFERENCE_UM / wavelength_um) ** (3.0 + BETA)
    return steep * jnp.expm1(cold / REFERENCE_UM) / jnp.expm1(cold / wavelength_um)


def draw_places(
    key: jax.Array, number: int, size: int, pixel_arcsec: float, clustering: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """Draw places on a square.

    Parameters
    ----------
    key : array
        Random key.
    number : int
        How many.
    size : int
        Side of the square [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec].
    clustering : array or float
        Standard deviation of the logarithm of the density, before it is smoothed over a cell of
        about 10 arcsec; 0 places evenly.

    Returns
    -------
    x, y : array
        Positions [pixel], [source], from -0.5 to size - 0.5. The density is the exponential of a
        Gaussian random field, the same for all redshifts.
    """
    cloud_key, place_key = jax.random.split(key)
    cells = max(round(size * pixel_arcsec / CELL_ARCSEC), 2)
    side = size / cells
    outer = jnp.float32(CLUSTER_OUTER_ARCSEC / (side * pixel_arcsec))
    density = clouds(cloud_key, cells, jnp.float32(CLUSTER_SLOPE), outer, jnp.float32(clustering))
    below = jnp.cumsum(density.reshape(-1))
    part_x, part_y, rank = jax.random.uniform(place_key, (3, number))
    cell = jnp.searchsorted(below, rank * below[-1], side="right")
    row, column = jnp.divmod(jnp.minimum(cell, cells * cells - 1), cells)
    return (column + part_x) * side - 0.5, (row + part_y) * side - 0.5
