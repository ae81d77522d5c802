"""Another telescope's image of the same sky beside ours, with contours (Chandra, in the paper)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.wcs import regrid_wcs
from xmm_jax.errors import InputError
from xmm_jax.metrics.report import save_svg

LARGEST = 400  # [pixel] a side of a panel
WIDEST_ARCMIN = 10.0  # of a panel
CONTOURS = (0.5, 0.75, 0.9, 0.97, 0.99)  # quantiles of the image that they are of


def draw_overlay(images: Mapping[str, np.ndarray], wcs: WCS, path: str | Path) -> str:
    """Picture of an image in a FITS file and of ours on its grid, all with contours of our last.

    Parameters
    ----------
    images : mapping of str to ndarray [y, x]
        Rates [count/s/pixel] on whole multiples of the grid of the first.
    wcs : WCS
        Sky coordinates of the first.
    path : str or Path
        FITS image with sky coordinates.

    Returns
    -------
    str
        SVG.

    Raises
    ------
    InputError
        A file that cannot be read, has no sky coordinates, or shows another part of the sky.
    """
    path = Path(path)
    other = read_image(path)
    try:
        view, shape = find_view(other.header, other.data.shape)
    except ValueError as error:
        raise InputError(f"{path}: {error}; give an image with RA and Dec axes") from None
    rows = next(iter(images.values())).shape[0]
    panels = {
        name: resample(image, regrid_wcs(wcs, upscale=image.shape[0] // rows), view, shape)
        for name, image in images.items()
    }
    if not any(np.isfinite(panel).any() for panel in panels.values()):
        raise InputError(f"{path}: shows another part of the sky than the field; name one of it")
    panels = {path.name: resample(other.data, WCS(other.header).celestial, view, shape)} | panels
    return _draw(panels)


def find_view(header: fits.Header, shape: tuple[int, ...]) -> tuple[WCS, tuple[int, int]]:
    """Grid of the panels: the middle of an image, on pixels large enough to be few.

    Parameters
    ----------
    header : Header
        Of the image.
    shape : tuple of int
        Its rows and columns.

    Returns
    -------
    wcs : WCS
        Of the panels.
    shape : tuple of int
        Their rows and columns, 400 at most and 10 arcmin at most.

    Raises
    ------
    ValueError
        Without sky coordinates.
    """
    wcs = WCS(header).celestial
    if wcs.naxis != 2:
        raise ValueError("no sky coordinates in the header")
    pixel_arcmin = 60 * float(np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix))))
    widest = int(WIDEST_ARCMIN / pixel_arcmin)
    rows, columns = (slice((n - min(n, widest)) // 2, (n + min(n, widest)) // 2) for n in shape)
    step = -(-max(rows.stop - rows.start, columns.stop - columns.start) // LARGEST)
    size = tuple((side.stop - side.start) // step for side in (rows, columns))
    cut = wcs[rows.start : rows.stop : step, columns.start : columns.stop : step]
    return cut, (size[0], size[1])


def resample(image: np.ndarray, wcs: WCS, view: WCS, shape: tuple[int, int]) -> np.ndarray:
    """Values of an image at the sky positions of another grid, linear between pixels.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Any unit; the area of the pixels does not change it.
    wcs, view : WCS
        Of the image, and of the wanted grid.
    shape : tuple of int
        Rows and columns of the wanted grid.

    Returns
    -------
    ndarray
        [y, x], NaN outside the image.
    """
    from scipy.ndimage import map_coordinates

    rows, columns = np.indices(shape, float)
    x, y = wcs.world_to_pixel(view.pixel_to_world(columns, rows))
    return map_coordinates(image.astype(float), [y, x], order=1, cval=np.nan)


def _draw(panels: Mapping[str, np.ndarray]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(panels), 3.9), layout="constrained")
    last = list(panels.values())[-1]
    seen = last[np.isfinite(last) & (last > 0)]
    levels = np.unique(np.quantile(seen, CONTOURS)) if len(seen) else []
    for axes, (name, panel) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        shown = np.sqrt(np.maximum(np.nan_to_num(panel), 0.0))
        axes.imshow(shown, origin="lower", cmap="inferno", vmax=np.quantile(shown, 0.998) or 1.0)
        if len(levels):
            axes.contour(np.nan_to_num(last), levels=levels, colors="white", linewidths=0.4)
        axes.set_title(name, fontsize=8)
        axes.set_axis_off()
    return save_svg(figure)
