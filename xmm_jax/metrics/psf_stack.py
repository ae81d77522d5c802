"""The shape that an image gives to points: isolated sources laid on top of each other.

Each source is turned so that the direction to the optical axis is the x axis of the stack: off axis
the PSF of XMM-Newton is an arc about the axis, which a plain stack would average away.
"""

import numpy as np

from xmm_jax.instrument.camera import PN, Camera, from_native
from xmm_jax.instrument.camera import off_axis as angles
from xmm_jax.metrics.detection import Table

HALF_ARCSEC = 30.0  # of the stack; energies are shares of what is inside this radius
CORE_ARCSEC = 12.0  # must be live, and is where the profile is fitted
LEAST_COUNTS = 100.0
NEIGHBOUR_SHARE = 0.1  # of the counts of a source that all neighbours may have together


def isolated(true: Table, live: np.ndarray, *, camera: Camera = PN) -> np.ndarray:
    """Which true sources stand alone on live pixels with 100 counts or more.

    Parameters
    ----------
    true : dict of ndarray
        ``x``, ``y`` [native pixel] and ``counts``, from `xmm_jax.metrics.sources.visible`.
    live : ndarray of bool
        Live pixels, ``[y, x]`` native.
    camera : Camera
        The camera.

    Returns
    -------
    ndarray of bool
        [source]. Neighbours within 30 arcsec have less than a tenth of its counts together.
    """
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import KDTree

    spots = np.column_stack([true["x"], true["y"]])
    if not len(spots):
        return np.zeros(0, bool)
    near = KDTree(spots).query_ball_point(spots, HALF_ARCSEC / camera.pixel_arcsec)
    others = np.array([true["counts"][one].sum() for one in near]) - true["counts"]
    room = np.asarray(distance_transform_edt(np.pad(live, 1))) * camera.pixel_arcsec
    row, column = np.rint(spots[:, ::-1]).astype(int).T + 1
    alone = others <= NEIGHBOUR_SHARE * true["counts"]
    return alone & (true["counts"] >= LEAST_COUNTS) & (room[row, column] > CORE_ARCSEC)


def stack(
    rate: np.ndarray, x: np.ndarray, y: np.ndarray, *, upscale: int, camera: Camera = PN
) -> np.ndarray:
    """Sum of the images of sources, turned towards the optical axis.

    Parameters
    ----------
    rate : ndarray
        Image [count/s/pixel], ``[s*y, s*x]``.
    x, y : ndarray
        True positions [native pixel], e.g. of `isolated` sources in one range of off-axis angles.
    upscale : int
        Pixels of the image per native pixel and side.
    camera : Camera
        The camera.

    Returns
    -------
    ndarray
        [tangential, radial] on pixels of the image, odd side, centred, background taken off; cubic
        splines between pixels. Sums of several fields may be added.
    """
    from scipy.ndimage import map_coordinates

    pixel = camera.pixel_arcsec / upscale
    half = int(HALF_ARCSEC / pixel)
    tangential, radial = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    total = np.zeros(radial.shape)
    if not len(x):
        return total
    _, turns = angles(camera, np.asarray(x, float), np.asarray(y, float))
    rim = np.hypot(radial, tangential) > 0.8 * half
    for spot_x, spot_y, turn in zip(x, y, turns, strict=True):
        column = from_native(spot_x, upscale) + radial * np.cos(turn) - tangential * np.sin(turn)
        row = from_native(spot_y, upscale) + radial * np.sin(turn) + tangential * np.cos(turn)
        # Only the cut is filtered: a spline of the whole image would be made for every source.
        low = [max(int(axis.min()) - 12, 0) for axis in (row, column)]
        cut = rate[low[0] : int(row.max()) + 13, low[1] : int(column.max()) + 13]
        stamp = map_coordinates(cut.astype(float), [row - low[0], column - low[1]], order=3)
        total += stamp - np.median(stamp[rim])
    return total


def shape(stamp: np.ndarray, pixel_arcsec: float) -> dict[str, float]:
    """Widths of a stack.

    Parameters
    ----------
    stamp : ndarray
        From `stack`.
    pixel_arcsec : float
        Its pixel [arcsec].

    Returns
    -------
    dict of str to float
        ``fwhm`` [arcsec], geometric mean of the two axes of an elliptical Moffat profile (Moffat
        1969, A&A 3, 455) fitted within 12 arcsec; ``ellipticity`` = 1 - radial / tangential width,
        above 0 off axis; ``hew`` [arcsec], diameter of the circle that holds half of what is within
        30 arcsec. Image and detector pixels are part of the shape. NaN for an empty stack.
    """
    from scipy.optimize import least_squares

    half = stamp.shape[0] // 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1] * pixel_arcsec
    radius = np.hypot(u, v)
    if not np.isfinite(stamp).all() or stamp[half, half] <= 0:
        return dict.fromkeys(("fwhm", "ellipticity", "hew"), np.nan)
    inside = radius <= CORE_ARCSEC
    values = stamp[inside] / stamp.max()

    def off(p: np.ndarray) -> np.ndarray:
        square = (u[inside] - p[4]) ** 2 / np.exp(2 * p[1]) + (v[inside] - p[5]) ** 2 / np.exp(
            2 * p[2]
        )
        # Widths are half widths at half maximum, whatever the slope is.
        slope = np.exp(p[3])
        return p[0] * (1 + square * (2 ** (1 / slope) - 1)) ** -slope + p[6] - values

    start = [1.0, np.log(4.0), np.log(4.0), np.log(2.0), 0.0, 0.0, 0.0]
    fit = least_squares(off, start, bounds=([0, -1, -1, 0, -6, -6, -1], [9, 4, 4, 4, 6, 6, 1]))
    along, across = np.exp(fit.x[1:3])
    # A pixel on the circle counts by how far it reaches inside.
    steps = np.arange(0.0, HALF_ARCSEC, pixel_arcsec / 10)
    reach = np.clip((steps - radius[..., None]) / pixel_arcsec + 0.5, 0.0, 1.0)
    energy = np.tensordot(stamp, reach, axes=2)
    half_energy = steps[int(np.argmax(energy >= 0.5 * energy[-1]))]
    return {
        "fwhm": float(2.0 * np.sqrt(along * across)),
        "ellipticity": float(1.0 - along / across),
        "hew": float(2.0 * half_energy),
    }
