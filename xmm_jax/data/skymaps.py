"""Sky maps of the user: a folder of FITS or npy images as one stack for the simulator."""

from pathlib import Path

import numpy as np

from xmm_jax.data.fitsfile import read_image
from xmm_jax.errors import InputError

SUFFIXES = (".fits", ".fit", ".fits.gz", ".ftz", ".npy")
SMALLEST = 16  # [pixel]


def read_sky_maps(folder: str | Path, *, size: int = 1024, limit: int | None = None) -> np.ndarray:
    """Read all sky maps of a folder.

    Parameters
    ----------
    folder : str or Path
        Folder of two-dimensional, non-negative images of any unit: FITS (first image, plain or
        gzip) or npy. A map is taken to cover 0.8 deg.
    size : int
        Side of the stacked maps [pixel]; larger maps are averaged down, smaller ones repeated, and
        maps that are not square are padded with 0.
    limit : int, optional
        Read only the first this many in alphabetical order.

    Returns
    -------
    ndarray
        float16 [map, size, size], each scaled to a peak of 1000: a dynamic range of 1e7.

    Raises
    ------
    InputError
        The folder is missing or empty, or a file is unreadable, not an image, negative, not finite,
        empty or tiny.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of sky maps; check the name")
    files = sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES))
    if not files:
        raise InputError(f"{folder}: no sky maps in it; expected .fits, .fits.gz or .npy files")
    return np.stack([_resize(_read(path), size) for path in files[:limit]])


def _read(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        try:
            image = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise InputError(f"{path}: not a readable npy file; make it again") from None
    else:
        image = read_image(path).data
    if image.ndim != 2 or image.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds {image.dtype} of shape {image.shape}; expected one image")
    image = image.astype(np.float64)
    if min(image.shape) < SMALLEST:
        raise InputError(f"{path}: {image.shape} pixels are too few; expected {SMALLEST} a side")
    if not np.isfinite(image).all():
        raise InputError(f"{path}: holds NaN or infinite pixels; set them to 0")
    if image.min() < 0:
        raise InputError(f"{path}: holds negative pixels; a sky map is a brightness, clip it at 0")
    if image.max() == 0:
        raise InputError(f"{path}: holds only zeros; remove it from the folder")
    return image


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    """Mean over pixels of the new grid, by areas, after padding to a square."""
    side = max(image.shape)
    spare = [side - length for length in image.shape]
    image = np.pad(image, [(low // 2, low - low // 2) for low in spare])
    for axis in (0, 1):
        # Differences of the running sum at the new edges are exact sums over new pixels.
        running = np.insert(np.cumsum(image, axis=axis), 0, 0.0, axis=axis)
        edges = np.linspace(0.0, side, size + 1)
        below = np.minimum(edges.astype(int), side - 1)
        part = np.expand_dims(edges - below, 1 - axis)
        low, high = np.take(running, below, axis=axis), np.take(running, below + 1, axis=axis)
        image = np.diff(low + part * (high - low), axis=axis)
    return (image * (1000.0 / image.max())).astype(np.float16)
