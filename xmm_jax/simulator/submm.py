"""Fields of the sub-mm sky as SPIRE (250, 350, 500 um) and SCUBA-2 (450 um) see them.

Beams are round Gaussians, and so is the small blur with which galaxies are laid on the grid; each
is a product of a function of x and one of y. A map is therefore two products of matrices, which
hold the rest of the beam, the average over a pixel of the detector map and its resampling.
"""

from functools import partial
from math import ceil, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

from xmm_jax.errors import InputError
from xmm_jax.simulator.poisson import draw_counts
from xmm_jax.simulator.submm_sky import (
    counts_above,
    draw_fluxes,
    draw_places,
    draw_redshifts,
    draw_temperatures,
    flux_ratio,
)

BANDS_UM = (250, 350, 500)
# Beams and pixels of SPIRE maps, SCUBA-2 and the confusion noise as tabulated by Lauritsen et al.
# (slides); the confusion of SPIRE is measured by Nguyen et al. 2010 (A&A 518, L5).
FWHM_ARCSEC = (18.1, 24.9, 36.6)
NATIVE_ARCSEC = (6.0, 25.0 / 3.0, 12.0)
TARGET_FWHM_ARCSEC = 7.9
CONFUSION_MJY = (5.8, 6.3, 6.8)  # [mJy/beam]
PIXEL_ARCSEC = 2.0  # of the grid that all bands share
MOST_PIXEL_ARCSEC = 2.5  # more would sample the beam of SCUBA-2 too coarsely
NOISE_MJY = (2.0, 2.5, 3.0)  # a guess for deep fields of HerMES, per native pixel [mJy/beam]
TARGET_NOISE_MJY = 1.0  # [mJy/beam]
CLUSTERING = 0.3  # a guess, with which the confusion comes out as measured
MARGIN_ARCSEC = 64.0  # four standard deviations of the widest beam
SIGMA_OF_FWHM = 1.0 / (2.0 * sqrt(2.0 * np.log(2.0)))
BLUR, REACH = 0.8, 3  # standard deviation and half width of a galaxy on the grid [pixel]


class SubmmField(NamedTuple):
    """A field, its maps and its galaxies.

    Attributes
    ----------
    bands : array
        Maps at 250, 350, 500 um with noise [mJy/beam], [y, x, 3], each of mean 0.
    target : array
        Map at 450 um without noise [mJy/beam], [y, x, 1], not negative.
    observed_target : array
        Map at 450 um of all galaxies with noise [mJy/beam], [y, x, 1], of mean 0.
    x, y : array
        Positions of the galaxies inside the field [pixel], [source], pixel centres at integers.
    flux : array
        Their flux densities at 450 um [mJy], brightest first; 0 for padding.
    redshift : array
        Their redshifts [1]; 0 for padding.
    """

    bands: jax.Array
    target: jax.Array
    observed_target: jax.Array
    x: jax.Array
    y: jax.Array
    flux: jax.Array
    redshift: jax.Array


def most_sources(side: int, pixel_arcsec: float = PIXEL_ARCSEC) -> int:
    """Length of the padded list of galaxies.

    Parameters
    ----------
    side : int
        Side of the field [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec].

    Returns
    -------
    int
        Expected number above 0.1 mJy in the field and its margin, and six standard deviations.
    """
    mean = _expected(side + 2 * _margin(pixel_arcsec), pixel_arcsec)
    return ceil(mean + 6.0 * sqrt(mean))


@partial(jax.jit, static_argnames=("side", "pixel_arcsec"))
def draw_field(
    key: jax.Array,
    *,
    side: int = 256,
    pixel_arcsec: float = PIXEL_ARCSEC,
    clustering: jax.Array | float = CLUSTERING,
    noise_mjy: tuple = NOISE_MJY,
    target_noise_mjy: jax.Array | float = TARGET_NOISE_MJY,
    target_above_mjy: jax.Array | float = 0.0,
) -> SubmmField:
    """Draw a field of galaxies and observe it.

    Parameters
    ----------
    key : array
        Random key.
    side : int
        Side [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec], 2.5 at most.
    clustering : array or float
        Standard deviation of the logarithm of the density of galaxies; 0 for even places.
    noise_mjy : tuple of 3 arrays or floats
        Noise of the native pixels at 250, 350, 500 um [mJy/beam], independent of each other.
    target_noise_mjy : array or float
        Noise at 450 um [mJy/beam]. It is smooth over a beam, as in maps that went through a
        matched filter; that the sources do not get wider by it is a simplification.
    target_above_mjy : array or float
        Only galaxies that are brighter at 450 um are in `target` [mJy].

    Returns
    -------
    SubmmField
        A pure function of the arguments; ``jax.vmap`` over keys draws several. See `make_maps`.

    Raises
    ------
    InputError
        The pixels are too large.
    """
    places, light, phases, noise_key, target_key = jax.random.split(key, 5)
    x, y, flux, redshift, ratios = _draw_galaxies(places, light, side, pixel_arcsec, clustering)
    phase = jax.random.uniform(phases, (3, 2))
    bands = make_maps(x, y, flux[:, None] * ratios, side, pixel_arcsec, phase)
    bands += _native_noise(noise_key, noise_mjy, side, pixel_arcsec, phase)
    both = jnp.stack([jnp.where(flux > target_above_mjy, flux, 0.0), flux], axis=-1)
    target, observed = jnp.split(make_target(x, y, both, side, pixel_arcsec), 2, axis=-1)
    observed += target_noise_mjy * _smooth_noise(target_key, side, pixel_arcsec)

    inside = (jnp.minimum(x, y) >= -0.5) & (jnp.maximum(x, y) < side - 0.5)
    order = jnp.argsort(jnp.where(inside, -flux, 0.0))
    kept = (inside & (flux > 0.0))[order]
    x, y, flux, redshift = (
        jnp.where(kept, values[order], 0.0) for values in (x, y, flux, redshift)
    )
    return SubmmField(
        bands=bands - jnp.mean(bands, axis=(0, 1), keepdims=True),
        target=target,
        observed_target=observed - jnp.mean(observed),
        x=x,
        y=y,
        flux=flux,
        redshift=redshift,
    )


def make_maps(
    x: jax.Array,
    y: jax.Array,
    flux: jax.Array,
    side: int,
    pixel_arcsec: float,
    phase: jax.Array,
) -> jax.Array:
    """Maps of point sources in the bands of SPIRE, without noise.

    Parameters
    ----------
    x, y : array
        Positions [pixel], [source]; those outside shine in as far as the margin of 64 arcsec.
    flux : array
        Flux densities [mJy], [source, 3].
    side : int
        Side of the maps [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec].
    phase : array
        Where native pixels lie, [3, 2] as (x, y): the first centre is this share of a native pixel,
        less one, from the centre of the first pixel.

    Returns
    -------
    array
        [side, side, 3] in mJy/beam. The sky through a Gaussian beam is averaged over the native
        pixels, and these are interpolated bilinearly on the grid. An isolated source in the
        middle of a native pixel has its flux density as peak; elsewhere less, as in real maps: in
        the corner of four about 0.87 of it.
    """
    sky = _lay(x, y, flux, side, pixel_arcsec)
    maps = []
    for band, (fwhm, native) in enumerate(zip(FWHM_ARCSEC, NATIVE_ARCSEC, strict=True)):
        sigma, pitch = fwhm * SIGMA_OF_FWHM / pixel_arcsec, native / pixel_arcsec
        across, down = (
            _upsample(side, pitch, phase[band, axis])
            @ _average(side, _margin(pixel_arcsec), sigma, pitch, phase[band, axis])
            for axis in (0, 1)
        )
        maps.append(down @ sky[:, :, band] @ across.T)
    return jnp.stack(maps, axis=-1)


def make_target(
    x: jax.Array, y: jax.Array, flux: jax.Array, side: int, pixel_arcsec: float
) -> jax.Array:
    """Maps of point sources as SCUBA-2 sees them at 450 um, without noise.

    Parameters
    ----------
    x, y : array
        Positions [pixel], [source].
    flux : array
        Flux densities [mJy], [source, map].
    side : int
        Side of the map [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec].

    Returns
    -------
    array
        [side, side, map] in mJy/beam: Gaussians of 7.9 arcsec at the centres of the pixels, whose
        peak is the flux density.
    """
    sky, sigma = _lay(x, y, flux, side, pixel_arcsec), _target_sigma(pixel_arcsec)
    rest = sqrt(sigma**2 - BLUR**2)
    distance = np.arange(side)[:, None] - _canvas(side, pixel_arcsec)[None, :]
    beam = (sigma / rest * np.exp(-0.5 * np.square(distance / rest))).astype(np.float32)
    return jnp.einsum("yv,vum,xu->yxm", beam, sky, beam)


def _margin(pixel_arcsec: float) -> int:
    """Pixels around the field from which light comes in."""
    return ceil(MARGIN_ARCSEC / pixel_arcsec)


def _canvas(side: int, pixel_arcsec: float) -> np.ndarray:
    """Positions of the pixels of the field with its margin [pixel]."""
    margin = _margin(pixel_arcsec)
    return np.arange(-margin, side + margin)


def _expected(size: int, pixel_arcsec: float) -> float:
    """Expected number of galaxies above the faintest on a square."""
    return float(counts_above(0.0)) * (size * pixel_arcsec / 3600.0) ** 2


def _target_sigma(pixel_arcsec: float) -> float:
    """Standard deviation of the beam at 450 um [pixel]."""
    if not 0.0 < pixel_arcsec <= MOST_PIXEL_ARCSEC:
        raise InputError(
            f"pixels of {pixel_arcsec:g} arcsec are too large for a beam of "
            f"{TARGET_FWHM_ARCSEC} arcsec; take {MOST_PIXEL_ARCSEC} or less"
        )
    return TARGET_FWHM_ARCSEC * SIGMA_OF_FWHM / pixel_arcsec


def _draw_galaxies(
    key: jax.Array,
    light_key: jax.Array,
    side: int,
    pixel_arcsec: float,
    clustering: jax.Array | float,
) -> tuple[jax.Array, ...]:
    """Places, fluxes (0 for padding), redshifts and ratios of fluxes [source, 3]."""
    count_key, place_key = jax.random.split(key)
    flux_key, redshift_key, dust_key = jax.random.split(light_key, 3)
    size, most = side + 2 * _margin(pixel_arcsec), most_sources(side, pixel_arcsec)
    number = draw_counts(count_key, jnp.float32(_expected(size, pixel_arcsec)))
    x, y = draw_places(place_key, most, size, pixel_arcsec, clustering)
    x, y = x - _margin(pixel_arcsec), y - _margin(pixel_arcsec)
    flux = jnp.where(jnp.arange(most) < number, draw_fluxes(flux_key, most), 0.0)
    redshift = draw_redshifts(redshift_key, most)
    temperature = draw_temperatures(dust_key, redshift)
    ratios = [flux_ratio(float(band), redshift, temperature) for band in BANDS_UM]
    return x, y, flux, redshift, jnp.stack(ratios, axis=-1)


def _lay(x: jax.Array, y: jax.Array, flux: jax.Array, side: int, pixel_arcsec: float) -> jax.Array:
    """Points on the canvas as Gaussians of 0.8 pixels and volume `flux`: [y, x, map]."""
    _target_sigma(pixel_arcsec)
    size, margin = side + 2 * _margin(pixel_arcsec), _margin(pixel_arcsec)
    step = np.arange(-REACH, REACH + 1)
    indices, weights = [], []
    for place in (y + margin, x + margin):
        index = jnp.round(place).astype(jnp.int32)[:, None] + step[None, :]
        weight = jnp.exp(-0.5 * jnp.square((index - place[:, None]) / BLUR))
        weights.append(weight / (BLUR * sqrt(2.0 * np.pi)))
        indices.append(jnp.where(index < 0, size, index))  # negative ones would count from the end
    stamp = weights[0][:, :, None] * weights[1][:, None, :]
    dark = jnp.zeros((size, size, flux.shape[-1]), jnp.float32)
    rows, columns = indices[0][:, :, None], indices[1][:, None, :]
    return dark.at[rows, columns].add(stamp[..., None] * flux[:, None, None, :], mode="drop")


def _centres(side: int, pitch: float, phase: jax.Array) -> jax.Array:
    """Centres of the native pixels that cover the field [pixel]."""
    return (jnp.arange(ceil(side / pitch) + 2) - 1.0 + phase) * pitch


def _average(side: int, margin: int, sigma: float, pitch: float, phase: jax.Array) -> jax.Array:
    """What a native pixel sees of the canvas along one axis, [native, canvas].

    The integral of the Gaussian over the pixel, in units of that of a source in its middle.
    """
    canvas = np.arange(-margin, side + margin, dtype=np.float32)
    distance = canvas[None, :] - _centres(side, pitch, phase)[:, None]
    narrow = sqrt(2.0 * (sigma**2 - BLUR**2))
    seen = erf((distance + 0.5 * pitch) / narrow) - erf((distance - 0.5 * pitch) / narrow)
    return seen / (2.0 * erf(jnp.float32(0.5 * pitch / (sqrt(2.0) * sigma))))


def _upsample(side: int, pitch: float, phase: jax.Array) -> jax.Array:
    """Linear interpolation of native pixels along one axis, [side, native]."""
    grid = np.arange(side, dtype=np.float32)
    distance = jnp.abs(grid[:, None] - _centres(side, pitch, phase)[None, :])
    return jnp.maximum(1.0 - distance / pitch, 0.0)


def _native_noise(
    key: jax.Array, noise_mjy: tuple, side: int, pixel_arcsec: float, phase: jax.Array
) -> jax.Array:
    """Independent noise of native pixels on the grid [side, side, 3]."""
    maps = []
    for band, (one_key, native) in enumerate(
        zip(jax.random.split(key, len(NATIVE_ARCSEC)), NATIVE_ARCSEC, strict=True)
    ):
        pitch = native / pixel_arcsec
        across, down = (_upsample(side, pitch, phase[band, axis]) for axis in (0, 1))
        white = jax.random.normal(one_key, (down.shape[1], across.shape[1]))
        maps.append(noise_mjy[band] * (down @ white @ across.T))
    return jnp.stack(maps, axis=-1)


def _smooth_noise(key: jax.Array, side: int, pixel_arcsec: float) -> jax.Array:
    """White noise behind a Gaussian of the beam at 450 um, of variance 1: [side, side, 1]."""
    distance = np.arange(side)[:, None] - _canvas(side, pixel_arcsec)[None, :]
    kernel = np.exp(-0.5 * np.square(distance / _target_sigma(pixel_arcsec)))
    kernel = (kernel / np.sqrt(np.square(kernel).sum(1, keepdims=True))).astype(np.float32)
    white = jax.random.normal(key, (kernel.shape[1], kernel.shape[1]))
    return (kernel @ white @ kernel.T)[:, :, None]
