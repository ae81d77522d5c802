"""The tables that all observations of one camera on one pair of pixel grids share."""

from typing import NamedTuple

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.instrument import convolution
from xmm_jax.instrument.calibration import Table
from xmm_jax.instrument.camera import PN, Camera, canvas_axes, frame_axes, off_axis
from xmm_jax.instrument.detector import mask, pixel_response
from xmm_jax.instrument.vignetting import vignetting_map
from xmm_jax.simulator.presets import Preset, find_preset
from xmm_jax.simulator.sky import SKY_UPSCALE


class Grid(NamedTuple):
    """Everything that is fixed about one pixel grid.

    Attributes
    ----------
    coefficients, transforms : array
        Low-rank PSF of the canvas, [k, y, x] and [k, y, x // 2 + 1]; vignetting is in the first.
    vignetting, off_axis_arcmin : array
        Of the frame [y, x].
    response : array
        Response of the columns [y, x].
    live : array
        Pixels that see the sky, bool [y, x].
    """

    coefficients: Table
    transforms: Table
    vignetting: Table
    off_axis_arcmin: Table
    response: Table
    live: Table


class Optics(NamedTuple):
    """What `build_optics` returns: the grids of input and target, and the vignetting of the sky."""

    counts: Grid
    target: Grid
    sky_vignetting: Table


def build_optics(
    preset: str = "physical", *, upscale: int, camera: Camera = PN, rank: int | None = None
) -> Optics:
    """Tables that every observation shares; made once, in about a second.

    Parameters
    ----------
    preset : str
        ``"physical"`` or ``"reference"``.
    upscale : int
        Pixels of the target per pixel of the input and side, 1 or 2.
    camera : Camera
        The camera.
    rank : int, optional
        Number of common PSF kernels; the preset's by default.

    Returns
    -------
    Optics
        Nested tuples of numpy arrays, to be passed to `draw_pair`.

    Raises
    ------
    InputError
        For an unknown preset or another upscale.
    """
    constants = find_preset(preset)
    if upscale not in (1, SKY_UPSCALE):
        raise InputError(f"upscale {upscale} cannot be simulated; choose 1 or {SKY_UPSCALE}")
    basis = convolution.low_rank_basis(
        camera,
        rank=rank or constants.rank,
        half_width=constants.kernel_half_width,
        core_scale=constants.core_scale,
    )
    counts = _build_grid(camera, constants, basis, 1)
    target = counts if upscale == 1 else _build_grid(camera, constants, basis, upscale)
    return Optics(counts, target, vignetting_map(camera, *canvas_axes(camera, SKY_UPSCALE)))


def _build_grid(camera: Camera, preset: Preset, basis: convolution.Basis, upscale: int) -> Grid:
    x, y = frame_axes(camera, upscale)
    angle, _ = off_axis(camera, x[None, :], y[:, None])
    canvas_vignetting = vignetting_map(camera, *canvas_axes(camera, upscale))
    live = mask(camera, upscale)
    response = pixel_response(camera, upscale)
    return Grid(
        coefficients=convolution.coefficient_maps(camera, basis, upscale) * canvas_vignetting,
        transforms=convolution.kernel_transforms(basis, upscale * camera.canvas),
        vignetting=vignetting_map(camera, x, y),
        off_axis_arcmin=angle.astype(np.float32),
        response=response if preset.detector_effects else np.ones_like(response),
        live=live,
    )
