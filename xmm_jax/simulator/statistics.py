"""Numbers that describe the shape of an extended source, for comparing skies (numpy)."""

from typing import NamedTuple

import numpy as np

PROFILE_BIN_ARCSEC = 20.0


class Shape(NamedTuple):
    """Shape of one source.

    Attributes
    ----------
    peak : float
        Highest brightness after smoothing with 8 arcsec (sigma) over the mean of the box of 144
        arcsec about the centre.
    slope_1, slope_5 : float
        Logarithmic slope of the radial profile at 1 and 5 arcmin.
    spectrum : float
        Logarithmic slope of the power spectrum between 25 and 400 arcsec.
    residual_spectrum : float
        The same after division by the radial profile.
    residual_rms : float
        Relative scatter after division by the radial profile, on scales of 25 to 400 arcsec.
    contrast : float
        99.9th over 10th percentile of the smoothed brightness.
    """

    peak: float
    slope_1: float
    slope_5: float
    spectrum: float
    residual_spectrum: float
    residual_rms: float
    contrast: float


def measure_shape(
    rate: np.ndarray,
    vignetting: np.ndarray,
    centre: tuple[float, float],
    *,
    pixel_arcsec: float,
    zoom: float = 1.0,
    noise: np.ndarray | None = None,
) -> Shape:
    """Shape of a source on an image without other sources.

    Parameters
    ----------
    rate : ndarray
        Brightness as seen, any unit, [y, x]; counts may be passed with their variance as `noise`.
    vignetting : ndarray
        Vignetting factor [y, x]; the light is divided by it.
    centre : tuple of float
        Centre (x, y) [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec].
    zoom : float
        The box about the centre has 144 zoom arcsec a side.
    noise : ndarray, optional
        Variance of each pixel of `rate` (the counts themselves); its power is subtracted.

    Returns
    -------
    Shape
        The numbers, defined as for the simulations of Sweere et al. 2022 (Hann window).
    """
    light = np.asarray(rate, float) / vignetting
    rows, columns = light.shape
    dx, dy = np.arange(columns) - centre[0], np.arange(rows) - centre[1]
    half_side = 72.0 * zoom / pixel_arcsec
    box = light[np.ix_(np.abs(dy) <= half_side, np.abs(dx) <= half_side)].mean()
    smooth = _smooth(light, 8.0 / pixel_arcsec)

    radius = np.hypot(dx[None, :], dy[:, None]) * pixel_arcsec
    profile = _profile(radius, light)
    nodes = (np.arange(len(profile)) + 0.5) * PROFILE_BIN_ARCSEC
    model = np.maximum(np.interp(radius, nodes, profile), 1e-3 * profile.max())

    window = np.hanning(rows)[:, None] * np.hanning(columns)[None, :]
    variance = np.zeros_like(light) if noise is None else noise / np.square(vignetting)
    spectrum, _ = _spectrum(light - light.mean(), variance, window, pixel_arcsec)
    relative = light / model - 1.0
    residual, rms = _spectrum(
        relative - relative.mean(), variance / np.square(model), window, pixel_arcsec
    )
    bright, faint = np.percentile(smooth, [99.9, 10.0])
    return Shape(
        peak=float(smooth.max() / box),
        slope_1=_slope(nodes, profile, 60.0),
        slope_5=_slope(nodes, profile, 300.0),
        spectrum=spectrum,
        residual_spectrum=residual,
        residual_rms=rms,
        contrast=float(bright / max(faint, 1e-4 * bright)),
    )


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing, periodic."""
    wave_y, wave_x = np.fft.fftfreq(image.shape[0]), np.fft.rfftfreq(image.shape[1])
    square = np.square(wave_y)[:, None] + np.square(wave_x)[None, :]
    return np.fft.irfft2(
        np.fft.rfft2(image) * np.exp(-2.0 * np.square(np.pi * sigma) * square), s=image.shape
    )


def _profile(radius: np.ndarray, light: np.ndarray) -> np.ndarray:
    ring = (radius / PROFILE_BIN_ARCSEC).astype(int).ravel()
    count = np.bincount(ring)
    last = np.flatnonzero(count)[-1] + 1
    return np.bincount(ring, light.ravel())[:last] / np.maximum(count[:last], 1)


def _slope(nodes: np.ndarray, profile: np.ndarray, at: float) -> float:
    """Slope of a straight line in logarithms through the profile within a factor 1.6."""
    near = (nodes > at / 1.6) & (nodes < at * 1.6)
    near[: len(profile)] &= profile > 0
    if near.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(nodes[near]), np.log(profile[near]), 1)[0])


def _spectrum(
    image: np.ndarray, variance: np.ndarray, window: np.ndarray, pixel_arcsec: float
) -> tuple[float, float]:
    """Slope of the power between 25 and 400 arcsec, and the scatter it stands for."""
    rows, columns = image.shape
    power = np.square(np.abs(np.fft.fft2(image * window))) - np.sum(variance * np.square(window))
    wave = np.hypot(
        np.fft.fftfreq(rows, pixel_arcsec)[:, None], np.fft.fftfreq(columns, pixel_arcsec)[None, :]
    )
    band = (wave > 1 / 400) & (wave < 1 / 25)
    rms = np.sqrt(max(power[band].sum(), 0.0) / (rows * columns * np.sum(np.square(window))))
    edges = np.geomspace(1 / 400, 1 / 25, 9)
    ring = np.digitize(wave[band], edges) - 1
    mean = np.bincount(ring, power[band], 8) / np.maximum(np.bincount(ring, minlength=8), 1)
    middle, good = np.sqrt(edges[1:] * edges[:-1]), mean > 0
    if good.sum() < 3:
        return float("nan"), float(rms)
    slope = np.polyfit(np.log(middle[good]), np.log(mean[good]), 1)[0]
    return float(slope), float(rms)
