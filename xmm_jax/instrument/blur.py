"""The blur of a camera and its adjoint on plain images, for deconvolution and forward checks."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import fft

from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import Camera
from xmm_jax.instrument.convolution import (
    AZIMUTHS,
    basis_of,
    coefficient_maps,
    kernel_transforms,
)
from xmm_jax.instrument.psf import node_kernels

Blur = Callable[[np.ndarray], np.ndarray]
RANK = 6
HALF_WIDTH = 15


def build_blur(
    camera: Camera,
    upscale: int,
    *,
    width: float = 1.0,
    half_width: int = HALF_WIDTH,
    core_scale: float = 1.0,
) -> tuple[Blur, Blur]:
    """Blur with the PSF of each place of the field, and the adjoint of that.

    Parameters
    ----------
    camera : Camera
        The camera.
    upscale : int
        Pixels of the images per native pixel and side.
    width : float
        Width of the PSF relative to that of the camera: 1 is the observation, on any grid;
        1 / upscale what the target of super-resolution has.
    half_width : int
        Kernels reach this far [native pixel, at width 1].
    core_scale : float
        Factor on the core radius of the PSF.

    Returns
    -------
    forward, adjoint : callable
        Image [y, x] -> image [y, x] of the frame or the padded frame; light that leaves the canvas
        around it is lost.
    """
    # Seen on pixels so much smaller, the kernel of the camera has the wanted width.
    scale = width * upscale
    fine = replace(camera, pixel_arcsec=camera.pixel_arcsec / scale)
    azimuth = np.arange(AZIMUTHS) * np.pi / AZIMUTHS
    kernels = node_kernels(
        fine, azimuth, half_width=round(half_width * scale), core_scale=core_scale
    )
    basis = basis_of(kernels, rank=RANK)
    weights = coefficient_maps(camera, basis, upscale)
    size = upscale * camera.canvas
    transforms = kernel_transforms(basis, size)

    def forward(image: np.ndarray) -> np.ndarray:
        canvas, window = _lay(image, camera, upscale)
        spectrum = np.zeros(transforms.shape[1:], np.complex64)
        for weight, kernel in zip(weights, transforms, strict=True):
            spectrum += fft.rfft2(weight * canvas) * kernel
        return np.maximum(np.asarray(fft.irfft2(spectrum, s=canvas.shape)), 0.0)[window]

    def adjoint(image: np.ndarray) -> np.ndarray:
        canvas, window = _lay(image, camera, upscale)
        spectrum = np.asarray(fft.rfft2(canvas))
        total = np.zeros(canvas.shape, np.float32)
        for weight, kernel in zip(weights, transforms, strict=True):
            total += weight * np.asarray(fft.irfft2(spectrum * kernel.conj(), s=canvas.shape))
        return total[window]

    return forward, adjoint


def _lay(image: np.ndarray, camera: Camera, upscale: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Image on the canvas of the simulator, and where it lies there."""
    frame = tuple(upscale * side for side in camera.shape)
    padded = (upscale * camera.padded,) * 2
    pads = {frame: (0, 0), padded: camera.pad_low}
    if image.shape not in pads:
        raise InputError(f"image of {image.shape} pixels; expected {frame} or {padded}")
    x, y = (
        upscale * (low - pad) for low, pad in zip(camera.canvas_low, pads[image.shape], strict=True)
    )
    window = slice(y, y + image.shape[0]), slice(x, x + image.shape[1])
    canvas = np.zeros((upscale * camera.canvas,) * 2, np.float32)
    canvas[window] = image
    return canvas, window
