"""Super-resolution and denoising of photon counts, as `train` sees them (`xmm_jax.line`)."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax import provenance
from xmm_jax.config import TASKS, Config, from_json, parse_loss
from xmm_jax.data.manifest import FILE as MANIFEST
from xmm_jax.data.schema import FIELDS
from xmm_jax.dataset import STREAM, about, sources_of
from xmm_jax.dataset import find_data as find_data
from xmm_jax.dataset import keep_data as keep_data
from xmm_jax.dataset import training_batches as training_batches
from xmm_jax.dataset import validation_batches as validation_batches
from xmm_jax.errors import InputError
from xmm_jax.fields import fingerprint
from xmm_jax.instrument.camera import PN
from xmm_jax.line import Learner
from xmm_jax.log import say
from xmm_jax.losses import combine
from xmm_jax.model import load_model, make_network
from xmm_jax.models import init
from xmm_jax.optim import averaged_params, make_optimiser
from xmm_jax.presets import parse as parse
from xmm_jax.step import TrainState, eval_step, init_state, train_step
from xmm_jax.validation import figures
from xmm_jax.validation import table as table


def read_config(path: Path) -> Config:
    """Settings of a run from its ``config.json``; errors as `xmm_jax.config.from_json`."""
    return from_json(path, Config)


def learn(config: Config, *, unroll: bool = False) -> Learner:
    """Network, loss and optimiser of a run.

    Parameters
    ----------
    config : Config
        All settings.
    unroll : bool
        Without the loops over blocks of the network and parts of the batch: the same work, and XLA
        counts it all.

    Raises
    ------
    InputError
        For a loss that is unknown.
    """
    network, scale = make_network(config.task, config.network)
    if unroll and hasattr(network, "blocks"):
        network = network.clone(unroll=max(network.blocks, 2))
    optimiser = make_optimiser(config.optim, steps=config.steps)
    loss = combine(parse_loss(config.loss), stretch=config.network.stretch)
    fixed: dict[str, Any] = {"network": network, "scale": scale}
    update = functools.partial(
        train_step,
        loss=loss,
        optimiser=optimiser,
        accumulate=1 if unroll else config.accumulate,
        **fixed,
    )
    rows = functools.partial(figures, scale=scale, loss=loss)

    def start() -> TrainState:
        params = init(jax.random.key(config.seed), network, config.network.in_channels)
        return init_state(params, optimiser)

    def adopt(state: TrainState, folder: str) -> TrainState:
        return init_state(other_params(config, folder, like=state.params), optimiser)

    def weights(state: TrainState) -> Any:
        return averaged_params(state.params, state.opt_state)

    return Learner(start, adopt, update, weights, functools.partial(eval_step, rows=rows, **fixed))


def other_params(config: Config, folder: str, *, like: Any) -> Any:
    """Weights of ``--init_from``.

    Parameters
    ----------
    config : Config
        Settings of the run that wants them.
    folder : str
        Run or model folder.
    like : pytree
        Weights of the shapes that are wanted.

    Raises
    ------
    InputError
        If the other model has another graph.
    """
    other = load_model(folder)
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (like, other.params)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"--init_from={folder}: its network does not fit --task={config.task} "
            f"--network.size={config.network.size} "
            f"--network.in_channels={config.network.in_channels}"
        )
    say(f"weights from {folder}")
    return other.params


def data_digest(config: Config, data: str) -> str:
    """By which the same pairs are known: the manifest of records, the settings of a stream."""
    return ",".join(
        fingerprint(about(config))
        if name == STREAM
        else provenance.file_digest(Path(name) / MANIFEST)
        for name in sources_of(config, data)
    )


def batch_shapes(config: Config, lead: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of a batch of a run.

    Parameters
    ----------
    config : Config
        Task and crop.
    lead : tuple of int
        Axes before y and x.
    """
    side = config.crop or PN.padded
    sides = {"y": side, "s*y": side * TASKS[config.task].upscale}
    shapes = {
        name: jax.ShapeDtypeStruct((*lead, sides[f.shape[0]], sides[f.shape[0]], 1), f.dtype)
        for name, f in FIELDS.items()
        if f.shape and f.shape[0] in sides and not f.optional
    }
    return shapes | {"weight": jax.ShapeDtypeStruct(lead, jnp.float32)}


def title(config: Config) -> str:
    """Task, network and side of an example."""
    side = config.crop or PN.padded
    return f"{config.task} {config.network.size}, {side} x {side}"


def closing(run: Path, means: Mapping[str, float]) -> tuple[str, str]:
    """How good the best step of a run is, and what to do with it."""
    gain = means["prediction/PSNR"] - means["input/PSNR"]
    return (
        f"validation PSNR {means['prediction/PSNR']:.2f} dB, "
        f"input {means['input/PSNR']:.2f} dB, gain {gain:+.2f} dB",
        f"xmm-jax enhance IMAGE.fits --model={run}",
    )
