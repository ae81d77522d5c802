"""A trained network for Herschel maps, its units, and answers to maps of any size."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.herschel.config import GalaxyGANConfig, HerschelConfig
from xmm_jax.losses.ssim import blur, window
from xmm_jax.models.galaxygan import GalaxyGAN
from xmm_jax.mosaic import mosaic
from xmm_jax.simulator.submm import BANDS_UM, PIXEL_ARCSEC, SIGMA_OF_FWHM
from xmm_jax.trained import read_settings, restore_weights

LOW_MJY, HIGH_MJY = -5.0, 160.0
"""What 0 and 1 of the network are [mJy/beam]; ours."""
BAND_MJY = 20.0
"""Knee of the asinh of the bands [mJy/beam], about three times their confusion; ours."""
SOFTENING = 10.0
"""asinh(10 x) / asinh(10): the stretch of GalaxyGAN (peers, asinh(10 x) / 3)."""
STRIDE_SHARE = 4
"""Windows of a large map begin every fourth of their side."""


class HerschelState(NamedTuple):
    """All that changes during training.

    Updates made (``step``, a scalar), weights (``params``), ``statistics`` of batch normalisation,
    state of the optimiser (``opt_state``).
    """

    step: jax.Array
    params: Any
    statistics: Any
    opt_state: Any


@dataclasses.dataclass(frozen=True)
class HerschelModel:
    """A network with weights; made by `load_run`.

    Attributes
    ----------
    name : str
        Of the run folder.
    config : HerschelConfig
        How it was trained.
    params, statistics : pytree
        Weights, and running statistics.
    step : int
        Of the run.
    """

    name: str
    config: HerschelConfig
    params: Any
    statistics: Any
    step: int

    def super_resolve(self, bands: np.ndarray) -> np.ndarray:
        """Map at 450 um [mJy/beam], [y, x], from bands [y, x, 3] [mJy/beam].

        What the network sees of a window depends on the whole of it. Maps larger than its crop are
        therefore answered in overlapping windows, of which the mean is taken.
        """
        images = {str(um): bands[None, ..., i] for i, um in enumerate(BANDS_UM)}

        def said(parts: dict[str, np.ndarray]) -> np.ndarray:
            stacked = np.stack(list(parts.values()), axis=-1).astype(np.float32)
            return np.asarray(_answer(self.config.network, self.params, self.statistics, stacked))

        side = self.config.side
        if bands.shape[:2] == (side, side):
            return said(images)[0, ..., 0]
        return mosaic(said, images, window=side, stride=side // STRIDE_SHARE)[0, ..., 0]


def make_network(config: GalaxyGANConfig, *, axis_name: str | None = None) -> GalaxyGAN:
    """Network of settings; statistics are those of a batch over the devices of ``axis_name``."""
    return GalaxyGAN(
        filters=config.filters,
        depth=config.depth,
        bands=len(BANDS_UM),
        dropout=config.dropout,
        axis_name=axis_name,
    )


def start_variables(seed: int, config: GalaxyGANConfig) -> tuple[Any, Any]:
    """First weights, first statistics, drawn from a seed."""
    network, side = make_network(config), 2**config.depth
    draw = jax.jit(functools.partial(network.init, train=False))
    variables = draw(jax.random.key(seed), jnp.zeros((1, side, side, len(BANDS_UM))))
    return variables["params"], variables["batch_stats"]


def to_inputs(bands: jax.Array) -> jax.Array:
    """Bands [mJy/beam] as the network sees them, any shape."""
    return jnp.asinh(bands / BAND_MJY)


def to_mjy(outputs: jax.Array) -> jax.Array:
    """Outputs 0 to 1 as fluxes [mJy/beam], any shape: faint ones get most of the range."""
    share = jnp.sinh(outputs * math.asinh(SOFTENING)) / SOFTENING
    return LOW_MJY + (HIGH_MJY - LOW_MJY) * share


def to_map(outputs: jax.Array, config: GalaxyGANConfig) -> jax.Array:
    """Map at 450 um [mJy/beam] of outputs of a network, ``[b, y, x, 1]`` both.

    The last transposed convolution gives each of four neighbours features of its own, which shows
    as a grid until training has brought them together. A blur narrower than the beam takes the
    grid away, and nothing that the beam would leave.
    """
    image = to_mjy(outputs)
    if not config.blur_arcsec:
        return image
    sigma = config.blur_arcsec * SIGMA_OF_FWHM / PIXEL_ARCSEC
    reach = math.ceil(4 * sigma)
    room = ((0, 0), (reach, reach), (reach, reach))
    wide = jnp.pad(image[..., 0], room, mode="edge")
    return blur(wide, window(2 * reach + 1, sigma))[..., None]


def answer(config: GalaxyGANConfig, params: Any, statistics: Any, bands: jax.Array) -> jax.Array:
    """Map at 450 um from bands [mJy/beam], ``[b, y, x, 3]`` -> ``[b, y, x, 1]``, once trained.

    By weights ``params``, with the running ``statistics``.
    """
    variables = {"params": params, "batch_stats": statistics}
    outputs: Any = make_network(config).apply(variables, to_inputs(bands), train=False)
    return to_map(outputs, config)


_answer = jax.jit(answer, static_argnums=0)


def load_run(run: str | Path) -> HerschelModel:
    """The best weights of a run folder.

    Parameters
    ----------
    run : str or Path
        Written by ``train --task=herschel``.

    Raises
    ------
    InputError
        If it is no such folder, or its checkpoint is damaged.
    """
    run = Path(run)
    config = read_settings(run, HerschelConfig)
    params, statistics = start_variables(0, config.network)
    step, part = restore_weights(run, config, {"params": params, "statistics": statistics})
    return HerschelModel(run.resolve().name, config, part["params"], part["statistics"], step)
