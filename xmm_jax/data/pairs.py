"""One training pair: assemble a sample, lay it on the square grid of the networks, and undo that.

A frame of EPIC-pn is 411 rows x 403 columns; networks see 416 x 416. Input and target must stay
registered: the finer grid gets exactly `upscale` times the pixels that the native one gets at the
low side (6 columns, 2 rows).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN

PADDINGS = ("aligned", "reference")
_INPUTS = ("counts", "exposure", "valid", "background")
_TARGETS = ("target", "target_exposure", "target_valid")


def make_sample(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    target: np.ndarray,
    target_exposure: np.ndarray,
    target_valid: np.ndarray,
    *,
    source_id: str,
    obs_id: str,
    pairing: str,
    target_kind: str = "observed",
    background: np.ndarray | None = None,
    camera: str = PN.name,
    filter: str = "unknown",
    band_kev: tuple[float, float] = PN.band_kev,
    pixel_arcsec: float = PN.pixel_arcsec,
    seed: int = 0,
) -> dict[str, Any]:
    """Assemble one sample of `xmm_jax.data.schema` and clear every dead pixel of it.

    Parameters
    ----------
    counts : ndarray, shape (y, x)
        Input counts per pixel [count].
    exposure : ndarray, shape (y, x)
        Exposure of the input [s].
    valid : ndarray of bool, shape (y, x)
        True = use; pixels without exposure become False.
    target, target_exposure, target_valid : ndarray, shape (s y, s x)
        The same of the target [count], [s], on its own grid.
    source_id, obs_id : str
        What is on the sky (key of the splits); which observation or simulation it is from.
    pairing : str
        ``nested``, ``disjoint``, ``thinned`` or ``simulated``.
    target_kind : str
        ``expected`` or ``observed``.
    background : ndarray, shape (y, x), optional
        Expected background of the input [count].
    camera, filter : str
        Where it was seen.
    band_kev : tuple of float
        Energy band [keV].
    pixel_arcsec : float
        Side of an input pixel [arcsec].
    seed : int
        What the draws came from.

    Returns
    -------
    dict
        Images with a channel axis [y, x, 1], zero where dead.
    """
    valid = np.asarray(valid, bool) & (np.asarray(exposure) > 0)
    target_valid = np.asarray(target_valid, bool) & (np.asarray(target_exposure) > 0)

    def live(image: np.ndarray, where: np.ndarray, dtype: type) -> np.ndarray:
        return np.where(where, image, 0).astype(dtype)[..., None]

    sample: dict[str, Any] = {
        "counts": live(counts, valid, np.int32),
        "exposure": live(exposure, valid, np.float32),
        "valid": valid[..., None],
        "target": live(target, target_valid, np.float32),
        "target_exposure": live(target_exposure, target_valid, np.float32),
        "target_valid": target_valid[..., None],
        "source_id": source_id,
        "obs_id": obs_id,
        "camera": camera,
        "filter": filter,
        "pairing": pairing,
        "target_kind": target_kind,
        "band_kev": np.asarray(band_kev, np.float32),
        "pixel_arcsec": np.float32(pixel_arcsec),
        "seed": np.int64(seed),
    }
    if background is not None:
        sample["background"] = live(background, valid, np.float32)
    return sample


def low_side(upscale: int, *, padding: str = "aligned") -> tuple[int, int]:
    """Pixels added at the low side of a frame, (x, y).

    Parameters
    ----------
    upscale : int
        Pixels of this grid per native pixel.
    padding : str
        ``aligned`` keeps all grids registered. ``reference`` centres every grid by itself, as
        Sweere et al. 2022 did: at 2x that is (13, 5) instead of (12, 4), one pixel off.

    Returns
    -------
    tuple of int
        Columns and rows.

    Raises
    ------
    InputError
        Unknown padding.
    """
    if padding not in PADDINGS:
        raise InputError(f"padding {padding}: choose one of {', '.join(PADDINGS)}")
    if padding == "reference":
        rows, columns = PN.shape
        return upscale * (PN.padded - columns) // 2, upscale * (PN.padded - rows) // 2
    return upscale * PN.pad_low[0], upscale * PN.pad_low[1]


def pad_frame(array, upscale: int, *, padding: str = "aligned"):
    """Lay an EPIC-pn frame on the square grid of the networks, zeros (False) around it.

    Parameters
    ----------
    array : array, shape (y, x), (y, x, c) or (b, y, x, c)
        Image on the native frame, any unit; numpy or JAX.
    upscale : int
        Pixels of this grid per native pixel: the frame is 411 upscale x 403 upscale.
    padding : str
        ``aligned`` or ``reference``, see `low_side`.

    Returns
    -------
    array
        416 upscale x 416 upscale, of the same kind.

    Raises
    ------
    InputError
        The array is not an EPIC-pn frame at this upscale.
    """
    rows, columns = _axes(array)
    if (array.shape[rows], array.shape[columns]) != tuple(upscale * size for size in PN.shape):
        raise InputError(
            f"frame of {array.shape[rows]} x {array.shape[columns]} pixels, expected "
            f"{upscale * PN.shape[0]} x {upscale * PN.shape[1]} (rows x columns)"
        )
    width = [(0, 0)] * array.ndim
    for axis, low in zip((columns, rows), low_side(upscale, padding=padding), strict=True):
        width[axis] = (low, upscale * PN.padded - array.shape[axis] - low)
    return array.__array_namespace__().pad(array, width)


def crop_frame(array, upscale: int, *, padding: str = "aligned"):
    """Cut the EPIC-pn frame out of the square grid: undoes `pad_frame`.

    Parameters
    ----------
    array : array, shape (y, x), (y, x, c) or (b, y, x, c)
        Image of 416 upscale x 416 upscale pixels, any unit.
    upscale : int
        Pixels of this grid per native pixel.
    padding : str
        ``aligned`` or ``reference``, see `low_side`.

    Returns
    -------
    array
        411 upscale x 403 upscale, of the same kind.

    Raises
    ------
    InputError
        The array is not a padded frame at this upscale.
    """
    rows, columns = _axes(array)
    if {array.shape[rows], array.shape[columns]} != {upscale * PN.padded}:
        raise InputError(
            f"grid of {array.shape[rows]} x {array.shape[columns]} pixels, expected "
            f"{upscale * PN.padded} x {upscale * PN.padded}"
        )
    x, y = low_side(upscale, padding=padding)
    window = [slice(None)] * array.ndim
    window[rows] = slice(y, y + upscale * PN.shape[0])
    window[columns] = slice(x, x + upscale * PN.shape[1])
    return array[tuple(window)]


def _axes(array) -> tuple[int, int]:
    """Which axes are rows and columns in (y, x), (y, x, c) and (b, y, x, c)."""
    first = 1 if array.ndim == 4 else 0
    return first, first + 1


def pad_sample(sample: Mapping[str, Any], *, padding: str = "aligned") -> dict[str, Any]:
    """Lay every image of a sample (or batch) on the square grid of its resolution.

    Parameters
    ----------
    sample : mapping
        Images [y, x, 1] or [b, y, x, 1] on the native frame and its finer copy.
    padding : str
        ``aligned`` (input and target registered) or ``reference`` (as published, to reproduce
        published numbers only).

    Returns
    -------
    dict
        The same fields; padding pixels have no counts, no exposure, and are not valid.

    Raises
    ------
    InputError
        An image is not on the EPIC-pn frame, or input and target do not fit together.
    """
    rows, _ = _axes(sample["counts"])
    upscale, rest = divmod(sample["target"].shape[rows], sample["counts"].shape[rows])
    if rest or upscale < 1:
        raise InputError(
            f"target of {sample['target'].shape[rows]} rows for {sample['counts'].shape[rows]} "
            "rows of input: expected a whole multiple"
        )
    padded = dict(sample)
    for names, factor in ((_INPUTS, 1), (_TARGETS, upscale)):
        for name in names:
            if name in sample:
                padded[name] = pad_frame(sample[name], factor, padding=padding)
    return padded
