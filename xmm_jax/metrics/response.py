"""What lies between a super-resolved image and the input: residual blur, pixels, readout.

The target of super-resolution has half the PSF. The blur that makes the whole PSF of it is the
quotient of the two in Fourier space; King profiles have long wings, which blur each other into
like profiles, so the quotient is well behaved. It changes over the field as the PSF does.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument import convolution, psf
from xmm_jax.instrument.camera import PN, Camera, crop_canvas
from xmm_jax.instrument.detector import mask, pixel_response, smear_out_of_time
from xmm_jax.losses.ssim import blur, window
from xmm_jax.simulator.presets import find_preset

UPSCALE = 2
# Share of the largest squared transform below which a frequency is not restored.
CUTOFF = 1e-6
# Weights of the neighbours that a dead pixel is filled from; gaps are 6 fine pixels wide.
FILL = window(13, 2.5)


def instrument_response(
    preset: str = "physical", *, camera: Camera = PN, rank: int = 6
) -> Callable[[np.ndarray], np.ndarray]:
    """What makes the expected rate of the input of a super-resolved rate.

    Parameters
    ----------
    preset : str
        Kind of simulation, ``"physical"`` or ``"reference"``; real images are like the former.
    camera : Camera
        The camera.
    rank : int
        Common kernels of the blur.

    Returns
    -------
    callable
        From a rate of the native frame at half the pixel [count/s/pixel], ``[2 y, 2 x]``, to a rate
        of the input, ``[y, x]``, without background.
    """
    constants = find_preset(preset)
    basis = residual_basis(
        camera, rank=rank, half_width=constants.kernel_half_width, core_scale=constants.core_scale
    )
    maps = convolution.coefficient_maps(camera, basis, UPSCALE)
    transforms = convolution.kernel_transforms(basis, UPSCALE * camera.canvas)
    live, share = mask(camera), pixel_response(camera)
    seen = mask(camera, UPSCALE)
    low = [UPSCALE * side for side in camera.canvas_low[::-1]]

    @jax.jit
    def respond(rate: jax.Array, maps: jax.Array, transforms: jax.Array) -> jax.Array:
        size = UPSCALE * camera.canvas
        margin = [(a, size - a - side) for a, side in zip(low, rate.shape, strict=True)]
        image = convolution.convolve(jnp.pad(_fill(rate, seen), margin), maps, transforms)
        image = crop_canvas(camera, image, UPSCALE)
        height, width = (side // UPSCALE for side in image.shape)
        image = image.reshape(height, UPSCALE, width, UPSCALE).sum(axis=(1, 3))
        if constants.detector_effects:
            image = smear_out_of_time(camera, image, live) * share
        return image

    return lambda rate: np.asarray(respond(jnp.asarray(rate, jnp.float32), maps, transforms))


def _fill(rate: jax.Array, seen: np.ndarray) -> jax.Array:
    """Give dead pixels the mean of live ones around them: their light reaches live pixels too."""
    half = len(FILL) // 2
    both = jnp.pad(jnp.stack([rate * seen, seen.astype(rate.dtype)]), ((0, 0), *2 * [(half, half)]))
    total, weight = blur(both, FILL)
    return jnp.where(seen, rate, total / jnp.maximum(weight, 1e-3))


def residual_basis(
    camera: Camera, *, rank: int, half_width: int, core_scale: float
) -> convolution.Basis:
    """Blur between half the PSF and the whole one, as a sum of a few kernels.

    Parameters
    ----------
    camera : Camera
        The camera.
    rank : int
        Number of kernels.
    half_width : int
        The PSFs have 2 half_width + 1 pixels a side of their grid, the blur 4 half_width + 1 fine
        pixels.
    core_scale : float
        Factor on the core radius of both PSFs.

    Returns
    -------
    Basis
        For `xmm_jax.instrument.convolution.coefficient_maps`.
    """
    azimuth = np.arange(convolution.AZIMUTHS) * np.pi / convolution.AZIMUTHS
    fine = dataclasses.replace(camera, pixel_arcsec=camera.pixel_arcsec / UPSCALE)
    wide = UPSCALE * half_width
    side, margin = 2 * wide + 1, wide - half_width
    # The kernel of the target in its pixels is that of the input in the pixels of the input.
    sharp = psf.node_kernels(camera, azimuth, half_width=half_width, core_scale=core_scale)
    sharp = np.pad(sharp, [(0, 0), (0, 0), (margin, margin), (margin, margin)])
    whole = psf.node_kernels(fine, azimuth, half_width=wide, core_scale=core_scale)
    sharp, whole = (np.fft.rfft2(np.fft.ifftshift(one, (-2, -1))) for one in (sharp, whole))
    size = np.abs(sharp) ** 2
    ratio = whole * sharp.conj() / (size + CUTOFF * size.max())
    kernels = np.fft.fftshift(np.fft.irfft2(ratio, s=(side, side)), (-2, -1))
    return convolution.basis_of(kernels, rank=rank)
