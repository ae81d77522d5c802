"""Learning the most fitting image: one network, one loss of its image and the target."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from xmm_jax.config import Config, parse_loss
from xmm_jax.errors import InputError
from xmm_jax.line import Learner
from xmm_jax.log import say
from xmm_jax.losses import combine
from xmm_jax.model import load_model, make_network
from xmm_jax.models import init, without_loop
from xmm_jax.optim import make_optimiser, used_params
from xmm_jax.step import TrainState, eval_step, init_state, train_step
from xmm_jax.validation import figures


def learn(config: Config, *, unroll: bool = False) -> Learner:
    """Network, loss and optimiser of a run that learns one image for each input.

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
    network = without_loop(network) if unroll else network
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

    return Learner(
        start, adopt, update, used_params, functools.partial(eval_step, rows=rows, **fixed)
    )


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
            f"--network.in_channels={config.network.in_channels}; repeat its flags"
        )
    say(f"weights from {folder}")
    return other.params
