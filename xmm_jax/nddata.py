"""Images as astropy has them, with units, masks and sky coordinates: into arrays, and back."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xmm_jax.data.wcs import regrid_wcs
from xmm_jax.errors import InputError

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from astropy.wcs import WCS

    from xmm_jax.planes import Enhanced

_COUNTS = ("", "ct", "count", "ph", "adu", "electron")


class Given(NamedTuple):
    """One image: arrays [y, x] of counts [count], exposure [s], valid pixels; what else is known.

    That is its sky coordinates, and the counts of background in it [count].
    """

    counts: np.ndarray
    exposure: np.ndarray
    valid: np.ndarray
    wcs: "WCS | None" = None
    background: np.ndarray | None = None


def as_given(counts: Any, exposure: Any = None, valid: Any = None, background: Any = None) -> Given:
    """Take an image as users have it.

    Parameters
    ----------
    counts : array, Quantity, NDData or CCDData
        Counts per pixel, ``[y, x]``; the mask of an NDData is True where a pixel is not to be used.
    exposure : array, number or Quantity, optional
        Live time [s if it has no unit], 0 where dead; by default ``EXPOSURE`` of the header
        (``meta``) of an NDData.
    valid : array of bool, optional
        True = use the pixel; all with exposure by default.
    background : array, optional
        Counts of background expected in the image [count].

    Returns
    -------
    Given
        What there is, as plain arrays.

    Raises
    ------
    InputError
        If the arrays do not fit each other, are no counts, or there is no exposure.
    """
    mask, meta, wcs = (getattr(counts, name, None) for name in ("mask", "meta", "wcs"))
    image = _plain(getattr(counts, "data", counts) if meta is not None else counts)
    unit = str(getattr(counts, "unit", None) or "")
    if unit not in _COUNTS:
        raise InputError(f"an image in {unit}: give counts per pixel, not a rate or a flux")
    if exposure is None:
        stated = {str(key).upper(): value for key, value in dict(meta or {}).items()}
        if "EXPOSURE" not in stated:
            raise InputError("no exposure: pass exposure= in seconds, or EXPOSURE in the meta")
        exposure = stated["EXPOSURE"]
    if hasattr(exposure, "to_value"):
        exposure = exposure.to_value("s")
    seconds = np.asarray(exposure, np.float32)
    if seconds.ndim == 0:
        seconds = np.full(image.shape, seconds)
    if image.ndim != 2 or image.shape != seconds.shape:
        raise InputError(
            f"counts {image.shape} and exposure {seconds.shape}; expected two images of one shape"
        )
    use = (seconds > 0) & np.isfinite(seconds)
    for name, part in (("valid", valid), ("mask", mask)):
        if part is None:
            continue
        if np.shape(part) != image.shape:
            raise InputError(
                f"{name} {np.shape(part)}: expected the shape of the image, {image.shape}"
            )
        use &= np.asarray(part, bool) != (name == "mask")
    seen = image[use]
    if not np.isfinite(seen).all() or (seen < 0).any():
        raise InputError(
            "counts are negative or not a number in pixels to be used; give raw counts"
        )
    if background is not None:
        background = known_background(background, use)
    return Given(
        np.where(use, image, 0), np.where(use, seconds, 0.0), use, _celestial(wcs), background
    )


def known_background(image: Any, valid: np.ndarray) -> np.ndarray:
    """Check an image of background counts [count], and set it to 0 where nothing is valid.

    Raises
    ------
    InputError
        If it is of another shape, negative or not a number in a pixel to be used.
    """
    image = np.asarray(image, np.float32)
    if image.shape != valid.shape:
        raise InputError(
            f"background {image.shape}: expected the shape of the image, {valid.shape}"
        )
    if not (np.isfinite(image[valid]).all() and (image[valid] >= 0).all()):
        raise InputError("background: negative or not a number in pixels to be used; give counts")
    return np.where(valid, image, 0)


def to_ccddata(result: "Enhanced") -> "CCDData":
    """A result as an image with unit, error, mask and sky coordinates.

    Parameters
    ----------
    result : Enhanced
        From `xmm_jax.enhance`.

    Returns
    -------
    CCDData
        Rate [count/s] per pixel; its uncertainty is half of the 68 % interval, where there is one;
        ``meta`` holds the pixels' quality bits as ``dq``.
    """
    from astropy import units
    from astropy.nddata import CCDData, StdDevUncertainty

    error = None
    if result.err_lo is not None and result.err_hi is not None:
        error = StdDevUncertainty((result.err_lo + result.err_hi) / 2)
    return CCDData(
        result.rate,
        unit=units.ct / units.s,
        uncertainty=error,
        mask=(result.dq & 1).astype(bool),
        wcs=result.wcs,
        meta={"BUNIT": "count s-1 pixel-1"},
    )


def _plain(image: Any) -> np.ndarray:
    return np.asarray(getattr(image, "value", image))


def _celestial(wcs: Any) -> "WCS | None":
    """Sky coordinates of an image, if it has such."""
    return wcs if wcs is not None and getattr(wcs, "has_celestial", False) else None


def finer(wcs: "WCS | None", upscale: int) -> "WCS | None":
    """Sky coordinates of the same image on pixels ``upscale`` times smaller."""
    return None if wcs is None else regrid_wcs(wcs, upscale=upscale)
