"""What an EPIC camera is: its image frame, its optical axis, its field of view.

Positions are (x, y), 0-based, pixel centres at integers, in native pixels (4 arcsec for EPIC-pn)
unless said otherwise. Frames at `upscale` m hold m times as many pixels a side, registered with the
native one: native = (fine + 0.5) / m - 0.5.
"""

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """Geometry of one camera; every position and length in native pixels unless the name says so.

    Attributes
    ----------
    name : str
        Name of the camera in lower case.
    shape : tuple of int
        Rows and columns (y, x) of the native frame.
    pixel_arcsec : float
        Side of an image pixel [arcsec].
    physical_pixel_arcsec : float
        Side of a detector pixel [arcsec]; events are spread uniformly over it.
    band_kev : tuple of float
        Energy band that the numbers of this package hold for [keV].
    axis : tuple of float
        Optical axis (x, y).
    fov_centre, fov_radius : tuple of float, float
        Circle of the field of view; for EPIC-pn not centred on the optical axis.
    live_rows : tuple of int
        First and last row (inclusive) that see the sky.
    half_rows : tuple of int
        Last row of the lower half of CCDs, first row of the upper half.
    ccd_edges : tuple of float
        Columns of the middle of the gaps between the CCDs of a half.
    pad_low, padded : tuple of int, int
        Columns and rows (x, y) added at the low side to make a square of `padded` pixels.
    canvas_low, canvas : tuple of int, int
        The same for the canvas of the simulator, a size that FFTs are fast at.
    det_origin, det_step : tuple of float, float
        (DETX, DETY) of the centre of pixel (0, 0) and step per pixel [0.05 arcsec].
    out_of_time : float
        Fraction of events registered while the frame is read out.
    """

    name: str
    shape: tuple[int, int]
    pixel_arcsec: float
    physical_pixel_arcsec: float
    band_kev: tuple[float, float]
    axis: tuple[float, float]
    fov_centre: tuple[float, float]
    fov_radius: float
    live_rows: tuple[int, int]
    half_rows: tuple[int, int]
    ccd_edges: tuple[float, ...]
    pad_low: tuple[int, int]
    padded: int
    canvas_low: tuple[int, int]
    canvas: int
    det_origin: tuple[float, float]
    det_step: float
    out_of_time: float


# Frame, axis and circle: headers of the published images of Sweere et al. 2022 (MNRAS 517, 4054)
# and the ESAS region circle(-2200, -1110, 17980) in DET units. Detector pixel: 150 um at a focal
# length of 7493.2 mm. Out-of-time fraction of the full-frame mode: XMM-Newton Users' Handbook.
PN = Camera(
    name="pn",
    shape=(411, 403),
    pixel_arcsec=4.0,
    physical_pixel_arcsec=4.129,
    band_kev=(0.5, 2.0),
    axis=(243.0, 223.0),
    fov_centre=(200.5, 205.0),
    fov_radius=224.75,
    live_rows=(11, 398),
    half_rows=(203, 206),
    ccd_edges=(65.5, 133.0, 200.5, 268.0, 335.5),
    pad_low=(6, 2),
    padded=416,
    canvas_low=(14, 10),
    canvas=432,
    det_origin=(-18243.5, -17487.5),
    det_step=80.0,
    out_of_time=0.063,
)


def to_native(index, upscale: int):
    """Position in native pixels of a position in pixels `upscale` times finer.

    Parameters
    ----------
    index : float or array
        Position [pixel of the fine grid].
    upscale : int
        Native pixels are this many times larger.

    Returns
    -------
    float or array
        Position [native pixel].
    """
    return (index + 0.5) / upscale - 0.5


def from_native(index, upscale: int):
    """Position in pixels `upscale` times finer of a position in native pixels.

    Parameters
    ----------
    index : float or array
        Position [native pixel].
    upscale : int
        Native pixels are this many times larger.

    Returns
    -------
    float or array
        Position [pixel of the fine grid].
    """
    return (index + 0.5) * upscale - 0.5


def frame_axes(camera: Camera, upscale: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of the frame.

    Parameters
    ----------
    camera : Camera
        The camera.
    upscale : int
        Pixels per native pixel and side.

    Returns
    -------
    x, y : ndarray
        Columns [upscale * 403] and rows [upscale * 411] in native pixels.
    """
    rows, columns = camera.shape
    x, y = np.arange(upscale * columns), np.arange(upscale * rows)
    return to_native(x, upscale), to_native(y, upscale)


@functools.lru_cache(maxsize=2)
def angle_map(camera: Camera, upscale: int) -> np.ndarray:
    """Off-axis angle of the pixels of the frame [arcmin], ``[s*y, s*x]`` float32."""
    x, y = frame_axes(camera, upscale)
    return off_axis(camera, x[None, :], y[:, None])[0].astype(np.float32)


def canvas_axes(camera: Camera, upscale: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of the canvas: the frame with a margin all around.

    Parameters
    ----------
    camera : Camera
        The camera.
    upscale : int
        Pixels per native pixel and side.

    Returns
    -------
    x, y : ndarray
        Columns and rows [upscale * canvas] in native pixels; negative left of and below the frame.
    """
    index = to_native(np.arange(upscale * camera.canvas), upscale)
    return index - camera.canvas_low[0], index - camera.canvas_low[1]


def crop_canvas(camera: Camera, image, upscale: int):
    """Cut the frame out of a canvas.

    Parameters
    ----------
    camera : Camera
        The camera.
    image : array
        Canvas [..., y, x].
    upscale : int
        Pixels per native pixel and side.

    Returns
    -------
    array
        Frame [..., y, x].
    """
    column, row = (upscale * low for low in camera.canvas_low)
    rows, columns = (upscale * size for size in camera.shape)
    return image[..., row : row + rows, column : column + columns]


def off_axis(camera: Camera, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Off-axis angle and azimuth of positions (numpy, for tables made at set-up).

    Parameters
    ----------
    camera : Camera
        The camera.
    x, y : ndarray
        Positions [native pixel], broadcast against each other.

    Returns
    -------
    off_axis_arcmin, azimuth : ndarray
        Angle from the optical axis [arcmin] and azimuth from +x to +y [rad].
    """
    dx, dy = x - camera.axis[0], y - camera.axis[1]
    return np.hypot(dx, dy) * camera.pixel_arcsec / 60.0, np.arctan2(dy, dx)
