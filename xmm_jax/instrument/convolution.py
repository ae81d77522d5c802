"""Blur with a PSF that changes over the field, as a sum of a few ordinary convolutions.

The PSF at position x' is written as sum_k c_k(x') B_k, with B_k the leading singular vectors of the
PSFs of the whole field. Multiplying the source map by c_k first makes it K Fourier transforms, one
sum and one transform back.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument import psf
from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import Camera, canvas_axes, off_axis
from xmm_jax.instrument.detector import mask

AZIMUTHS = 32  # of half a turn: a kernel turned by half a turn is the same kernel
FINE_AZIMUTHS = 512  # for linear interpolation of the coefficients


class Basis(NamedTuple):
    """The PSFs of the field in K common kernels.

    Attributes
    ----------
    kernels : ndarray
        [k, y, x], orthonormal.
    coefficients : ndarray
        [node, azimuth, k], the azimuths covering half a turn.
    """

    kernels: np.ndarray
    coefficients: np.ndarray


def low_rank_basis(camera: Camera, *, rank: int, half_width: int, core_scale: float = 1.0) -> Basis:
    """Best K kernels for the PSFs of the field of view, every live pixel counting the same.

    Parameters
    ----------
    camera : Camera
        The camera.
    rank : int
        Number of kernels K.
    half_width : int
        A kernel has 2 half_width + 1 pixels a side.
    core_scale : float
        Factor on the core radius of the PSF.

    Returns
    -------
    Basis
        Kernels and the coefficients at the nodes of the PSF.
    """
    azimuth = np.pi * np.arange(AZIMUTHS) / AZIMUTHS
    kernels = psf.node_kernels(camera, azimuth, half_width=half_width, core_scale=core_scale)
    count = len(kernels)
    flat = kernels.reshape(count, AZIMUTHS, -1)

    # Mean over the live pixels of PSF x PSF: PSFs between two nodes are blends of these, so the
    # second moments of the blending weights are all that is needed of the field.
    y, x = np.nonzero(mask(camera))
    angle, turn = off_axis(camera, x, y)
    place = np.interp(angle, psf.nodes(camera)["off_axis"], np.arange(count))
    below = np.minimum(place.astype(int), count - 2)
    blend = place - below
    sector = np.round(turn / np.pi * AZIMUTHS).astype(int) % AZIMUTHS
    moment = np.zeros((AZIMUTHS, count, count))
    for first, weight_first in ((below, 1.0 - blend), (below + 1, blend)):
        for second, weight_second in ((below, 1.0 - blend), (below + 1, blend)):
            np.add.at(moment, (sector, first, second), weight_first * weight_second)
    # moment = root root^T turns the weighted second moment into the SVD of one stack of kernels.
    values, vectors = np.linalg.eigh(moment)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))[:, None, :]
    stack = np.einsum("anm,nap->amp", root, flat).reshape(-1, flat.shape[-1])
    gram_values, gram_vectors = np.linalg.eigh(stack @ stack.T)
    order = np.argsort(gram_values)[::-1][:rank]
    basis = gram_vectors[:, order].T @ stack
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)

    # A low-rank PSF does not sum to 1 by itself; the scale makes it, so that no light is lost.
    coefficients = flat @ basis.T
    coefficients /= (coefficients @ basis.sum(axis=1))[..., None]
    side = 2 * half_width + 1
    return Basis(basis.reshape(rank, side, side), coefficients)


def basis_of(kernels: np.ndarray, *, rank: int) -> Basis:
    """Best K kernels for given kernels, every one counting the same.

    Parameters
    ----------
    kernels : ndarray
        [node, azimuth, y, x], at the nodes of the PSF and `AZIMUTHS` directions of half a turn.
    rank : int
        Number of kernels K.

    Returns
    -------
    Basis
        Scaled so that no light is lost.
    """
    nodes, azimuths, *sides = kernels.shape
    flat = kernels.reshape(nodes * azimuths, -1)
    _, vectors = np.linalg.eigh(flat @ flat.T)  # the leading singular vectors, in ascending order
    basis = vectors[:, -rank:].T @ flat
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    coefficients = (flat @ basis.T).reshape(nodes, azimuths, rank)
    coefficients /= (coefficients @ basis.sum(axis=1))[..., None]
    return Basis(basis.reshape(rank, *sides), coefficients)


def coefficient_maps(camera: Camera, basis: Basis, upscale: int) -> np.ndarray:
    """Coefficients of the kernels at every pixel of the canvas.

    Parameters
    ----------
    camera : Camera
        The camera.
    basis : Basis
        Kernels and coefficients at the nodes.
    upscale : int
        Pixels per native pixel and side.

    Returns
    -------
    ndarray
        float32 [k, y, x].
    """
    spectrum = np.fft.rfft(basis.coefficients, axis=1)
    fine = np.fft.irfft(spectrum, FINE_AZIMUTHS, axis=1) * (FINE_AZIMUTHS / AZIMUTHS)
    fine = fine.astype(np.float32).transpose(2, 0, 1)  # [k, node, azimuth]
    x, y = canvas_axes(camera, upscale)
    angle, turn = off_axis(camera, x[None, :], y[:, None])
    count = fine.shape[1]
    place = np.interp(angle, psf.nodes(camera)["off_axis"], np.arange(count))
    below = np.minimum(place.astype(int), count - 2)
    blend = (place - below).astype(np.float32)
    step = (turn % np.pi) / np.pi * FINE_AZIMUTHS
    left = step.astype(int) % FINE_AZIMUTHS
    right, part = (left + 1) % FINE_AZIMUTHS, (step % 1.0).astype(np.float32)

    def turned(table: np.ndarray, node: np.ndarray) -> np.ndarray:
        return (1.0 - part) * table[node, left] + part * table[node, right]

    return np.stack(
        [(1.0 - blend) * turned(one, below) + blend * turned(one, below + 1) for one in fine]
    )


def kernel_transforms(basis: Basis, size: int) -> np.ndarray:
    """Fourier transforms of the kernels on a canvas, centred on pixel (0, 0).

    Parameters
    ----------
    basis : Basis
        The kernels.
    size : int
        Side of the canvas [pixel].

    Returns
    -------
    ndarray
        complex64 [k, y, x // 2 + 1].
    """
    rank, side, _ = basis.kernels.shape
    canvas = np.zeros((rank, size, size))
    canvas[:, :side, :side] = basis.kernels
    canvas = np.roll(canvas, (-(side // 2), -(side // 2)), axis=(1, 2))
    return np.fft.rfft2(canvas).astype(np.complex64)


def convolve(source: jax.Array, coefficients: Table, transforms: Table) -> jax.Array:
    """Blur a source map with the PSF of each of its pixels.

    Parameters
    ----------
    source : array
        Canvas [y, x], any unit; periodic at its edges.
    coefficients : array
        [k, y, x], from `coefficient_maps`, times any factor that acts before the PSF.
    transforms : array
        [k, y, x // 2 + 1], from `kernel_transforms`.

    Returns
    -------
    array
        [y, x], not negative: the small negative ripples of a truncated sum are cut.
    """
    spectrum = jnp.sum(jnp.fft.rfft2(coefficients * source[None]) * transforms, axis=0)
    return jnp.maximum(jnp.fft.irfft2(spectrum, s=source.shape), 0.0)
