"""Feature similarity: phase congruency and gradients, weighted by phase congruency.

Zhang, Zhang, Mou & Zhang 2011, IEEE TIP 20, 2378, grey images. Phase congruency after Kovesi 1999,
Videre 1 (3), 1: at edges and lines waves of all lengths are in phase, whatever the contrast.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.metrics import local

ORIENTATIONS = 4
SCALES = 4
SHORTEST = 6.0  # wavelength of the finest filter [pixel]
GROWTH = 2.0  # ratio of successive wavelengths
BANDWIDTH = 0.55  # sigma over centre of a log-Gabor filter
ANGULAR_RATIO = 1.2  # spacing of orientations over the sigma of a filter in angle
NOISE_SIGMAS = 2.0  # threshold of the energy, above its mean for noise
NOISE_RESCALE = 1.7  # filters overlap, the estimate of their noise energy is too large by this
LOW_PASS_CUTOFF, LOW_PASS_ORDER = 0.45, 15  # Butterworth, keeps filters off the frequency corners
PHASE_CONSTANT, GRADIENT_CONSTANT = 0.85, 160.0  # T1 and T2
EPSILON = 1e-4


@jax.jit
def fsim(prediction: jax.Array, target: jax.Array, live: jax.Array | None = None) -> jax.Array:
    """Feature similarity index.

    Parameters
    ----------
    prediction, target : array
        Values in [0, 1], ``[b, y, x, 1]``.
    live : array of bool, optional
        Where to compare, same shape.

    Returns
    -------
    array
        ``[b]``; 1 is best, and 1 where neither image has a feature.
    """
    a, b, live = local.unpack(prediction, target, live)
    factor = local.coarseness(a)
    a, b = (local.GREY_LEVELS * local.pool(image, factor) for image in (a, b))
    live = jnp.where(local.pool(live, factor) > 0, 1.0, 0.0)
    phase_a, phase_b = jnp.split(phase_congruency(jnp.concatenate([a, b])), 2)
    gradient_a, gradient_b = (local.gradient(image, local.SCHARR) for image in (a, b))
    alike = local.similarity(phase_a, phase_b, PHASE_CONSTANT)
    alike *= local.similarity(gradient_a, gradient_b, GRADIENT_CONSTANT)
    # 1 - mean(1 - s) is 1 without any weight.
    return 1 - local.mean(1 - alike, jnp.maximum(phase_a, phase_b) * live)


def phase_congruency(image: jax.Array) -> jax.Array:
    """How much waves of different lengths agree in phase (Kovesi 1999).

    Parameters
    ----------
    image : array
        ``[b, y, x]``.

    Returns
    -------
    array
        Values in [0, 1], same shape; summed over orientations.
    """
    filters, noise_factors = log_gabor(image.shape[1], image.shape[2])
    spectrum = jnp.fft.fft2(image)[:, None]
    energy = amplitude = jnp.zeros_like(image)
    for bank, factor in zip(filters, noise_factors, strict=True):
        response = jnp.fft.ifft2(spectrum * bank[None])
        size = jnp.abs(response)
        total = jnp.sum(response, axis=1)
        length = jnp.abs(total)
        direction = (total / (length + EPSILON))[:, None]
        aside = jnp.abs(jnp.imag(jnp.conj(direction) * response)).sum(axis=1)
        # Rayleigh law: the median of the finest scale, taken as noise, gives its power.
        threshold = float(factor) * jnp.sqrt(jnp.median(size[:, 0] ** 2, axis=(1, 2)))
        energy += jnp.maximum(length - aside - threshold[:, None, None], 0.0)
        amplitude += jnp.sum(size, axis=1)
    return energy / (amplitude + EPSILON)


@functools.lru_cache(maxsize=8)
def log_gabor(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Filters in frequency space and the response of their sum to noise.

    Parameters
    ----------
    height, width : int
        Size of the image [pixel].

    Returns
    -------
    filters : ndarray
        float32 ``[orientation, scale, y, x]``, frequency 0 first.
    noise_factors : ndarray
        Threshold of the energy per square root of the median power of the finest scale,
        ``[orientation]``.
    """
    y, x = np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(-y, x)
    radius[0, 0] = 1.0
    low_pass = 1 / (1 + (radius / LOW_PASS_CUTOFF) ** (2 * LOW_PASS_ORDER))
    centres = 1 / (SHORTEST * GROWTH ** np.arange(SCALES))
    logs = np.log(radius / centres[:, None, None]) / math.log(BANDWIDTH)
    radial = np.exp(-0.5 * logs**2) * low_pass
    radial[:, 0, 0] = 0.0
    spacing = math.pi / ORIENTATIONS
    turned = angle - spacing * np.arange(ORIENTATIONS)[:, None, None]
    turned = np.angle(np.exp(1j * turned)) * ANGULAR_RATIO / spacing
    filters = np.exp(-0.5 * turned**2)[:, None] * radial
    # Real parts of the filters in space; sums of their products by Parseval's theorem.
    even = filters.sum(axis=1)
    even = (even + np.roll(even[:, ::-1, ::-1], 1, axis=(1, 2))) / 2
    ratio = np.sum(even**2, axis=(1, 2)) / np.sum(filters[:, 0] ** 2, axis=(1, 2))
    above = math.sqrt(math.pi / 2) + NOISE_SIGMAS * math.sqrt(2 - math.pi / 2)
    return filters.astype(np.float32), above / NOISE_RESCALE * np.sqrt(ratio / math.log(2))


def _frequencies(side: int) -> np.ndarray:
    """Frequencies of a Fourier transform [cycle/pixel]; an odd side reaches 0.5 too, as in FSIM."""
    return np.fft.fftfreq(side) * (side / (side - 1) if side % 2 else 1.0)
