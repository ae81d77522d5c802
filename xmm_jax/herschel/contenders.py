"""Who is judged beside a network at 450 um: the 250 um map itself, deblurred, or its sources.

All take bands ``[y, x, 3]`` [mJy/beam] at 250, 350 and 500 um on pixels of 2 arcsec and give a map
``[y, x]`` [mJy/beam] of the 450 um beam. None looks at 350 and 500 um, which are blurred more.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from xmm_jax.errors import InputError
from xmm_jax.metrics.submm_sources import Sources, detect
from xmm_jax.models.richardson_lucy import richardson_lucy_variant
from xmm_jax.simulator.submm import (
    CONFUSION_MJY,
    FWHM_ARCSEC,
    PIXEL_ARCSEC,
    SIGMA_OF_FWHM,
    TARGET_FWHM_ARCSEC,
)

BEAM_250, BEAM_450 = FWHM_ARCSEC[0], TARGET_FWHM_ARCSEC

ITERATIONS = 30
"""Of Richardson-Lucy; ours. More make noise into peaks, fewer leave them wide and low."""


class Tuning(NamedTuple):
    """What was learned from training fields.

    Attributes
    ----------
    colour : float
        Flux at 450 um over flux at 250 um.
    level : float
        Mean of the 450 um map [mJy/beam].
    """

    colour: float
    level: float


Contender = Callable[[np.ndarray, Tuning], np.ndarray]
"""``(bands [y, x, 3], tuning)`` -> map [y, x], all [mJy/beam]."""


def tune(
    fields: Iterable[tuple[np.ndarray, np.ndarray]], *, pixel_arcsec: float = PIXEL_ARCSEC
) -> Tuning:
    """Mean colour of training fields, by least squares at the resolution of 250 um.

    The 450 um map is blurred to 18.1 arcsec, in mJy of that beam, and compared pixel by pixel with
    the 250 um map, means of all fields taken off: the slope of 450 um on 250 um. Sources count by
    the square of their flux; noise at 250 um makes the slope a little too small.

    Parameters
    ----------
    fields : iterable of tuple
        Bands [y, x, 3] and map at 450 um [y, x] of each field [mJy/beam].
    pixel_arcsec : float
        [arcsec].

    Returns
    -------
    Tuning
        Colour and level.

    Raises
    ------
    InputError
        Without a field, or if the 250 um maps are flat.
    """
    sums = np.zeros(5)
    sharp = 0.0
    wider = np.sqrt(BEAM_250**2 - BEAM_450**2) * SIGMA_OF_FWHM / pixel_arcsec
    for bands, target in fields:
        a = np.asarray(bands[..., 0], np.float64)
        blurred = ndimage.gaussian_filter(np.asarray(target, np.float64), wider, mode="reflect")
        b = blurred * (BEAM_250 / BEAM_450) ** 2
        sums += (a.size, a.sum(), b.sum(), (a * a).sum(), (a * b).sum())
        sharp += float(np.sum(target, dtype=np.float64))
    n, a, b, aa, ab = sums
    if not n or aa / n - (a / n) ** 2 <= 1e-12 * aa / n:
        raise InputError("the colour needs training fields with something in the 250 um map")
    return Tuning(float((ab - a * b / n) / (aa - a * a / n)), sharp / float(n))


def tune_iterations(
    fields: Iterable[tuple[np.ndarray, np.ndarray]],
    tuning: Tuning,
    *,
    choices: Sequence[int] = (10, 30, 100, 300),
    pixel_arcsec: float = PIXEL_ARCSEC,
) -> int:
    """Iterations of `deconvolution` with the least squared error on training fields.

    Parameters
    ----------
    fields : iterable of tuple
        As for `tune`; a few are enough.
    tuning : Tuning
        From `tune`.
    choices : sequence of int
        What to try.
    pixel_arcsec : float
        [arcsec].

    Returns
    -------
    int
        One of `choices`, the first of equals.
    """
    wrong = np.zeros(len(choices))
    for bands, target in fields:
        for place, iterations in enumerate(choices):
            image = deconvolution(bands, tuning, iterations=iterations, pixel_arcsec=pixel_arcsec)
            wrong[place] += np.sum(np.square(image - target, dtype=np.float64))
    return choices[int(wrong.argmin())]


def rescaled(bands: np.ndarray, tuning: Tuning) -> np.ndarray:
    """The 250 um map times the colour, on the level of 450 um: nothing is sharper.

    Parameters
    ----------
    bands : ndarray
        [mJy/beam], [y, x, 3].
    tuning : Tuning
        From `tune`.

    Returns
    -------
    ndarray
        [mJy/beam], float32 [y, x].
    """
    return _levelled(np.asarray(bands[..., 0], np.float64) * tuning.colour, tuning)


def deconvolution(
    bands: np.ndarray,
    tuning: Tuning,
    *,
    iterations: int = ITERATIONS,
    pixel_arcsec: float = PIXEL_ARCSEC,
) -> np.ndarray:
    """Richardson-Lucy of the 250 um map, then the beam of 450 um.

    The lowest 0.1 % of pixels are the zero of a sky that must be positive; noise is taken for that
    of photons, which it is not. What is not yet as narrow as the 450 um beam has its flux but a
    lower peak: choose iterations by `tune_iterations`.

    Parameters
    ----------
    bands : ndarray
        [mJy/beam], [y, x, 3].
    tuning : Tuning
        From `tune`.
    iterations : int
        Number of updates.
    pixel_arcsec : float
        [arcsec].

    Returns
    -------
    ndarray
        [mJy/beam], float32 [y, x].
    """

    def blur(fwhm_arcsec: float) -> Callable[[np.ndarray], np.ndarray]:
        sigma = fwhm_arcsec * SIGMA_OF_FWHM / pixel_arcsec
        # With a reflected border the blur is its own adjoint.
        return lambda image: ndimage.gaussian_filter(image, sigma, mode="reflect")

    image = np.asarray(bands[..., 0], np.float64)
    above = np.maximum(image - np.quantile(image, 0.001), 0.0)
    everywhere = np.ones(image.shape)
    sky = richardson_lucy_variant(
        above,
        everywhere,
        everywhere > 0,
        upscale=1,
        iterations=iterations,
        forward=blur(BEAM_250),
        adjoint=blur(BEAM_250),
        restore=blur(BEAM_450),
    )
    # The sum of mJy per 250 um beam is kept; a 450 um beam holds fewer pixels.
    return _levelled(sky * (BEAM_450 / BEAM_250) ** 2 * tuning.colour, tuning)


def detection_250(
    bands: np.ndarray,
    tuning: Tuning,
    *,
    threshold_mjy: float = 3 * CONFUSION_MJY[0],
    pixel_arcsec: float = PIXEL_ARCSEC,
) -> np.ndarray:
    """Sources of the 250 um map, each with its flux times the colour, as points at 450 um.

    Parameters
    ----------
    bands : ndarray
        [mJy/beam], [y, x, 3].
    tuning : Tuning
        From `tune`.
    threshold_mjy : float
        Of peaks above the median of the map [mJy]: 3 times the confusion noise.
    pixel_arcsec : float
        [arcsec].

    Returns
    -------
    ndarray
        [mJy/beam], float32 [y, x], 0 without sources.
    """
    image = np.asarray(bands[..., 0], np.float64)
    image = image - np.median(image)
    found = detect(image, threshold_mjy=threshold_mjy, fwhm_pixel=BEAM_250 / pixel_arcsec)
    scaled = found._replace(flux=found.flux * tuning.colour)
    return paint(scaled, image.shape, fwhm_pixel=BEAM_450 / pixel_arcsec)


def paint(sources: Sources, shape: tuple[int, ...], *, fwhm_pixel: float) -> np.ndarray:
    """Map of points with a Gaussian beam, values at the centres of pixels.

    Parameters
    ----------
    sources : Sources
        Positions [pixel] and fluxes [mJy].
    shape : tuple of int
        Rows and columns.
    fwhm_pixel : float
        Of the beam [pixel].

    Returns
    -------
    ndarray
        [mJy/beam], float32 [y, x].
    """
    sigma = fwhm_pixel * SIGMA_OF_FWHM
    along = [
        np.exp(-0.5 * np.square((np.arange(size) - np.asarray(place)[:, None]) / sigma))
        for size, place in zip(shape, (sources.y, sources.x), strict=True)
    ]
    return ((along[0] * np.asarray(sources.flux)[:, None]).T @ along[1]).astype(np.float32)


METHODS: dict[str, Contender] = {
    "rescaled": rescaled,
    "deconvolution": deconvolution,
    "detection_250": detection_250,
}


def _levelled(image: np.ndarray, tuning: Tuning) -> np.ndarray:
    return (image - image.mean(dtype=np.float64) + tuning.level).astype(np.float32)
