"""Who is judged beside a network on short exposures: the input itself, and classical denoisers.

Classical methods work on electrons that were stabilised first: the generalised Anscombe transform
for photons on Gaussian noise (Starck, Murtagh & Bijaoui 1998; closed-form unbiased inverse of
Mäkitalo & Foi 2013, IEEE Trans. Image Process. 22, 91).

A contender takes the short exposure, ``rate`` [electron/s/pixel] [y, x], where it is ``valid``, and
``about`` it what `xmm_jax.astro_unet.judge` knows; it gives the rate of the long one.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from xmm_jax.astro_unet.model import AstroModel
from xmm_jax.models.anscombe import SHIFT, expected_counts, stabilise
from xmm_jax.models.denoisers import load

Contender = Callable[..., np.ndarray]
"""``(rate, valid, exposure_s=..., ratio=..., band=...)``, short exposure -> rate, [y, x]."""

GAUSSIAN_SIGMA = 0.7
"""Of the smoothing [pixel], about the PSF of WFC3 on its pixels; the paper has none of these."""
MAD = 1.4826  # median absolute deviation of a normal law to its sigma


def as_it_is(rate: np.ndarray, valid: np.ndarray, **about: float) -> np.ndarray:
    """The short exposure."""
    return rate


def gaussian(rate: np.ndarray, valid: np.ndarray, **about: float) -> np.ndarray:
    """Smoothed with a Gaussian as wide as the PSF."""
    return ndimage.gaussian_filter(rate, GAUSSIAN_SIGMA)


def bm3d(rate: np.ndarray, valid: np.ndarray, *, exposure_s: float, **about: float) -> np.ndarray:
    """Block-matching (Dabov et al. 2007) of stabilised electrons.

    Parameters
    ----------
    rate : ndarray
        [electron/s/pixel], [y, x].
    valid : ndarray of bool
        Live pixels.
    exposure_s : float
        Of the short exposure [s].
    **about
        Not looked at.

    Returns
    -------
    ndarray
        [electron/s/pixel].

    Raises
    ------
    InputError
        Without the package bm3d.
    """
    electrons = rate * exposure_s
    ground = sky_noise(electrons[valid]) ** 2
    # 2 sqrt(N + 3/8 + sigma^2), and back by the inverse of the transform without sigma.
    stable = stabilise(np.maximum(electrons + ground, -SHIFT))
    clean = load("bm3d").bm3d(stable, sigma_psd=1.0)
    return (expected_counts(clean) - ground) / exposure_s


def sky_noise(electrons: np.ndarray) -> float:
    """Noise of pixels without source [electron]: from the spread about the median, at least 1."""
    return max(MAD * float(np.median(np.abs(electrons - np.median(electrons)))), 1.0)


METHODS: dict[str, Contender] = {"input": as_it_is, "gaussian": gaussian, "bm3d": bm3d}


def network(model: AstroModel, *, published: bool) -> Contender:
    """A network as a contender; ``published``: by the mean of overlapping windows."""
    return functools.partial(model.denoise, published=published)
