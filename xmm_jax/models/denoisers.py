"""Denoisers for Gaussian noise of other people's libraries, applied to stabilised counts.

All take and return what every method of `xmm_jax.models.baselines` does. scikit-image comes with
the extra ``evaluate``. bm3d comes with an extra of its own: its licence allows non-commercial use
only.
"""

import functools
import importlib
from types import ModuleType

import numpy as np
from scipy import ndimage

from xmm_jax.errors import InputError
from xmm_jax.models.anscombe import denoise

EXTRAS = {"skimage.restoration": "evaluate", "bm3d": "bm3d"}


def wiener(
    counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray, *, upscale: int, size: int
) -> np.ndarray:
    """Local Wiener filter (Lee 1980, IEEE Trans. PAMI 2, 165).

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side.
    size : int
        Side of the square in which mean and variance are taken [pixel].

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """

    def denoiser(image: np.ndarray) -> np.ndarray:
        mean = ndimage.uniform_filter(image, size)
        variance = ndimage.uniform_filter((image - mean) ** 2, size)
        return mean + (1.0 - 1.0 / np.maximum(variance, 1.0)) * (image - mean)

    return denoise(counts, exposure, valid, upscale=upscale, denoiser=denoiser)


def total_variation(
    counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray, *, upscale: int, weight: float
) -> np.ndarray:
    """Total variation (Chambolle 2004, J. Math. Imaging Vis. 20, 89), from scikit-image.

    Parameters
    ----------
    counts, exposure, valid, upscale
        As for `wiener`.
    weight : float
        How much variation costs, in units of the noise.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].

    Raises
    ------
    InputError
        Without scikit-image.
    """
    denoiser = functools.partial(
        load("skimage.restoration").denoise_tv_chambolle, weight=weight, eps=1e-4
    )
    return denoise(counts, exposure, valid, upscale=upscale, denoiser=denoiser)


def non_local_means(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    strength: float,
    patch: int = 5,
    distance: int = 8,
) -> np.ndarray:
    """Non-local means (Buades, Coll & Morel 2005, CVPR 2, 60), from scikit-image.

    Parameters
    ----------
    counts, exposure, valid, upscale
        As for `wiener`.
    strength : float
        Difference of patches that counts as none, in units of the noise.
    patch, distance : int
        Side of a patch and how far away like ones are sought [pixel].

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].

    Raises
    ------
    InputError
        Without scikit-image.
    """
    denoiser = functools.partial(
        load("skimage.restoration").denoise_nl_means,
        patch_size=patch,
        patch_distance=distance,
        h=strength,
        sigma=1.0,
    )
    return denoise(counts, exposure, valid, upscale=upscale, denoiser=denoiser)


def bm3d(
    counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray, *, upscale: int, sigma: float
) -> np.ndarray:
    """BM3D (Mäkinen, Azzari & Foi 2020, IEEE Trans. Image Process. 29, 8339), by its authors.

    Parameters
    ----------
    counts, exposure, valid, upscale
        As for `wiener`.
    sigma : float
        Noise to remove; that of stabilised counts is 1.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].

    Raises
    ------
    InputError
        Without the package bm3d.
    """
    denoiser = functools.partial(load("bm3d").bm3d, sigma_psd=sigma)
    return denoise(counts, exposure, valid, upscale=upscale, denoiser=denoiser)


def load(module: str) -> ModuleType:
    """Import a library that an extra brings.

    Parameters
    ----------
    module : str
        Key of `EXTRAS`.

    Returns
    -------
    module
        The library.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        extra = EXTRAS[module]
        raise InputError(
            f"this method needs {module.partition('.')[0]}: pip install 'xmm-jax[{extra}]'"
        ) from None
