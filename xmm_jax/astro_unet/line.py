"""Astro U-net as `train` sees it (`xmm_jax.line`): noise, network, loss, figures."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax.astro_unet.config import AstroConfig, UNetConfig
from xmm_jax.astro_unet.images import batch_shapes as batch_shapes
from xmm_jax.astro_unet.images import data_digest as data_digest
from xmm_jax.astro_unet.images import find_data as find_data
from xmm_jax.astro_unet.images import keep_data as keep_data
from xmm_jax.astro_unet.images import training_batches as training_batches
from xmm_jax.astro_unet.images import validation_batches as validation_batches
from xmm_jax.astro_unet.model import answer, load_run, make_network, start_params
from xmm_jax.astro_unet.presets import parse as parse
from xmm_jax.config import parse_loss
from xmm_jax.config_file import from_json
from xmm_jax.errors import InputError
from xmm_jax.line import Learner
from xmm_jax.log import say
from xmm_jax.losses.divergence import kl
from xmm_jax.losses.electrons import CombinedElectrons, combine_electrons
from xmm_jax.losses.perceptual import random_extractor, vgg_extractor
from xmm_jax.losses.pixel import l1, psnr
from xmm_jax.losses.ssim import ssim
from xmm_jax.optim import make_optimiser, used_params
from xmm_jax.simulator.wfc3 import shorten
from xmm_jax.step import Batch, TrainState, init_state, update, weighted_sums
from xmm_jax.validation import table as table_of

ROWS, COLUMNS = ("input", "prediction"), ("L1", "L1_truth", "PSNR", "SSIM", "KL")
# The features of the perceptual loss are the same in every run.
FEATURES_SEED = 0


def read_config(path: Path) -> AstroConfig:
    """Settings of a run from its ``config.json``; errors as `xmm_jax.config_file.from_json`."""
    return from_json(path, AstroConfig)


def make_loss(config: AstroConfig) -> CombinedElectrons:
    """Loss of a run.

    Raises
    ------
    InputError
        If it is unknown, or the weights of VGG cannot be read.
    """
    weights = parse_loss(config.loss)
    extractor = None
    if "perceptual" in weights:
        extractor = (
            vgg_extractor(config.vgg)
            if config.vgg
            else random_extractor(jax.random.key(FEATURES_SEED))
        )
    return combine_electrons(weights, extractor=extractor)


def expose(
    batch: Batch, *, seed: int, noise: str, target_kind: str = "observed"
) -> dict[str, jax.Array]:
    """Short exposures of a batch, and the targets that go with them.

    Parameters
    ----------
    batch : mapping of str to array
        From `xmm_jax.astro_unet.images`.
    seed : int
        Of the noise, beside the number that each example has of its own.
    noise : {"live", "published"}
        See `xmm_jax.simulator.wfc3.shorten`.
    target_kind : {"observed", "expected"}
        The long exposure, or what it would be without noise.

    Returns
    -------
    dict of str to array
        ``short`` and ``target`` [electron/s/pixel], ``[b, y, x, 1]``.
    """

    def one(number: jax.Array, rate: jax.Array, valid: jax.Array, *about: jax.Array) -> jax.Array:
        exposure_s, ratio, sky_rate = about
        key = jax.random.fold_in(jax.random.key(seed), number)
        given: dict[str, Any] = {"valid": valid, "noise": noise, "sky_rate": sky_rate}
        return shorten(key, rate, exposure_s, ratio, **given)

    about = (batch["exposure"], batch["ratio"], batch["sky_rate"])
    short = jax.vmap(one)(batch["noise"], batch["rate"], batch["valid"], *about)
    target = batch["truth" if target_kind == "expected" else "target"]
    target = jnp.where(batch["target_valid"], target, 0.0)
    if noise == "published":
        target = jnp.maximum(target, 0.0)
    return {"short": short, "target": target}


def learn(config: AstroConfig, *, unroll: bool = False) -> Learner:
    """Network, loss and optimiser of a run.

    Parameters
    ----------
    config : AstroConfig
        All settings.
    unroll : bool
        Without the loop over parts of the batch.

    Raises
    ------
    InputError
        For a loss that is unknown.
    """
    network, loss = make_network(config.network), make_loss(config)
    optimiser = make_optimiser(config.optim, steps=config.steps)
    see = functools.partial(_see, config=config, network=network)

    def objective(params: Any, batch: Batch) -> jax.Array:
        outputs, pair = see(params, batch)
        return loss(outputs, pair["target"])

    def start() -> TrainState:
        return init_state(start_params(config.seed, config.network), optimiser)

    def adopt(state: TrainState, folder: str) -> TrainState:
        return init_state(other_params(folder, config.network), optimiser)

    def evaluate(params: Any, batch: Batch) -> dict[str, jax.Array]:
        outputs, pair = see(params, batch)
        found = figures(outputs, pair, batch, loss=loss)
        return weighted_sums(found, batch["weight"])

    parts = 1 if unroll else config.accumulate
    step: Callable[..., Any] = functools.partial(
        update, objective=objective, optimiser=optimiser, accumulate=parts
    )
    return Learner(start, adopt, step, used_params, evaluate)


def _see(
    params: Any, batch: Batch, *, config: AstroConfig, network: Any
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """What the network makes of a batch, 0 in dead pixels, and what it was made from."""
    pair = expose(batch, seed=config.seed, noise=config.noise, target_kind=config.target_kind)
    about = (batch["exposure"] / batch["ratio"], batch["ratio"], batch["band"])
    outputs = answer(network, params, pair["short"], *about, config=config.network)
    return jnp.where(batch["target_valid"], outputs, 0.0), pair


def figures(
    outputs: jax.Array, pair: Mapping[str, jax.Array], batch: Batch, *, loss: CombinedElectrons
) -> dict[str, jax.Array]:
    """Figures of the short exposure and of the prediction against the long one, one per image.

    Parameters
    ----------
    outputs : array
        Predictions [electron/s/pixel], ``[b, y, x, 1]``.
    pair : mapping of str to array
        From `expose`.
    batch : mapping of str to array
        With ``truth`` [electron/s/pixel] where it is known: it is compared as well.
    loss : callable
        What is trained.
    """
    target = pair["target"]
    found = {"loss": loss(outputs, target)}
    # Equations 13 and 21 of the paper: the range of values is the largest of the target.
    peak = jnp.maximum(jnp.max(target, (1, 2, 3), keepdims=True), 1e-6)
    for row, image in zip(ROWS, (pair["short"], outputs), strict=True):
        found |= {
            f"{row}/L1": l1(image, target),
            f"{row}/PSNR": psnr(image / peak, target / peak),
            f"{row}/SSIM": ssim(image / peak, target / peak),
            f"{row}/KL": kl(image, target),
        }
        if "truth" in batch:
            truth = jnp.where(batch["target_valid"], batch["truth"], 0.0)
            found[f"{row}/L1_truth"] = l1(image, truth)
    return found


def other_params(folder: str, wanted: UNetConfig) -> Any:
    """Weights of ``--init_from``.

    Parameters
    ----------
    folder : str
        Run folder.
    wanted : UNetConfig
        Network of the run that wants them.

    Raises
    ------
    InputError
        If the other run has another network.
    """
    other = load_run(folder)
    if other.network != wanted:
        raise InputError(
            f"--init_from={folder}: another network; repeat its flags, {other.network}"
        )
    say(f"weights from {folder}")
    return other.params


def title(config: AstroConfig) -> str:
    """Task, network and side of an example."""
    return f"{config.task} of {config.network.filters} filters, {config.crop} x {config.crop}"


def table(step: int, means: Mapping[str, float]) -> str:
    """What a validation after a step found, means over images, for people."""
    return table_of(step, means, columns=COLUMNS)


def closing(run: Path, means: Mapping[str, float]) -> tuple[str, str]:
    """How good the best step of a run is, by its means, and what to do with it."""
    name = "L1_truth" if "prediction/L1_truth" in means else "L1"
    ratio = means[f"prediction/{name}"] / means[f"input/{name}"]
    return (
        f"validation {name} {means[f'prediction/{name}']:.3g} electron/s, {ratio:.2f} of the input",
        f"xmm-jax evaluate --task=astro_unet --model={run} --out=FOLDER",
    )
