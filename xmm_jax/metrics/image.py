"""Quality of images in the convention of the paper's tables 4 and 5, one value per image.

Rates are divided by the clip rate of the target and clamped to [0, 1]; the tables take no stretch,
count dead pixels as zero on both sides and include the padding (Sweere et al. 2022 and the
published code). Dead pixels and padding agree by construction and raise every score, so the same
measures are also there over live pixels alone.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Literal

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError
from xmm_jax.losses import LOSSES
from xmm_jax.losses.pixel import EPSILON
from xmm_jax.losses.ssim import TORCHMETRICS_TAPS, ms_ssim, ssim
from xmm_jax.metrics.fsim import fsim
from xmm_jax.metrics.gmsd import gmsd, ms_gmsd
from xmm_jax.metrics.haarpsi import haarpsi
from xmm_jax.metrics.mdsi import mdsi
from xmm_jax.metrics.vif import vifp
from xmm_jax.models.stretch import normalise

Measure = Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array]

# More than 192 pixels on each side are needed for the coarsest scale, as in the published code.
MULTI_SCALE_SIDE = 192


def compare(
    rate: jax.Array,
    truth: jax.Array,
    *,
    clip_rate: float,
    stretch: str = "linear",
    names: Iterable[str] | None = None,
    valid: jax.Array | None = None,
    region: Literal["frame", "mask"] = "frame",
) -> dict[str, jax.Array]:
    """Figures of images against the truth.

    Parameters
    ----------
    rate, truth : array
        Rates [count/s/pixel] on the same grid, ``[b, y, x, 1]``, 0 where dead.
    clip_rate : float
        Rate at value 1 [count/s/pixel]: the clip rate of the target.
    stretch : str
        Stretch under which to compare; the paper's tables take linear.
    names : iterable of str, optional
        Keys of `MEASURES`; by default the quick ones that training watches.
    valid : array of bool, optional
        Live pixels of the target, same shape; rate and truth count as 0 elsewhere.
    region : {"frame", "mask"}
        frame: as in the paper, everything counts; mask: only what is centred on live pixels.

    Returns
    -------
    dict of str to array
        By name, each ``[b]``. By default ``L1 L2 PSNR Poisson SSIM MS_SSIM``, the last only for
        images of more than 192 pixels on each side.

    Raises
    ------
    InputError
        If a name is unknown, the image is too small for a measure asked for, or the region is the
        mask and there is none.
    """
    names = _quick(truth) if names is None else tuple(names)
    if unknown := [name for name in names if name not in MEASURES]:
        raise InputError(f"measure {unknown[0]!r} is unknown; choose from {', '.join(MEASURES)}")
    if region not in ("frame", "mask") or (region == "mask" and valid is None):
        raise InputError(f"region {region!r}: choose frame, or mask together with valid")
    if valid is not None:
        rate, truth = (jnp.where(valid, x, 0.0) for x in (rate, truth))
    prediction, target = (normalise(x, clip_rate, stretch) for x in (rate, truth))
    live = valid if region == "mask" else None
    return {name: MEASURES[name](prediction, target, live) for name in names}


def upsample_input(rate: jax.Array, upscale: int) -> jax.Array:
    """Bring the input to the grid of the target without adding anything.

    Parameters
    ----------
    rate : array
        Rate [count/s/pixel], ``[b, y, x, 1]``.
    upscale : int
        Target pixels per pixel along each axis.

    Returns
    -------
    array
        Rate [count/s/pixel of the target], ``[b, s*y, s*x, 1]``: each pixel spread evenly.
    """
    return jnp.repeat(jnp.repeat(rate, upscale, axis=1), upscale, axis=2) / upscale**2


def _quick(image: jax.Array) -> tuple[str, ...]:
    large = min(image.shape[1:3]) > MULTI_SCALE_SIDE
    return (*QUICK, "MS_SSIM") if large else QUICK


def _pixels(loss: str) -> Measure:
    """Mean over pixels; the terms of dead ones are 0."""

    def measure(prediction: jax.Array, target: jax.Array, live: jax.Array | None) -> jax.Array:
        value = LOSSES[loss](prediction, target)
        return value if live is None else value / jnp.mean(live, axis=(1, 2, 3))

    return measure


def _psnr(prediction: jax.Array, target: jax.Array, live: jax.Array | None) -> jax.Array:
    return -10 * jnp.log10(_pixels("l2")(prediction, target, live) + EPSILON)


_TORCHMETRICS = {"taps": TORCHMETRICS_TAPS, "mirror": True}

MEASURES: dict[str, Measure] = {
    "L1": _pixels("l1"),
    "L2": _pixels("l2"),
    "PSNR": _psnr,
    "Poisson": _pixels("poisson"),
    "SSIM": ssim,
    "MS_SSIM": ms_ssim,
    "FSIM": fsim,
    "HaarPSI": haarpsi,
    "VIFp": vifp,
    "GMSD": gmsd,
    "MS_GMSD": ms_gmsd,
    "MDSI": mdsi,
    "SSIM_torchmetrics": functools.partial(ssim, **_TORCHMETRICS),
    "MS_SSIM_torchmetrics": functools.partial(ms_ssim, **_TORCHMETRICS),
}
"""All measures by name; the last two are other conventions, not other quantities."""

QUICK = ("L1", "L2", "PSNR", "Poisson", "SSIM")
PAPER = ("L1", "PSNR", "Poisson", "SSIM", "MS_SSIM", "FSIM", "HaarPSI")
"""Columns of the paper's tables 4 and 5."""
SMALLER_IS_BETTER = frozenset({"L1", "L2", "Poisson", "GMSD", "MS_GMSD", "MDSI"})
