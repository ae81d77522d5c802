"""The image of a point seen by HST with WFC3/UVIS, on drizzled pixels of 0.04 arcsec.

The optics are diffraction by the aperture, a Gaussian for the detector and a halo of scattered
light: no aberrations, no dependence on the place in the field or on focus. The grid of the optics
has half the pixel: it holds the spatial frequencies that a telescope of 2.4 m passes at these
wavelengths, so points land anywhere without interpolation.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

FILTERS = ("F555W", "F606W")
PIVOT_NM = (530.8, 588.7)  # pivot wavelengths, Vojtekova et al. 2021, section 2
WIDTH_NM = (156.0, 218.0)  # the filter as a box: a guess, true curves have slopes
PIXEL_ARCSEC = 0.04
DIAMETER_M = 2.4
# Obscurations in radii of the aperture, from the pupil tables of Tiny Tim (J. Krist): secondary
# mirror, width of the vanes, pads that hold the primary mirror (x, y, radius).
SECONDARY, VANE = 0.33, 0.022
PADS = ((0.8921, 0.0, 0.065), (-0.4615, 0.7555, 0.065), (-0.4564, -0.7606, 0.065))
# Charge diffusion, standard deviation. Chosen so that the image before pixels is about 0.067 arcsec
# wide, the seeing that Vojtekova et al. gave SExtractor.
DIFFUSION_ARCSEC = 0.021
# Light scattered by the mirrors, falling as exp(-r / 0.2 arcsec). Both numbers are guesses, made to
# bring the light within 0.2 arcsec from the 0.90 of diffraction down to about 0.85.
SCATTER_SHARE, SCATTER_ARCSEC = 0.08, 0.2
FINE = 2  # samples a pixel on the grid of the optics
HALF_WIDTH = 64  # [pixel]
_ARCSEC = np.pi / 180.0 / 3600.0  # [rad]
_WAVELENGTHS = 5


def aperture(samples: int = 512, *, vanes: bool = True) -> np.ndarray:
    """Transmission of the aperture.

    Parameters
    ----------
    samples : int
        Pixels across the aperture.
    vanes : bool
        With the four vanes and three pads; without, only the secondary mirror.

    Returns
    -------
    ndarray
        [y, x] between 0 and 1: the share of 4 x 4 points in a pixel that are open. That the
        vanes, and so the spikes, lie on the diagonals is our choice: in drizzled images their
        direction follows the roll of the telescope.
    """
    points = 4 * samples
    axis = (np.arange(points, dtype=np.float32) + 0.5) / (points / 2) - 1.0
    x, y = axis[None, :], axis[:, None]
    square = x**2 + y**2
    is_open = (square <= 1.0) & (square >= SECONDARY**2)
    if vanes:
        half = VANE / 2.0 * np.sqrt(2.0)
        is_open &= (np.abs(x - y) > half) & (np.abs(x + y) > half)
        for pad_x, pad_y, radius in PADS:  # turned with the vanes
            centre_x, centre_y = (pad_x - pad_y) / np.sqrt(2.0), (pad_x + pad_y) / np.sqrt(2.0)
            is_open &= (x - centre_x) ** 2 + (y - centre_y) ** 2 > radius**2
    return is_open.reshape(samples, 4, samples, 4).mean(axis=(1, 3))


def diffraction(
    wavelength_nm: float, step_arcsec: float, side: int, *, vanes: bool = True
) -> np.ndarray:
    """Fraunhofer diffraction by the aperture.

    Parameters
    ----------
    wavelength_nm : float
        Wavelength [nm].
    step_arcsec : float
        Distance of the samples [arcsec].
    side : int
        Odd number of samples a side; the point is in the middle.
    vanes : bool
        See `aperture`.

    Returns
    -------
    ndarray
        [y, x], share of all light per sample area: the squared Fourier integral of the aperture as
        a product of matrices (Soummer et al. 2007, Opt. Express 15, 15935). The sum over an endless
        grid is 1 (Parseval).
    """
    open_share = aperture(vanes=vanes)
    samples = open_share.shape[0]
    place = (np.arange(samples) + 0.5) / samples - 0.5  # [diameter]
    step = step_arcsec * _ARCSEC * DIAMETER_M / (wavelength_nm * 1e-9)  # [wavelength/diameter]
    angle = (np.arange(side) - side // 2) * step
    wave = np.exp(-2j * np.pi * angle[:, None] * place[None, :]) / samples
    amplitude = wave @ open_share @ wave.T
    energy = np.sum(open_share**2) / samples**2
    return np.abs(amplitude) ** 2 * (step**2 / energy)


@lru_cache(maxsize=2)
def _fine_psf(band: int) -> np.ndarray:
    """Share of the light in a pixel centred at each sample of the fine grid [y, x], float64."""
    side = 4 * FINE * HALF_WIDTH + 1
    step = PIXEL_ARCSEC / FINE
    offsets = ((np.arange(_WAVELENGTHS) + 0.5) / _WAVELENGTHS - 0.5) * WIDTH_NM[band]
    light = np.mean([diffraction(PIVOT_NM[band] + o, step, side) for o in offsets], axis=0)
    wave = np.fft.fftfreq(side, 1.0 / FINE)  # [cycle/pixel]
    # The pixel of the detector and the pixel of the drizzled image are boxes of nearly equal width.
    boxes = np.sinc(wave) ** 2
    square = (2.0 * np.pi / PIXEL_ARCSEC) ** 2 * (wave[:, None] ** 2 + wave[None, :] ** 2)
    core = np.exp(-0.5 * DIFFUSION_ARCSEC**2 * square)
    halo = (1.0 + SCATTER_ARCSEC**2 * square) ** -1.5  # transform of the exponential in the plane
    blur = ((1.0 - SCATTER_SHARE) + SCATTER_SHARE * halo) * core * boxes[:, None] * boxes[None, :]
    light = np.fft.ifft2(np.fft.fft2(light) * blur).real * FINE**2
    middle, half = side // 2, FINE * HALF_WIDTH
    light = light[middle - half : middle + half + 1, middle - half : middle + half + 1]
    index = np.arange(-half, half + 1) / half
    radius = np.hypot(index[:, None], index[None, :])
    fade = np.clip((radius - 0.9) / 0.1, 0.0, 1.0)
    light = np.maximum(light, 0.0) * (0.5 + 0.5 * np.cos(np.pi * fade))
    light.setflags(write=False)
    return light


@lru_cache(maxsize=8)
def stamp(band: int, *, half_width: int = HALF_WIDTH, oversample: int = 1) -> np.ndarray:
    """Image of a point of flux 1 at the centre of a pixel.

    Parameters
    ----------
    band : int
        Index in `FILTERS`.
    half_width : int
        Half the width of the stamp [pixel], 64 at most.
    oversample : int
        1 or 2 samples a pixel.

    Returns
    -------
    ndarray
        [y, x], 2 half_width oversample + 1 samples a side, float32, read-only. Each sample is the
        share of the light in a whole pixel of 0.04 arcsec centred there, so that the sum over
        pixels is 1; it is scaled to that, so light beyond the stamp counts as inside. The light
        fades out over the last tenth of 64 pixels.
    """
    step = FINE // oversample
    middle = FINE * HALF_WIDTH
    half = FINE * half_width
    light = _fine_psf(band)[middle - half : middle + half + 1, middle - half : middle + half + 1]
    light = light[::step, ::step]
    light = (light / (light.sum() / oversample**2)).astype(np.float32)
    light.setflags(write=False)
    return light


@lru_cache(maxsize=4)
def transfer(size: int) -> np.ndarray:
    """Fourier transform of the stamps on the fine grid.

    Parameters
    ----------
    size : int
        Side of the canvas [pixel], at least as wide as a stamp.

    Returns
    -------
    ndarray
        [band, y, x] for ``rfft2`` of 2 size x 2 size samples, float32, read-only. It is real
        because the image of a real aperture equals itself turned by half a turn.
    """
    both = []
    for band in range(len(FILTERS)):
        light = stamp(band, oversample=FINE)
        canvas = np.zeros((FINE * size, FINE * size))
        canvas[: light.shape[0], : light.shape[1]] = light
        canvas = np.roll(canvas, (-(light.shape[0] // 2), -(light.shape[1] // 2)), axis=(0, 1))
        both.append(np.fft.rfft2(canvas).real)
    table = np.stack(both).astype(np.float32)
    table.setflags(write=False)
    return table


def image_of(
    x: jax.Array, y: jax.Array, flux: jax.Array, light: jax.Array, band: jax.Array | int
) -> jax.Array:
    """Image of points and of extended light.

    Points are spread over 4 x 4 samples of the fine grid by a cubic B-spline, whose own blur is
    divided out in the Fourier plane (as in particle-mesh codes: Hockney & Eastwood 1981). What is
    left of it depends on the place in the pixel and is 0.2 % of the peak or less.

    Parameters
    ----------
    x, y : array
        Positions [pixel] as [star], centres of pixels at integers; points off the canvas are lost.
    flux : array
        Their fluxes [star], any unit of rate.
    light : array
        Extended light [2 size, 2 size] before the optics, per sample: sample (j, i) lies at pixel
        (j / 2, i / 2).
    band : array or int
        Index in `FILTERS`.

    Returns
    -------
    array
        [size, size] in the unit of `flux` per pixel, float32. The canvas is periodic: leave a
        margin of 64 pixels.
    """
    fine = light.shape[0]
    wave = np.sinc(np.fft.fftfreq(fine)).astype(np.float32) ** 4
    spline = wave[:, None] * wave[None, : fine // 2 + 1]
    points = _spread(FINE * x, FINE * y, flux, fine)
    waves = jnp.fft.rfft2(points) / spline + jnp.fft.rfft2(light)
    waves = waves * jnp.asarray(transfer(fine // FINE))[band]
    return jnp.fft.irfft2(waves, (fine, fine))[::FINE, ::FINE]


def _spread(x: jax.Array, y: jax.Array, flux: jax.Array, size: int) -> jax.Array:
    """Points on a grid by the cubic B-spline [y, x]."""
    column, row = jnp.floor(x), jnp.floor(y)
    weight = _spline(y - row)[:, :, None] * _spline(x - column)[:, None, :]
    offset = np.arange(-1, 3)
    rows = row.astype(jnp.int32)[:, None, None] + offset[None, :, None]
    columns = column.astype(jnp.int32)[:, None, None] + offset[None, None, :]
    # A negative index would count from the far side; an index past the end is dropped.
    rows, columns = (jnp.where(index < 0, size, index) for index in (rows, columns))
    empty = jnp.zeros((size, size), jnp.float32)
    return empty.at[rows, columns].add(weight * flux[:, None, None], mode="drop")


def _spline(part: jax.Array) -> jax.Array:
    """Weights of the four samples about a place, `part` in [0, 1) past the second: [star, 4]."""
    rest = 1.0 - part
    return (
        jnp.stack(
            [
                rest**3,
                3.0 * part**3 - 6.0 * part**2 + 4.0,
                3.0 * rest**3 - 6.0 * rest**2 + 4.0,
                part**3,
            ],
            axis=-1,
        )
        / 6.0
    )
