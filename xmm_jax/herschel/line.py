"""Herschel super-resolution as `train` sees it (`xmm_jax.line`): network, loss, figures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax.config import parse_loss
from xmm_jax.config_file import from_json
from xmm_jax.errors import InputError
from xmm_jax.herschel.config import HerschelConfig
from xmm_jax.herschel.config import parse as parse
from xmm_jax.herschel.images import batch_shapes as batch_shapes
from xmm_jax.herschel.images import data_digest as data_digest
from xmm_jax.herschel.images import find_data as find_data
from xmm_jax.herschel.images import keep_data as keep_data
from xmm_jax.herschel.images import training_batches as training_batches
from xmm_jax.herschel.images import validation_batches as validation_batches
from xmm_jax.herschel.model import (
    HerschelState,
    answer,
    load_run,
    make_network,
    start_variables,
    to_inputs,
    to_map,
)
from xmm_jax.line import Learner
from xmm_jax.log import say
from xmm_jax.losses.flux import combine_flux
from xmm_jax.losses.sources import Catalogue
from xmm_jax.optim import make_optimiser, used_params
from xmm_jax.parallel import AXIS
from xmm_jax.simulator.submm import PIXEL_ARCSEC, TARGET_FWHM_ARCSEC
from xmm_jax.step import Batch, descend, weighted_sums
from xmm_jax.validation import table as table_of

COLUMNS = ("L1", "RMS", "correlation")
# Half the beam of SCUBA-2, as the default of the losses, on our pixels.
RADIUS_PIXEL = TARGET_FWHM_ARCSEC / PIXEL_ARCSEC / 2


def read_config(path: Path) -> HerschelConfig:
    """Settings of a run from its ``config.json``; errors as `xmm_jax.config_file.from_json`."""
    return from_json(path, HerschelConfig)


def learn(config: HerschelConfig, *, unroll: bool = False) -> Learner:
    """Network, loss and optimiser of a run.

    Parameters
    ----------
    config : HerschelConfig
        All settings.
    unroll : bool
        There is no loop to unroll.

    Raises
    ------
    InputError
        For a loss that is unknown.
    """
    network = make_network(config.network, axis_name=AXIS)
    optimiser = make_optimiser(config.optim, steps=config.steps)
    losses = make_loss(config)

    def start() -> HerschelState:
        params, statistics = start_variables(config.seed, config.network)
        return HerschelState(jnp.int32(0), params, statistics, optimiser.init(params))

    def adopt(state: HerschelState, folder: str) -> HerschelState:
        other = load_run(folder)
        if (its := other.config.network) != config.network:
            raise InputError(f"--init_from={folder}: another network; repeat its flags, {its}")
        say(f"weights from {folder}")
        opt_state = optimiser.init(other.params)
        return HerschelState(state.step, other.params, other.statistics, opt_state)

    def update(state: HerschelState, batch: Batch) -> tuple[HerschelState, dict[str, jax.Array]]:
        of_step = jax.random.fold_in(jax.random.key(config.seed), state.step)
        key = jax.random.fold_in(of_step, jax.lax.axis_index(AXIS))

        def objective(params: Any) -> tuple[jax.Array, Any]:
            outputs, changed = network.apply(
                {"params": params, "batch_stats": state.statistics},
                to_inputs(batch["bands"]),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            each = batch["weight"] * losses(to_map(outputs, config.network), batch)
            return jnp.sum(each), changed["batch_stats"]

        (total, statistics), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        sums = (total, gradient, jnp.sum(batch["weight"]))
        params, opt_state, out = descend(state.params, state.opt_state, sums, optimiser=optimiser)
        return HerschelState(state.step + 1, params, statistics, opt_state), out

    def weights(state: HerschelState) -> tuple[Any, Any]:
        return used_params(state), state.statistics

    def evaluate(kept: tuple[Any, Any], batch: Batch) -> dict[str, jax.Array]:
        prediction = answer(config.network, *kept, batch["bands"])
        found = {"loss": losses(prediction, batch)} | figures(prediction, batch)
        return weighted_sums(found, batch["weight"])

    return Learner(start, adopt, update, weights, evaluate)


def make_loss(config: HerschelConfig) -> Callable[[jax.Array, Batch], jax.Array]:
    """Loss of a run: ``(prediction [b, y, x, 1] [mJy/beam], batch)`` -> ``[b]``; dead pixels are 0.

    Raises
    ------
    InputError
        For a loss that is unknown.
    """
    combined = combine_flux(parse_loss(config.loss), radius_pixel=RADIUS_PIXEL)

    def losses(prediction: jax.Array, batch: Batch) -> jax.Array:
        seen, target = (jnp.where(batch["valid"], i, 0.0) for i in (prediction, batch["target"]))
        catalogue = Catalogue(batch["x"], batch["y"], batch["listed"])
        return combined(seen, target, catalogue, both=batch["both"], threshold=config.least_mjy)

    return losses


def figures(prediction: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """Figures of the 250 um map and of the prediction against the target, one per image.

    Parameters
    ----------
    prediction : array
        [mJy/beam], ``[b, y, x, 1]``.
    batch : mapping of str to array
        Bands [mJy/beam], target [mJy/beam], valid.

    Returns
    -------
    dict of str to array
        ``L1`` and ``RMS`` of the difference [mJy/beam], ``correlation``.
    """
    axes, live = (1, 2, 3), batch["valid"]
    number = jnp.maximum(jnp.sum(live, axes), 1)

    def mean(image: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(live, image, 0.0), axes) / number

    def centred(image: jax.Array) -> jax.Array:
        return image - mean(image)[:, None, None, None]

    target = batch["target"]
    found = {}
    for row, image in (("input", batch["bands"][..., :1]), ("prediction", prediction)):
        product = mean(centred(image) * centred(target))
        scatter = mean(jnp.square(centred(image))) * mean(jnp.square(centred(target)))
        found |= {
            f"{row}/L1": mean(jnp.abs(image - target)),
            f"{row}/RMS": jnp.sqrt(mean(jnp.square(image - target))),
            f"{row}/correlation": product / jnp.sqrt(jnp.maximum(scatter, 1e-12)),
        }
    return found


def title(config: HerschelConfig) -> str:
    """Task, network and side of an example."""
    network = config.network
    size = f"{network.filters} filters, depth {network.depth}"
    return f"{config.task} of {size}, {config.crop} x {config.crop}"


def table(step: int, means: Mapping[str, float]) -> str:
    """What a validation after a step found, means over images, for people."""
    return table_of(step, means, columns=COLUMNS)


def closing(run: Path, means: Mapping[str, float]) -> tuple[str, str]:
    """How good the best step of a run is, by its means, and what to do with it."""
    return (
        f"validation RMS {means['prediction/RMS']:.2f} mJy/beam, "
        f"correlation {means['prediction/correlation']:.2f}, "
        f"of the 250 um map {means['input/correlation']:.2f}",
        f"xmm-jax evaluate --task=herschel --model={run} --out=FOLDER",
    )
