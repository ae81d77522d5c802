"""A piece of sky: three bands of SPIRE, the map at 450 um and its catalogue, on one grid."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from xmm_jax.data.spire import (
    TARGET_UM,
    SubmmMap,
    common_grid,
    grid_about,
    read_map,
    reproject_to,
)
from xmm_jax.errors import InputError
from xmm_jax.metrics.submm_sources import detect
from xmm_jax.simulator.submm import BANDS_UM, PIXEL_ARCSEC, TARGET_FWHM_ARCSEC


class Region(NamedTuple):
    """Maps on one grid of 2" pixels.

    Attributes
    ----------
    name : str
        What it is.
    bands : ndarray
        250, 350, 500 um [mJy/beam], [y, x, 3].
    target : ndarray
        450 um [mJy/beam], [y, x, 1].
    valid : ndarray of bool
        Live pixels, [y, x, 1].
    x, y : ndarray
        Sources [pixel], [source].
    flux : ndarray
        Of the sources at 450 um [mJy].
    both : bool
        Whether the aperture loss also looks where the prediction has sources: real maps.
    """

    name: str
    bands: np.ndarray
    target: np.ndarray
    valid: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    both: bool

    def window(self, rows: slice, columns: slice) -> "Region":
        """Part of it, some rows and columns, with the sources in that part."""
        part = self.target[rows, columns]
        x, y = self.x - (columns.start or 0), self.y - (rows.start or 0)
        inside = (np.minimum(x, y) >= -0.5) & (x < part.shape[1] - 0.5) & (y < part.shape[0] - 0.5)
        return self._replace(
            bands=self.bands[rows, columns],
            target=part,
            valid=self.valid[rows, columns],
            x=x[inside],
            y=y[inside],
            flux=self.flux[inside],
        )

    def mirrored(self, along_y: bool, along_x: bool) -> "Region":
        """Mirror image, ``along_y`` upside down, ``along_x`` sideways; the beams are round."""
        turn = np.s_[:: -1 if along_y else 1, :: -1 if along_x else 1]
        height, width = self.target.shape[:2]
        return self._replace(
            bands=self.bands[turn],
            target=self.target[turn],
            valid=self.valid[turn],
            x=width - 1 - self.x if along_x else self.x,
            y=height - 1 - self.y if along_y else self.y,
        )


@functools.lru_cache(maxsize=4)
def read_region(folder: str, *, least_mjy: float) -> Region:
    """Real maps of a folder, on a common grid, with a catalogue of that at 450 um.

    Parameters
    ----------
    folder : str
        Holds one FITS file of each band: 250, 350, 500 um of SPIRE and 450 um of SCUBA-2.
    least_mjy : float
        Faintest source of the catalogue [mJy].

    Raises
    ------
    InputError
        If a map is missing, there are two of a band, or one cannot be read.
    """
    maps = find_maps(folder, (*BANDS_UM, TARGET_UM))
    target = maps.pop(TARGET_UM)
    grid = common_grid(list(maps.values()), target, pixel_arcsec=PIXEL_ARCSEC)
    live = grid.valid[..., None]
    images, image = (_levelled(maps, live) for maps in (grid.bands, grid.target))
    width = TARGET_FWHM_ARCSEC / PIXEL_ARCSEC
    sources = detect(image[..., 0], threshold_mjy=least_mjy, fwhm_pixel=width)
    return Region(Path(folder).name, images, image, live, *sources, both=True)


def read_bands(folder: str) -> tuple[np.ndarray, np.ndarray, fits.Header]:
    """Real maps of SPIRE of a folder, on a grid of 2" pixels about the one at 250 um.

    Parameters
    ----------
    folder : str
        Holds one FITS file of each band.

    Returns
    -------
    bands : ndarray
        [mJy/beam], [y, x, 3], of mean 0.
    valid : ndarray of bool
        [y, x, 1].
    header : Header
        The grid.

    Raises
    ------
    InputError
        As `read_region`.
    """
    maps = find_maps(folder, BANDS_UM)
    header = grid_about(maps[BANDS_UM[0]], PIXEL_ARCSEC)
    planes = [reproject_to(maps[band], header, order="bilinear") for band in BANDS_UM]
    live = np.all([valid for _, valid in planes], axis=0)[..., None]
    if not live.any():
        raise InputError(f"{folder}: the maps have no place in common; put maps of one field in")
    return _levelled(np.stack([flux for flux, _ in planes], axis=-1), live), live, header


def find_maps(folder: str, wanted: Sequence[int]) -> dict[int, SubmmMap]:
    """Maps of a folder by band [um], in the order wanted; others are left out.

    Raises
    ------
    InputError
        If one is missing, there are two of a band, or a file cannot be read.
    """
    found: dict[int, SubmmMap] = {}
    for path in sorted(path for path in Path(folder).glob("*.fits*") if path.is_file()):
        one = read_map(path)
        if one.band_um in found:
            other = found[one.band_um].path.name
            raise InputError(f"{path}: {other} is at {one.band_um} um too; keep one of them")
        found[one.band_um] = one
    missing = [str(band) for band in wanted if band not in found]
    if missing:
        few = f"{len(wanted)} are needed"
        raise InputError(f"{folder}: no map at {', '.join(missing)} um in there; {few}")
    for band in wanted:
        if not found[band].valid.any():
            raise InputError(f"{found[band].path}: no valid pixel; fetch or make the map again")
    return {band: found[band] for band in wanted}


def _levelled(maps: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Maps with a mean of 0 where they are live, and 0 elsewhere: no level of theirs is known."""
    mean = np.mean(maps, axis=(0, 1), where=live, keepdims=True)
    return np.where(live, maps - mean, 0.0).astype(np.float32)
