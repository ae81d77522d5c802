"""Point sources of a field: active galaxies drawn from a logN-logS.

Both populations return positions [native pixel] and on-axis rates [count/s] in a fixed number of
slots, brightest first; unused slots have rate 0.
"""

import functools
import json
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.camera import Camera
from xmm_jax.simulator.poisson import draw_counts

ARCMIN2_PER_DEGREE2 = 3600.0
BLENDED = 64  # of the brightest sources may get a companion
Points = tuple[jax.Array, jax.Array, jax.Array]  # x, y [native pixel], on-axis rate [count/s]


@functools.cache
def published_table() -> tuple[np.ndarray, np.ndarray]:
    """Fluxes and number density used by the published simulations.

    Returns
    -------
    flux_cgs, density : ndarray
        Flux in 0.5-2 keV [erg/s/cm2] and sources brighter than it [1/deg2]; Gilli et al. 2007
        (A&A 463, 79), as tabulated by Sweere et al. 2022.
    """
    text = resources.files("xmm_jax.simulator").joinpath("agn_counts.json").read_text("utf-8")
    numbers = json.loads(text)
    return np.array(numbers["flux_cgs"]), np.array(numbers["density"])


def observed_density(flux_cgs: np.ndarray) -> np.ndarray:
    """Number density of X-ray sources of the real sky.

    Parameters
    ----------
    flux_cgs : ndarray
        Flux in 0.5-2 keV [erg/s/cm2].

    Returns
    -------
    ndarray
        Sources brighter than it [1/deg2]: double power law of Moretti et al. 2003 (ApJ 588, 696).
    """
    bright, faint, knee = 1.82, 0.60, 1.48e-14
    return 6150.0 * 2e-15**bright / (flux_cgs**bright + knee ** (bright - faint) * flux_cgs**faint)


def draw_published(
    key: jax.Array, camera: Camera, *, slots: int, ecf: float, absorption_max: float
):
    """Point sources as in the published simulations.

    Parameters
    ----------
    key : array
        Random key.
    camera : Camera
        The camera.
    slots : int
        Length of the result, at least 84.
    ecf : float
        Counts per flux [count cm2 / erg].
    absorption_max : float
        Fluxes are divided by a log-uniform factor between 1 and this.

    Returns
    -------
    x, y, rate : array
        Position [native pixel] and on-axis rate [count/s], each [slots]. Square of 30 arcmin about
        the optical axis, uniform number scatter; sources that the absorption pushes below the
        faintest flux of the table are dropped (inferred from the published files).
    """
    flux, density = published_table()
    half_side_arcsec, area = 900.0, np.pi * 0.25**2  # deg2; the area of the disc, as published
    mean = area * density[0]
    number_key, position_key, flux_key, absorption_key = jax.random.split(key, 4)
    number = jnp.round(mean + jax.random.uniform(number_key, minval=-1, maxval=1) * np.sqrt(mean))
    half_side = half_side_arcsec / camera.pixel_arcsec
    offset = jax.random.uniform(position_key, (2, slots), minval=-half_side, maxval=half_side)
    rate = _draw_rates(flux_key, flux * ecf, density, slots)
    rate = rate / absorption_max ** jax.random.uniform(absorption_key)
    kept = (jnp.arange(slots) < number) & (rate >= np.float32(flux[0] * ecf))
    return _brightest_first(offset[0] + camera.axis[0], offset[1] + camera.axis[1], rate, kept)


def draw_observed(
    key: jax.Array, camera: Camera, *, slots: int, ecf: float, absorption_max: float
) -> Points:
    """Point sources of the real sky.

    Parameters
    ----------
    key : array
        Random key.
    camera : Camera
        The camera.
    slots : int
        Length of the result; 640 hold all but one field in a million.
    ecf : float
        Counts per flux [count cm2 / erg].
    absorption_max : float
        Fluxes are divided by a factor between 1 and this; half of the fields have less than its
        eighth root (most of the sky is not absorbed).

    Returns
    -------
    x, y, rate : array
        Position [native pixel] and on-axis rate [count/s], each [slots]. Disc of 19 arcmin about
        the centre of the field of view, so that the wings of outside sources enter; fluxes from
        3e-16 to 1e-12 erg/s/cm2.
    """
    flux = np.geomspace(3e-16, 1e-12, 256)
    radius_arcmin = 19.0
    density = observed_density(flux) - observed_density(flux[-1])
    mean = density[0] * np.pi * radius_arcmin**2 / ARCMIN2_PER_DEGREE2
    number_key, position_key, flux_key, absorption_key = jax.random.split(key, 4)
    number = draw_counts(number_key, jnp.float32(mean))
    position = jax.random.uniform(position_key, (2, slots))
    radius = radius_arcmin * 60.0 / camera.pixel_arcsec * jnp.sqrt(position[0])
    turn = 2.0 * np.pi * position[1]
    rate = _draw_rates(flux_key, flux * ecf, density, slots)
    rate = rate / absorption_max ** (jax.random.uniform(absorption_key) ** 3)
    x = camera.fov_centre[0] + radius * jnp.cos(turn)
    y = camera.fov_centre[1] + radius * jnp.sin(turn)
    return _brightest_first(x, y, rate, jnp.arange(slots) < number)


def add_companions(
    key: jax.Array, camera: Camera, points: Points, share: float
) -> tuple[Points, jax.Array]:
    """Give bright point sources a close companion, to learn to part them.

    Parameters
    ----------
    key : array
        Random key.
    camera : Camera
        The camera.
    points : tuple of array
        x, y [native pixel] and rate [count/s], brightest first.
    share : float
        Share of the `BLENDED` brightest that get one.

    Returns
    -------
    points, companion : tuple of array, array
        `BLENDED` slots longer, and which of them are companions, bool; the companions follow the
        brightest sources, then come the others. Separation uniform in 0 to 12 arcsec, up to a
        little more than the width of the PSF at half its height; rate 0.1 to 1 of the brighter
        one, log-uniform.
    """
    on_key, turn_key, separation_key, ratio_key = jax.random.split(key, 4)
    x, y, rate = points
    number = min(BLENDED, len(x))
    turn = jax.random.uniform(turn_key, (number,), maxval=2.0 * np.pi)
    separation = jax.random.uniform(separation_key, (number,), maxval=12.0 / camera.pixel_arcsec)
    fainter = rate[:number] * 0.1 ** jax.random.uniform(ratio_key, (number,))
    on = jax.random.bernoulli(on_key, share, (number,))
    second = (
        x[:number] + separation * jnp.cos(turn),
        y[:number] + separation * jnp.sin(turn),
        jnp.where(on, fainter, 0.0),
    )
    joined = [
        jnp.concatenate([one[:number], two, one[number:]])
        for one, two in zip(points, second, strict=True)
    ]
    index = np.arange(len(x) + number)
    companion = jnp.asarray((index >= number) & (index < 2 * number))
    return (joined[0], joined[1], joined[2]), companion


def _draw_rates(key: jax.Array, rate: np.ndarray, density: np.ndarray, slots: int) -> jax.Array:
    rank = jax.random.uniform(key, (slots,), maxval=float(density[0]))
    return jnp.interp(rank, np.float32(density[::-1]), np.float32(rate[::-1]))


def _brightest_first(x: jax.Array, y: jax.Array, rate: jax.Array, kept: jax.Array) -> Points:
    rate = jnp.where(kept, rate, 0.0)
    order = jnp.argsort(-rate)
    return x[order], y[order], rate[order]


POPULATIONS = {"reference": draw_published, "physical": draw_observed}
