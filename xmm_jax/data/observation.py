"""One EPIC-pn observation: counts, exposure map, dead pixels and sky position; FITS in and out."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax.data.eligibility import examine
from xmm_jax.data.exposure import exposure_map
from xmm_jax.data.fitsfile import FitsImage, number, read_image, write_fits
from xmm_jax.data.wcs import detector_wcs, regrid_header, sky_wcs
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN, angle_map
from xmm_jax.instrument.detector import mask as detector_mask


@dataclass(frozen=True, eq=False)
class Observation:
    """A count image of EPIC-pn in detector coordinates and what is needed to use it.

    Parameters
    ----------
    counts : ndarray of int32, shape (y, x)
        Counts per pixel [count], as in the file, dead pixels included.
    exposure : ndarray of float32, shape (y, x)
        Exposure per pixel [s], 0 where dead; not vignetted.
    valid : ndarray of bool, shape (y, x)
        True = use.
    exposure_s : float
        Exposure of the best-exposed CCD [s], EXPOSURE of the header.
    header : Header or None
        Header of the image as read.
    wcs, detector_wcs : WCS or None
        Sky coordinates; detector coordinates DETX, DETY [0.05 arcsec].
    wcs_method : str
        ``"file"``, ``"pointing"`` (from RA_PNT, DEC_PNT, PA_PNT; to 2.5 arcsec) or ``"none"``.
    obs_id, camera, filter : str
        Ten-digit identifier or file name; ``"pn"``; optical filter (thin1, medium, unknown ...).
    band_kev : tuple of float
        Energy band [keV].
    pixel_arcsec : float
        Pixel size [arcsec].
    notes : tuple of str
        What the reader assumed, one line each.
    """

    counts: np.ndarray
    exposure: np.ndarray
    valid: np.ndarray
    exposure_s: float
    header: fits.Header | None = None
    wcs: WCS | None = None
    detector_wcs: WCS | None = None
    wcs_method: str = "none"
    obs_id: str = "unknown"
    camera: str = PN.name
    filter: str = "unknown"
    band_kev: tuple[float, float] = (0.5, 2.0)
    pixel_arcsec: float = 4.0
    notes: tuple[str, ...] = ()


def read_observation(
    path: str | Path,
    *,
    force: bool = False,
    mask: np.ndarray | None = None,
    exposure: np.ndarray | None = None,
) -> Observation:
    """Read an EPIC-pn count image: plain FITS, ``.gz`` or ``.FTZ``.

    Dead pixels come from `mask`, else the extension MASK, else the detector mask of the camera.
    The exposure map is `exposure`, else the extension EXPOSURE, else made of EXPOSURE and ONTIMEnn.

    Parameters
    ----------
    path : str or Path
        Count image, 411 rows x 403 columns of 4 arcsec in DETX, DETY.
    force : bool
        Accept another instrument, mode, filter, energy band, pixel origin or size.
    mask : ndarray, shape of the image, optional
        Non-zero where the detector is alive.
    exposure : ndarray, shape of the image, optional
        Exposure [s], 0 where dead; not vignetted.

    Returns
    -------
    Observation
        With `notes` on what was assumed.

    Raises
    ------
    InputError
        Unreadable file, wrong shape, values that are not counts, no usable exposure, or (without
        `force`) an image of another kind.
    """
    path = Path(path)
    image = read_image(path)
    try:
        detector = detector_wcs(image.header)
        sky, method = sky_wcs(image.header)
        band_kev, notes = examine(image.header, detector, path, force=force)
        shape = image.data.shape if force else PN.shape
        counts = as_counts(image.data, path, shape=shape)
        if counts.shape != PN.shape:
            notes += (f"forced: {shape[0]} x {shape[1]} pixels, not the frame of the camera",)
        exposure_s = stated_exposure(image.header, path)
        seconds = image.extensions.get("EXPOSURE") if exposure is None else exposure
        exposure = _exposure(
            image, seconds, exposure_s, counts, _valid(image, mask, path), path, force=force
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{path}: a header card cannot be understood ({error}); mend it, or make it again"
        ) from None
    seen = exposure[exposure > 0]
    if not seen.size:
        raise InputError(f"{path}: no pixel has exposure; check the mask and the exposure map")
    if seen.min() < 0.99 * seen.max():
        notes += (f"exposure differs across the field: {seen.min():.0f}-{seen.max():.0f} s",)
    return Observation(
        counts=counts,
        exposure=exposure,
        valid=exposure > 0,
        exposure_s=exposure_s,
        header=image.header,
        wcs=sky,
        detector_wcs=detector,
        wcs_method=method,
        obs_id=_obs_id(image.header, path),
        filter=str(image.header.get("FILTER", "")).strip().lower() or "unknown",
        band_kev=band_kev,
        notes=notes,
    )


def as_counts(data: np.ndarray, path: str | Path, *, shape: tuple[int, int]) -> np.ndarray:
    """Check that an image holds counts of the expected frame.

    Parameters
    ----------
    data : ndarray, shape (y, x)
        Pixel values as read [count].
    path : str or Path
        The file, for the message.
    shape : tuple of int
        Expected rows and columns.

    Returns
    -------
    ndarray of int32, shape (y, x)
        Counts per pixel [count].

    Raises
    ------
    InputError
        Another shape, NaN, negative values or values that are not whole numbers.
    """
    if data.shape != shape:
        raise InputError(
            f"{path}: image of {data.shape[0]} x {data.shape[1]} (rows x columns), expected "
            f"{shape[0]} x {shape[1]}; bin DETX, DETY (not X, Y) by 80, that is 4 arcsec"
        )
    if not np.isfinite(data).all():
        raise InputError(
            f"{path}: {np.count_nonzero(~np.isfinite(data))} pixels are NaN or infinite; "
            "give raw counts"
        )
    if data.min() < 0:
        raise InputError(f"{path}: negative counts (minimum {data.min():g}); give raw counts")
    if data.max() > np.iinfo(np.int32).max or (data != np.floor(data)).any():
        raise InputError(
            f"{path}: values are not whole numbers, so not counts; give the count image, "
            "not a rate or a smoothed one"
        )
    return data.astype(np.int32)


def stated_exposure(header: fits.Header, path: str | Path) -> float:
    """Read EXPOSURE [s] of a header.

    Parameters
    ----------
    header : Header
        Header of the image.
    path : str or Path
        The file, for the message.

    Returns
    -------
    float
        Exposure [s].

    Raises
    ------
    InputError
        No EXPOSURE, or not a positive number.
    """
    if "EXPOSURE" not in header:
        raise InputError(f"{path}: no EXPOSURE in the header; add it, in seconds")
    try:
        value = number(header, "EXPOSURE")
    except ValueError as error:
        raise InputError(f"{path}: {error} of seconds; write EXPOSURE into its header") from None
    if not 0 < value < np.inf:
        raise InputError(f"{path}: EXPOSURE is {value:g}; it must be a positive number of seconds")
    return value


def _valid(image: FitsImage, mask: np.ndarray | None, path: Path) -> np.ndarray:
    """Live pixels: the caller's mask, the file's, or the camera's."""
    if mask is None:
        mask = image.extensions.get("MASK")
    if mask is None and image.data.shape == PN.shape:
        return detector_mask(PN, 1)
    if mask is None:
        return np.ones(image.data.shape, bool)
    if mask.shape != image.data.shape:
        raise InputError(
            f"{path}: mask of shape {mask.shape}, expected {image.data.shape}; give another mask"
        )
    return np.asarray(mask) > 0


def _exposure(
    image: FitsImage,
    given: np.ndarray | None,
    exposure_s: float,
    counts: np.ndarray,
    valid: np.ndarray,
    path: Path,
    *,
    force: bool,
) -> np.ndarray:
    """Exposure map: the one that is given, else made from header and mask."""
    if given is None:
        if counts.shape != PN.shape:
            return np.where(valid, exposure_s, 0).astype(np.float32)
        return exposure_map(image.header, exposure_s, counts, valid)
    if given.shape != counts.shape or not (given >= 0).all() or not (given < np.inf).all():
        raise InputError(
            f"{path}: its exposure map must have the shape of the image, "
            f"{counts.shape[0]} x {counts.shape[1]}, and hold seconds >= 0"
        )
    if not force and counts.shape == PN.shape and _vignetted(given, valid):
        raise InputError(
            f"{path}: its exposure map falls off to the rim as the vignetting does; make one "
            "without (SAS: eexpmap withvignetting=no), or pass --force"
        )
    return np.where(valid, given, 0).astype(np.float32)


def _vignetted(exposure: np.ndarray, valid: np.ndarray) -> bool:
    """Whether an exposure map falls off to the rim, as the vignetting does: to 0.54 at 10'."""
    angle = angle_map(PN, 1)
    inner, outer = (
        exposure[valid & (exposure > 0) & (angle > low) & (angle < high)]
        for low, high in ((0.0, 3.0), (9.0, 11.0))
    )
    if not inner.size or not outer.size:
        return False
    # CCDs may differ in exposure, but not all of those far out by as much.
    return bool(np.quantile(outer, 0.95) < 0.7 * np.median(inner))


def _obs_id(header: fits.Header, path: Path) -> str:
    """OBS_ID of the header, else the ten digits that begin the file name, else that name."""
    stated = str(header.get("OBS_ID", "")).strip()
    digits = re.match(r"P?(\d{10})", path.name)
    return stated or (digits[1] if digits else path.name.split(".fits")[0])


def observation_header(observation: Observation) -> fits.Header:
    """Header of an observation: the cards of its file, cleaned, and what the object itself knows.

    Parameters
    ----------
    observation : Observation
        The observation.

    Returns
    -------
    Header
        One celestial WCS and the detector axes where known, EXPOSURE, camera, filter and band.
    """
    header = regrid_header(observation.header)
    low, high = observation.band_kev
    stated = {
        "TELESCOP": ("XMM", "telescope"),
        "INSTRUME": ("EPN", "camera"),
        "FILTER": (observation.filter, "optical blocking filter"),
        "OBS_ID": (observation.obs_id, "observation"),
    }
    for key, (value, comment) in stated.items():
        if value and not str(header.get(key, "")).strip():
            header[key] = (value, comment)
    header["PIMIN"] = (round(1000 * low), "[eV] lower energy")
    header["PIMAX"] = (round(1000 * high), "[eV] upper energy")
    header["EXPOSURE"] = (observation.exposure_s, "[s] of the best-exposed CCD")
    return header


def write_observation(path: str | Path, observation: Observation) -> Path:
    """Write an observation as FITS: counts, then extensions EXPOSURE [s] and MASK (1 = use).

    Parameters
    ----------
    path : str or Path
        The file; ``.gz`` compresses.
    observation : Observation
        What to write.

    Returns
    -------
    Path
        `path`; `read_observation` gives the same observation back.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    header = observation_header(observation)
    primary = fits.PrimaryHDU(observation.counts.astype(np.int32), header=header)
    primary.header["BUNIT"] = "count"
    exposure = fits.ImageHDU(observation.exposure.astype(np.float32), header, name="EXPOSURE")
    exposure.header["BUNIT"] = "s"
    mask = fits.ImageHDU(observation.valid.astype(np.uint8), header, name="MASK")
    return write_fits(path, [primary, exposure, mask])
