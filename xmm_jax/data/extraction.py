"""Stars of an optical image by the library `sep`, with the settings of Astro U-net for SExtractor.

`sep` (Barbary 2016, JOSS 1, 58) is the code of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393) as
a library. Settings are those of ``final.sex`` of the published code (Vojtekova et al. 2021). What
`sep` lacks: ANALYSIS_THRESH 3, which in SExtractor concerns shapes and star/galaxy classes and no
figure used here, and MASK_TYPE CORRECT, which replaces pixels of neighbours in an aperture.
"""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from xmm_jax.errors import InputError

DETECT_MINAREA = 10  # [pixel]
DETECT_THRESH = 7.0  # times the RMS of the background over the image
DEBLEND_NTHRESH, DEBLEND_MINCONT = 32, 0.005
APERTURE = 10.0  # diameter [pixel], PHOT_APERTURES
BACK_SIZE, BACK_FILTERSIZE = 64, 3  # [pixel], [mesh]
GAIN = 1.5  # [electron per unit of the image]; of images in electrons it should be 1
CLEAN_PARAM = 1.0

# Room of sep beyond the pixels above the threshold, and parts of one blend (its own limit is 1024).
SPARE_PIXELS, BLEND_LIMIT = 300_000, 2**17


class Sources(NamedTuple):
    """Stars of one image, one entry each.

    Attributes
    ----------
    x, y : ndarray
        Barycentres [pixel], 0-based, pixel centres at integers.
    flux, flux_err : ndarray
        In the aperture above the background, and its error [electron].
    background : ndarray
        Of the place of the star [electron/pixel].
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    background: np.ndarray


def extract(
    image: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    gain: float = GAIN,
    threshold: float = DETECT_THRESH,
    min_area: int = DETECT_MINAREA,
    aperture: float = APERTURE,
) -> Sources:
    """Find stars and measure them.

    Parameters
    ----------
    image : ndarray
        ``[y, x]`` [electron].
    valid : ndarray of bool, optional
        Pixels to use, same shape. Pixels that are not finite never are.
    gain : float
        Electrons per unit of the image, for the noise of the stars alone: 1.5 in ``final.sex``.
    threshold : float
        Times the RMS of the background, one number per image as in SExtractor without weights.
    min_area : int
        Least number of connected pixels above it.
    aperture : float
        Diameter [pixel].

    Returns
    -------
    Sources
        Errors are those of FLUX_APER, ``sqrt(area rms^2 + flux / gain)`` (Source Extractor manual,
        "Aperture photometry"). Empty if there are no stars or no valid pixels.

    Raises
    ------
    InputError
        If `sep` is not installed or shapes differ.
    """
    found, _, level = _detect(image, valid, threshold, min_area)
    if level is None or not len(found):
        return Sources(*(np.zeros(0) for _ in Sources._fields))
    sep = _library()
    flux, error, _ = sep.sum_circle(
        level.image,
        found["x"],
        found["y"],
        aperture / 2,
        err=level.rms,
        gain=gain,
        mask=level.mask,
    )
    places = tuple(np.rint(found[axis]).astype(int) for axis in ("y", "x"))
    background = level.background[places].astype(float)
    return Sources(found["x"], found["y"], flux, error, background)


def segmentation(
    image: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    threshold: float = DETECT_THRESH,
    min_area: int = DETECT_MINAREA,
) -> np.ndarray:
    """Which pixels belong to objects, as the second input of experiment 7 of Astro U-net.

    Parameters
    ----------
    image, valid, threshold, min_area
        As in `extract`; any unit.

    Returns
    -------
    ndarray of bool
        ``[y, x]``, True on objects.

    Raises
    ------
    InputError
        If `sep` is not installed or shapes differ.
    """
    return _detect(image, valid, threshold, min_area)[1] > 0


class _Level(NamedTuple):
    """An image without its background, what was taken away and what is left of it as noise."""

    image: np.ndarray
    background: np.ndarray
    rms: float
    mask: np.ndarray


def _detect(
    image: np.ndarray, valid: np.ndarray | None, threshold: float, min_area: int
) -> tuple[Any, np.ndarray, _Level | None]:
    """Objects of sep, their map, and the image above its background; None without valid pixels."""
    sep = _library()
    image = np.asarray(image)
    use = np.isfinite(image)
    shape = image.shape if valid is None else np.shape(valid)
    if image.ndim != 2 or shape != image.shape:
        raise InputError(
            f"expected an image [y, x] with valid pixels of its shape, got {image.shape} "
            f"and {shape}"
        )
    if valid is not None:
        use &= np.asarray(valid, bool)
    if not use.any():
        return (), np.zeros(image.shape, int), None
    # sep takes native, contiguous arrays; float32 as SExtractor.
    plain, mask = np.where(use, image, 0).astype(np.float32), ~use
    size = {"bw": BACK_SIZE, "bh": BACK_SIZE, "fw": BACK_FILTERSIZE, "fh": BACK_FILTERSIZE}
    sky = sep.Background(plain, mask=mask, **size)
    background = sky.back()
    level = _Level(plain - background, background, float(sky.globalrms), mask)
    least = threshold * level.rms
    with _room(sep, int(np.count_nonzero((level.image > least) & use))):
        found, belongs = sep.extract(
            level.image,
            least,
            mask=mask,
            minarea=min_area,
            filter_kernel=None,
            deblend_nthresh=DEBLEND_NTHRESH,
            deblend_cont=DEBLEND_MINCONT,
            clean=True,
            clean_param=CLEAN_PARAM,
            segmentation_map=True,
        )
    return found, belongs, level


@contextlib.contextmanager
def _room(sep: Any, bright: int) -> Iterator[None]:
    """Let sep hold all pixels above the threshold, and give its settings back afterwards."""
    pixels, blends = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    sep.set_extract_pixstack(max(pixels, bright + SPARE_PIXELS))
    sep.set_sub_object_limit(max(blends, BLEND_LIMIT))
    try:
        yield
    finally:
        sep.set_extract_pixstack(pixels)
        sep.set_sub_object_limit(blends)


def _library() -> Any:
    try:
        return importlib.import_module("sep")
    except ImportError:
        raise InputError("finding stars needs sep: pip install 'xmm-jax[hst]'") from None
