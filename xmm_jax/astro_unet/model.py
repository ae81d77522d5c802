"""A trained Astro U-net: the network, what it is given, and answers to images of any size."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.astro_unet.config import AstroConfig, UNetConfig
from xmm_jax.models.unet import REACH, STEP, UNet
from xmm_jax.mosaic import mosaic
from xmm_jax.tiling import by_parts
from xmm_jax.trained import read_settings, restore_weights

# What stands out of the sky: this many sigma of the mean of 3 x 3 pixels, as ANALYSIS_THRESH.
STANDING_OUT = 3.0
GROUND = 25.0
"""Variance of a pixel without light that `stabilise` assumes [electron^2]: read noise and sky."""
CONTRAST = 0.2
"""What a residual network sees is this times stabilised electrons."""
SIDE = 1024
"""Pixels to keep of each part of a large image."""


@dataclasses.dataclass(frozen=True)
class AstroModel:
    """A network with weights; made by `load_run`.

    Attributes
    ----------
    name : str
        Of the run folder.
    network : UNetConfig
        What it is.
    params : pytree
        Its weights.
    step : int
        Of the run.
    config : AstroConfig
        How it was trained.
    """

    name: str
    network: UNetConfig
    params: Any
    step: int
    config: AstroConfig

    def denoise(
        self,
        rate: np.ndarray,
        valid: np.ndarray,
        *,
        exposure_s: float,
        ratio: float,
        band: int,
        published: bool,
    ) -> np.ndarray:
        """Rate as if exposed longer.

        Parameters
        ----------
        rate : ndarray
            [electron/s/pixel], [y, x], 0 where dead.
        valid : ndarray of bool
            Live pixels.
        exposure_s : float
            Exposure of the image [s].
        ratio : float
            How many times longer.
        band : int
            0 for F555W, 1 for F606W.
        published : bool
            Mean of windows of 256 pixels every 32, as in the paper: 64 times the work. Otherwise
            parts that overlap as far as the network sees, so that no seam is left.

        Returns
        -------
        ndarray
            [electron/s/pixel], [y, x] float32, 0 where dead.
        """
        about: dict[str, Any] = {"exposure_s": exposure_s, "ratio": ratio, "band": band}
        said = functools.partial(_answer, self.network, self.params, **about)
        images = {"rate": np.where(valid, rate, 0.0).astype(np.float32)[None]}
        if published:
            whole = mosaic(said, images)
        else:
            whole = by_parts(said, images, side=SIDE, reach=REACH, upscale=1, step=STEP)
        return np.where(valid, whole[0, ..., 0], 0.0).astype(np.float32)


def make_network(config: UNetConfig) -> UNet:
    """Network of settings."""
    return UNet(
        filters=config.filters,
        activation=config.activation,
        slope=config.slope,
        ratio=config.ratio,
        in_channels=config.bands + config.segmentation,
    )


def start_params(seed: int, config: UNetConfig) -> Any:
    """First weights, drawn from a seed."""
    network = make_network(config)
    inputs = jnp.zeros((1, STEP, STEP, network.in_channels))
    draw: Callable[..., Any] = jax.jit(network.init)
    return draw(jax.random.key(seed), inputs, jnp.ones(1))["params"]


def answer(
    network: UNet,
    params: Any,
    rate: jax.Array,
    exposure_s: jax.Array,
    ratio: jax.Array,
    band: jax.Array,
    *,
    config: UNetConfig,
) -> jax.Array:
    """What a network says of images.

    Parameters
    ----------
    network, params
        The network and its weights.
    rate : array
        [electron/s/pixel], ``[b, y, x, 1]``.
    exposure_s, ratio, band : array
        Exposure of the images [s], how many times longer the target was exposed, and index of the
        filter, ``[b]``.
    config : UNetConfig
        Which channels it is given.

    Returns
    -------
    array
        [electron/s/pixel], ``[b, y, x, 1]``.
    """
    residual, short_s = config.form == "residual", exposure_s[:, None, None, None]
    image = stabilise(rate * short_s) if residual else rate
    inputs = CONTRAST * image if residual else image
    if config.bands > 1:
        there = jax.nn.one_hot(band, config.bands)[:, None, None, :]
        inputs = inputs * there
    if config.segmentation:
        inputs = jnp.concatenate([inputs, segmentation(rate)], axis=-1)
    outputs: Any = network.apply({"params": params}, inputs, ratio)
    return electrons(image + outputs) / short_s if residual else outputs


def stabilise(image: jax.Array) -> jax.Array:
    """Map of electrons under which their noise is about 1, whatever their number.

    2 sqrt(N + c), the transform of Anscombe for Poisson on Gaussian noise, made odd about 0.

    Parameters
    ----------
    image : array
        [electron], any shape.
    """
    root = jnp.sqrt(jnp.abs(image) + GROUND) - math.sqrt(GROUND)
    return 2 * jnp.sign(image) * root


def electrons(stable: jax.Array) -> jax.Array:
    """Inverse of `stabilise`: ``stable`` [1] to electrons [electron], any shape."""
    root = jnp.abs(stable) / 2 + math.sqrt(GROUND)
    return jnp.sign(stable) * (jnp.square(root) - GROUND)


def segmentation(rate: jax.Array) -> jax.Array:
    """Which pixels stand out of the sky, 1 or 0, ``[b, y, x, 1]``.

    Median and its absolute deviation stand for the sky and its noise; compared are means of 3 x 3
    pixels. The paper does not say how its map was made.

    Parameters
    ----------
    rate : array
        [electron/s/pixel], ``[b, y, x, 1]``.
    """
    axes = (1, 2, 3)
    sky = jnp.median(rate, axes, keepdims=True)
    sigma = 1.4826 * jnp.median(jnp.abs(rate - sky), axes, keepdims=True)
    box = (1, 3, 3, 1)
    mean = jax.lax.reduce_window(rate, 0.0, jax.lax.add, box, (1, 1, 1, 1), "SAME") / 9
    return (mean > sky + STANDING_OUT * sigma / 3).astype(rate.dtype)


@functools.partial(jax.jit, static_argnums=0)
def _apply(config: UNetConfig, params: Any, rate: jax.Array, *about: jax.Array) -> jax.Array:
    return answer(make_network(config), params, rate[..., None], *about, config=config)


def _answer(
    config: UNetConfig,
    params: Any,
    images: dict[str, np.ndarray],
    *,
    exposure_s: float,
    ratio: float,
    band: int,
) -> np.ndarray:
    rate = images["rate"]
    about = [np.full(len(rate), value, np.float32) for value in (exposure_s, ratio)]
    return np.asarray(_apply(config, params, rate, *about, np.full(len(rate), band, np.int32)))


def load_run(run: str | Path) -> AstroModel:
    """The best weights of a run folder.

    Parameters
    ----------
    run : str or Path
        Written by ``train --task=astro_unet``.

    Raises
    ------
    InputError
        If it is no such folder, or its checkpoint is damaged.
    """
    run = Path(run)
    config = read_settings(run, AstroConfig)
    step, part = restore_weights(run, config, {"params": start_params(0, config.network)})
    return AstroModel(run.resolve().name, config.network, part["params"], step, config)
