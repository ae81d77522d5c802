"""A feature taken out of an image: its pixels get the values that their surroundings suggest."""

import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument import psf
from xmm_jax.instrument.camera import PN, Camera, from_native
from xmm_jax.metrics.detection import Table
from xmm_jax.simulator.presets import find_preset

# A feature reaches this far [pixel of the image]: the PSF has the same pixels on every grid.
REACH = 6
SPARE = 64
LEAST_SHARE = 0.05  # of a point source, that shows within reach and no nearer to a neighbour


def profiles(
    found: Table, upscale: int, *, camera: Camera = PN
) -> tuple[np.ndarray, list[tuple[int, int]], np.ndarray]:
    """Point sources at the places of features.

    Parameters
    ----------
    found : dict of ndarray
        ``x``, ``y`` [native pixel] of all features.
    upscale : int
        Pixels of the image per native pixel and side.
    camera : Camera
        The camera.

    Returns
    -------
    stamps : ndarray
        [feature, y, x], sum 1; the PSF that the image should have.
    corners : list of tuple of int
        Row and column of the first pixel of each in the image.
    own : ndarray of bool
        [feature, y, x], pixels within 6 of it and nearer to it than to any other feature.
    """
    from scipy.spatial import KDTree

    x, y = (from_native(found[name], upscale) for name in ("x", "y"))
    if not len(x):
        return np.zeros((0, 1, 1)), [], np.zeros((0, 1, 1), bool)
    preset = find_preset("physical")
    # Always a multiple of 64, so that no field has anything to compile that the last one had not.
    spare = (0, -len(x) % SPARE)
    spot_x, spot_y = (
        jnp.asarray(np.pad(found[name], spare, "edge"), jnp.float32) for name in ("x", "y")
    )
    stamp, column, row = psf.stamps(
        camera,
        spot_x,
        spot_y,
        upscale,
        half_width=preset.kernel_half_width,
        core_scale=preset.core_scale,
    )
    stamp, column, row = (np.asarray(one)[: len(x)] for one in (stamp, column, row))
    half = preset.kernel_half_width
    corners = [(int(r) - half, int(c) - half) for r, c in zip(row, column, strict=True)]
    rows, columns = np.indices(stamp.shape[1:])
    top, left = np.array(corners).T[:, :, None, None]
    spots = np.stack([columns + left, rows + top], axis=-1).astype(float)
    apart, nearest = KDTree(np.column_stack([x, y])).query(spots)
    own = (nearest == np.arange(len(x))[:, None, None]) & (apart <= REACH)
    return stamp.astype(float), corners, own


def take_out(
    rate: np.ndarray,
    live: np.ndarray,
    profile: np.ndarray,
    corner: tuple[int, int],
    own: np.ndarray,
) -> tuple[tuple[slice, slice], np.ndarray, float]:
    """Take a feature out of an image.

    The pixels of the feature get the smoothest surface through those around them, the solution of
    the equation of Laplace, to which dead pixels give no boundary value. What that leaves of the
    feature, its wings, is known of a point source, and is taken off too.

    Parameters
    ----------
    rate : ndarray
        Image, ``[y, x]``, any unit, not negative.
    live : ndarray of bool
        Pixels that count, same shape.
    profile : ndarray
        Image of a point source of rate 1 at the place of the feature [unit of `rate`], a small one.
    corner : tuple of int
        Row and column of the first pixel of `profile` in the image; may lie outside of it.
    own : ndarray of bool
        Pixels of `profile` that are those of the feature.

    Returns
    -------
    window : tuple of slice
        Rows and columns of the image that `patch` is for.
    patch : ndarray
        The image there without the feature, not negative.
    removed : float
        Rate of the point source that was taken out, in the unit of the image, not negative.
    """
    top, left = corner
    inside = tuple(
        slice(max(-low, 0), min(side, size - low))
        for low, side, size in zip(corner, profile.shape, rate.shape, strict=True)
    )
    profile, own = profile[inside], own[inside]
    row, column = top + inside[0].start, left + inside[1].start
    window = slice(row, row + profile.shape[0]), slice(column, column + profile.shape[1])
    patch, alive = rate[window].astype(float), live[window]
    gone = own & alive
    images = np.stack([patch, np.where(alive, profile, 0.0)])
    flat = images.copy()
    flat[:, gone] = _smoothest(images, alive, gone)
    light, share = (images - flat).sum(axis=(1, 2))
    removed = max(float(light) / float(share), 0.0) if share > LEAST_SHARE else 0.0
    rest = flat[0] - removed * flat[1] if removed else patch
    return window, np.where(alive, np.maximum(rest, 0.0), patch), removed


def _smoothest(images: np.ndarray, alive: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Harmonic values of the pixels that are gone [image, pixel], from the live ones around."""
    known = alive & ~gone
    number = np.full(gone.shape, -1)
    number[gone] = own = np.arange(gone.sum())
    matrix, value = np.zeros((len(own), len(own))), np.zeros((len(own), len(images)))
    # Beyond the edge nothing is known, as with dead pixels.
    number, known = (np.pad(one, 1, constant_values=no) for one, no in ((number, -1), (known, 0)))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    rows, columns = np.nonzero(number >= 0)
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        beside = rows + down, columns + right
        to_gone, to_known = number[beside] >= 0, known[beside]
        matrix[own, own] += to_gone | to_known
        matrix[own[to_gone], number[beside][to_gone]] -= 1.0
        value += (padded[:, *beside] * to_known).T
    # Cut off from all that is known, a pixel gets the mean of what is.
    weight = 1e-9
    mean = images[:, alive & ~gone].sum(axis=1) / max((alive & ~gone).sum(), 1)
    return np.linalg.solve(matrix + weight * np.eye(len(own)), value + weight * mean).T
