"""Maps of Herschel SPIRE (HerMES) and of SCUBA-2 (STUDIES): read them, bring them on one grid."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax.data.fitsfile import FitsImage, number, read_image
from xmm_jax.data.wcs import sky_wcs
from xmm_jax.errors import InputError

BANDS_UM = (250, 350, 500)  # in the order of the bands of the simulator
TARGET_UM = 450
PIXEL_ARCSEC = 2.0  # of the common grid
# Beams as tabulated by Lauritsen et al. (slides), for maps in MJy/sr whose header has no BMAJ.
FWHM_ARCSEC = {250: 18.1, 350: 24.9, 500: 36.6, 450: 7.9}
# Names of the arrays of SPIRE, short to long wavelengths (Griffin et al. 2010, A&A 518, L3).
ARRAYS = {"PSW": 250, "PMW": 350, "PLW": 500}
BAND_CARDS = ("WAVELNTH", "WAVELEN", "BAND", "FILTER")
UM_IN = {"M": 1e6, "MM": 1e3, "UM": 1.0, "MICRON": 1.0, "MICROMETER": 1.0, "NM": 1e-3}
NEAR_UM = 10.0  # a wavelength this close to a band is the band
NOT_FLUX = ("ERROR", "VARIANCE", "COVERAGE", "EXPOSURE", "MASK", "FLAG")


@dataclass(frozen=True, eq=False)
class SubmmMap:
    """A map of the sky.

    Parameters
    ----------
    flux : ndarray, shape (y, x)
        Flux density [mJy/beam], float32: the peak of a point source is its flux density; 0 where
        not valid.
    valid : ndarray, shape (y, x)
        True where there is a measurement.
    header : Header
        Header of the image, with what only the primary header says.
    wcs : WCS
        Where a pixel lies on the sky.
    band_um : int
        Band [um]: 250, 350, 450 or 500.
    path : Path
        The file.
    """

    flux: np.ndarray
    valid: np.ndarray
    header: fits.Header
    wcs: WCS
    band_um: int
    path: Path


class CommonGrid(NamedTuple):
    """Maps on one grid.

    Attributes
    ----------
    bands : ndarray
        Maps at 250, 350, 500 um [mJy/beam], [y, x, 3], float32; 0 where not valid.
    target : ndarray
        Map at 450 um [mJy/beam], [y, x, 1], likewise.
    valid : ndarray
        True where all four maps have a measurement, [y, x].
    header : Header
        The grid: a tangent projection.
    """

    bands: np.ndarray
    target: np.ndarray
    valid: np.ndarray
    header: fits.Header


def read_map(path: str | Path, *, band_um: int | None = None) -> SubmmMap:
    """Read a map of SPIRE or SCUBA-2.

    Parameters
    ----------
    path : str or Path
        FITS file, plain or compressed; the first two-dimensional image in it is the flux. Units are
        the card ``BUNIT``: Jy/beam, mJy/beam, or MJy/sr, which are multiplied by the area of
        the beam: of cards ``BMAJ`` and ``BMIN`` [deg], else of the usual width in the band.
    band_um : int, optional
        Band [um]. By default what the header says: a wavelength in ``WAVELNTH`` [um, or in the unit
        that stands first in the comment: m, mm, nm], or a wavelength or the name of an array of
        SPIRE in ``BAND`` or ``FILTER``.

    Returns
    -------
    SubmmMap
        A pixel is valid where it is finite and, if there is an extension ``ERROR`` or ``VARIANCE``
        (the errors of SPIRE and SCUBA-2), that is finite and above 0.

    Raises
    ------
    InputError
        The file cannot be read, its first image is not flux, or band, units, errors or sky
        coordinates are missing or make no sense.
    """
    path = Path(path)
    image = read_image(path)
    name = str(image.header.get("EXTNAME") or "").strip().upper()
    if name in NOT_FLUX:
        raise InputError(f"{path}: its first image is {name}; expected the flux, fetch a whole map")
    band = _band_um(image.header, path) if band_um is None else _nearest(float(band_um))
    if band is None:
        raise InputError(f"{path}: {band_um} um is no band; choose one of {_bands()}")
    wcs = _celestial(image.header, path)
    valid = _valid(image, path)
    with np.errstate(invalid="ignore"):  # of NaN
        flux = np.where(valid, image.data * _mjy_per_beam(image.header, band, path), 0.0)
    return SubmmMap(flux.astype(np.float32), valid, image.header, wcs, band, path)


def reproject_to(
    image: SubmmMap,
    header: fits.Header,
    shape: tuple[int, int] | None = None,
    *,
    order: str = "bicubic",
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a map on another grid.

    Parameters
    ----------
    image : SubmmMap
        The map. Its values are per beam, so that they stay what they are on finer pixels.
    header : Header
        The grid; its ``NAXIS1`` and ``NAXIS2`` are the size unless `shape` is given.
    shape : tuple of int, optional
        Size as (y, x).
    order : str
        ``"bicubic"``: splines, which keep the peak of a beam of three pixels; where pixels of the
        map are not valid, they run over the nearest valid ones. ``"bilinear"``: as in the maps of
        the simulator, lower peaks.

    Returns
    -------
    flux : ndarray, shape (y, x)
        Flux density [mJy/beam], float32; 0 where not valid.
    valid : ndarray, shape (y, x)
        True where the four pixels of the map about the place are valid.

    Raises
    ------
    InputError
        ``reproject`` is not installed, or the grid has no size.
    """
    reproject = _reproject()
    size = shape
    if size is None:
        size = (int(number(header, "NAXIS2", 0)), int(number(header, "NAXIS1", 0)))
    if min(size) < 1:
        raise InputError(
            f"a grid of {size[1]} x {size[0]} pixels; write NAXIS1 and NAXIS2 into its header"
        )
    grid = WCS(header)
    smooth, _ = reproject.reproject_interp(
        (_filled(image), image.wcs), grid, shape_out=size, order=order
    )
    live, _ = reproject.reproject_interp(
        (image.valid.astype(np.float64), image.wcs), grid, shape_out=size, order="bilinear"
    )
    valid = np.isfinite(smooth) & (np.nan_to_num(live) > 0.999)
    return np.where(valid, smooth, 0.0).astype(np.float32), valid


def tangent_header(
    centre_deg: tuple[float, float], shape: tuple[int, int], pixel_arcsec: float
) -> fits.Header:
    """Grid of a tangent projection, north up and east to the left.

    Parameters
    ----------
    centre_deg : tuple of float
        Right ascension and declination of the middle [deg], ICRS.
    shape : tuple of int
        Size as (y, x).
    pixel_arcsec : float
        Side of a pixel [arcsec].

    Returns
    -------
    Header
        Ready for an image of that size.
    """
    header = fits.Header()
    header["NAXIS"] = 2
    for axis, name in ((1, "RA---TAN"), (2, "DEC--TAN")):
        header[f"NAXIS{axis}"] = shape[2 - axis]
        header[f"CTYPE{axis}"] = name
        header[f"CUNIT{axis}"] = "deg"
        header[f"CRVAL{axis}"] = float(centre_deg[axis - 1])
        header[f"CRPIX{axis}"] = (shape[2 - axis] + 1) / 2
        header[f"CDELT{axis}"] = (-1 if axis == 1 else 1) * pixel_arcsec / 3600.0
    header["RADESYS"] = "ICRS"
    return header


def grid_about(target: SubmmMap, pixel_arcsec: float) -> fits.Header:
    """Grid just large enough for the valid pixels of a map.

    Parameters
    ----------
    target : SubmmMap
        With at least one valid pixel.
    pixel_arcsec : float
        Side of a pixel of the grid [arcsec].

    Returns
    -------
    Header
        A tangent projection about the middle of them, north up.
    """
    rows, columns = np.nonzero(target.valid)
    middle = 0.5 * (columns.min() + columns.max()), 0.5 * (rows.min() + rows.max())
    sky: Any = target.wcs.pixel_to_world(*middle)
    sky = sky.icrs
    header = tangent_header((sky.ra.deg, sky.dec.deg), (1, 1), pixel_arcsec)
    live: Any = target.wcs.pixel_to_world(columns, rows)
    places: Any = WCS(header).world_to_pixel(live)
    # The middle stays where it is: as many pixels on one side as on the other.
    shape = tuple(2 * int(np.ceil(np.abs(axis).max())) + 1 for axis in places[::-1])
    return tangent_header((sky.ra.deg, sky.dec.deg), (shape[0], shape[1]), pixel_arcsec)


def common_grid(
    maps: Sequence[SubmmMap],
    target: SubmmMap,
    *,
    pixel_arcsec: float = PIXEL_ARCSEC,
    order: str = "bilinear",
) -> CommonGrid:
    """Bring the maps of SPIRE and that of SCUBA-2 on one grid, which covers the latter.

    Parameters
    ----------
    maps : sequence of SubmmMap
        One each at 250, 350 and 500 um, in any order.
    target : SubmmMap
        The map at 450 um.
    pixel_arcsec : float
        Side of a pixel of the grid [arcsec].
    order : str
        How maps of SPIRE are interpolated, see `reproject_to`: by default as the simulator does it.
        That at 450 um, whose beam its pixels sample less well, always by splines.

    Returns
    -------
    CommonGrid
        A tangent projection about the middle of the target, north up, just large enough for what
        is valid of it. The mean that a map has is left in it.

    Raises
    ------
    InputError
        A band is missing or there twice, the target is of another band or has no valid pixel, or
        ``reproject`` is not installed.
    """
    if sorted(image.band_um for image in maps) != list(BANDS_UM):
        found = ", ".join(f"{image.path} ({image.band_um} um)" for image in maps) or "none"
        raise InputError(f"maps are {found}; give one each of 250, 350 and 500 um")
    if target.band_um != TARGET_UM:
        raise InputError(f"{target.path}: a map at {target.band_um} um; give one at 450 um")
    if not target.valid.any():
        raise InputError(f"{target.path}: there is no valid pixel; fetch or make the map again")
    header = grid_about(target, pixel_arcsec)
    ordered = sorted(maps, key=lambda image: image.band_um)
    planes = [reproject_to(image, header, order=order) for image in ordered]
    planes.append(reproject_to(target, header))
    valid = np.all([live for _, live in planes], axis=0)
    cube = np.stack([np.where(valid, flux, np.float32(0)) for flux, _ in planes], axis=-1)
    return CommonGrid(cube[:, :, :3], cube[:, :, 3:], valid, header)


def _reproject() -> ModuleType:
    """The package, imported where it is needed, or one line saying how to install it."""
    try:
        return importlib.import_module("reproject")
    except ImportError:
        raise InputError(
            "a common grid needs reproject; install it with: pip install 'xmm-jax[herschel]'"
        ) from None


def _bands() -> str:
    """All bands in words."""
    return ", ".join(str(band) for band in sorted(FWHM_ARCSEC))


def _nearest(wavelength_um: float) -> int | None:
    """Band within 10 um of a wavelength."""
    near = [band for band in FWHM_ARCSEC if abs(band - wavelength_um) <= NEAR_UM]
    return near[0] if near else None


def _band_um(header: fits.Header, path: Path) -> int:
    """Band [um] that the header tells, or one line saying that it does not."""
    for key in (key for key in BAND_CARDS if key in header):
        words = str(header[key]).strip().upper()
        comment = str(header.comments[key]).replace("[", " ").replace("]", " ").split()
        unit = UM_IN.get(comment[0].upper() if comment else "", 1.0)
        if words in ARRAYS:
            return ARRAYS[words]
        for end in ("MICRON", "UM", "µM"):
            words = words.removesuffix(end).strip()
        try:
            band = _nearest(float(words) * unit)
        except ValueError:
            continue
        if band is not None:
            return band
    raise InputError(
        f"{path}: its header does not tell the band; write WAVELNTH into it, one of {_bands()} [um]"
    )


def _celestial(header: fits.Header, path: Path) -> WCS:
    """Sky coordinates, or one line saying why there are none."""
    try:
        wcs, method = sky_wcs(header)
    except ValueError as error:
        raise InputError(f"{path}: {error} in its sky coordinates; mend its header") from None
    if wcs is None or method != "file":
        raise InputError(f"{path}: there are no sky coordinates; fetch or make the map again")
    return wcs


def _valid(image: FitsImage, path: Path) -> np.ndarray:
    """Where there is a measurement."""
    valid = np.isfinite(image.data)
    for name in ("ERROR", "VARIANCE"):
        error = image.extensions.get(name)
        if error is None:
            continue
        if error.shape != image.data.shape:
            raise InputError(
                f"{path}: {name} is not as large as the map; fetch or make the file again"
            )
        valid &= np.isfinite(error) & (np.nan_to_num(error) > 0)
    return valid


def _mjy_per_beam(header: fits.Header, band: int, path: Path) -> float:
    """What pixel values are multiplied by to be mJy/beam."""
    unit = "".join(str(header.get("BUNIT") or "").split())
    per_beam = {"jy/beam": 1e3, "mjy/beam": 1.0, "jybeam-1": 1e3, "mjybeam-1": 1.0}
    if unit == "MJy/sr":  # with a capital M, which is a million here and a thousandth above
        return 1e9 * _beam_sr(header, band, path)
    if unit.lower() in per_beam and not unit.startswith("M"):
        return per_beam[unit.lower()]
    found = f"BUNIT is {unit!r}" if unit else "there is no BUNIT"
    raise InputError(
        f"{path}: {found}; convert the map and write BUNIT = 'mJy/beam' into its header"
    )


def _beam_sr(header: fits.Header, band: int, path: Path) -> float:
    """Area of the beam, a Gaussian [sr]."""
    usual = FWHM_ARCSEC[band] / 3600.0
    try:
        major = number(header, "BMAJ", usual)
        minor = number(header, "BMIN", major)
    except ValueError as error:
        raise InputError(f"{path}: {error} of degrees; mend its header") from None
    if not (major > 0 and minor > 0):
        raise InputError(f"{path}: a beam of {major:g} x {minor:g} deg; mend its header")
    return float(np.pi / (4.0 * np.log(2.0)) * np.deg2rad(major) * np.deg2rad(minor))


def _filled(image: SubmmMap) -> np.ndarray:
    """Flux with the nearest valid value in pixels that are not valid, so that splines stay calm."""
    if image.valid.all() or not image.valid.any():
        return image.flux.astype(np.float64)
    ndimage = importlib.import_module("scipy.ndimage")
    rows, columns = ndimage.distance_transform_edt(
        ~image.valid, return_distances=False, return_indices=True
    )
    return image.flux[rows, columns].astype(np.float64)
