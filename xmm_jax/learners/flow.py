"""Learning the density of all images that fit an input, by its likelihood.

The RRDB, whose image and widths the flow begins from, stays as it is. It also states the width of
the noise about the target: by the likelihood it would learn to make that noise ever smaller, and
forget its image (docs/flow.md has the figures).

The noise about the target of an example follows from the seed, the step, and the number of the
example in the batch of all devices, so that neither stopping nor the number of devices changes it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError
from xmm_jax.flow_config import FlowConfig, check_flow
from xmm_jax.line import Learner
from xmm_jax.log import say
from xmm_jax.model import load_model, make_network
from xmm_jax.models import init
from xmm_jax.models.flow import bits_per_dimension
from xmm_jax.models.srflow import SRFlow
from xmm_jax.models.stretch import Scale, to_inputs, to_target
from xmm_jax.optim import make_optimiser, used_params
from xmm_jax.parallel import AXIS
from xmm_jax.step import Batch, TrainState, eval_step, update
from xmm_jax.validation import figures

# Which of the random numbers of a seed.
TRAINING, VALIDATION = 1, 2


class FlowState(NamedTuple):
    """All that changes during training.

    Updates made (``step``, a scalar), weights (``params``), state of the optimiser (``opt_state``),
    and whether the actnorms fit a batch (``started``, 0 or 1).
    """

    step: jax.Array
    params: Any
    opt_state: Any
    started: jax.Array


def learn(config: FlowConfig, *, unroll: bool = False) -> Learner:
    """Flow, likelihood and optimiser of a run.

    Parameters
    ----------
    config : FlowConfig
        All settings.
    unroll : bool
        Without the loop over parts of the batch.

    Raises
    ------
    InputError
        For settings of a flow that cannot work.
    """
    network, scale = make_network(config.task, config.network)
    assert isinstance(network, SRFlow)
    check_flow(config, multiple=network.multiple)
    optimiser = make_optimiser(config.optim, steps=config.steps)
    parts = 1 if unroll else config.accumulate

    def start() -> FlowState:
        params = init(jax.random.key(config.seed), network, config.network.in_channels)
        zero = jnp.zeros((), jnp.int32)
        return FlowState(zero, params, optimiser.init(params), zero)

    def adopt(state: FlowState, folder: str) -> FlowState:
        params, started = other_params(state.params, folder)
        return FlowState(state.step, params, optimiser.init(params), jnp.int32(started))

    def step(state: FlowState, batch: Batch) -> tuple[FlowState, dict[str, jax.Array]]:
        key = jax.random.fold_in(noise_key(config.seed, TRAINING), state.step)
        batch = numbered(batch)

        def still(params: Any) -> Any:
            return params | {"features": state.params["features"]}

        def fit() -> tuple[Any, Any]:
            params = started_with(key, state.params, batch, network=network, scale=scale)
            # Moments and averages are those of the new weights.
            return params, optimiser.init(params)

        params, opt_state = jax.lax.cond(
            state.started == 1, lambda: (state.params, state.opt_state), fit
        )
        after, metrics = update(
            TrainState(state.step, params, opt_state),
            batch,
            objective=lambda params, part: bits(
                key, still(params), part, network=network, scale=scale
            ),
            optimiser=optimiser,
            accumulate=parts,
        )
        # Without a gradient there would still be --optim.weight_decay.
        after = after._replace(params=still(after.params))
        return FlowState(*after, started=jnp.ones_like(state.started)), metrics

    return Learner(start, adopt, step, used_params, evaluation(config.seed, network, scale))


def evaluation(
    seed: int, network: SRFlow, scale: Scale
) -> Callable[[Any, Batch], dict[str, jax.Array]]:
    """Figures of the image at temperature 0, and as ``loss`` bits per pixel with fixed noise.

    Parameters
    ----------
    seed : int
        Of the run.
    network, scale
        The flow and its units.

    Returns
    -------
    callable
        ``(params, batch)`` -> weighted sums, see `xmm_jax.step.eval_step`.
    """

    def evaluate(params: Any, batch: Batch) -> dict[str, jax.Array]:
        batch, key = numbered(batch), noise_key(seed, VALIDATION)

        def rows(outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
            found = bits(key, params, batch, network=network, scale=scale)
            return figures(outputs, batch, scale=scale, loss=lambda *_: found)

        return eval_step(params, batch, network=network, scale=scale, rows=rows)

    return evaluate


def bits(key: jax.Array, params: Any, batch: Batch, *, network: SRFlow, scale: Scale) -> jax.Array:
    """Code length of the targets of a batch [bit/pixel], ``[b]``.

    That of their density per count; of whole counts with noise of width 1 it is an upper bound of
    their own (Theis et al. 2016, arXiv:1511.01844). Dead pixels, which hold noise only, count too.

    Parameters
    ----------
    key : array
        Of the noise.
    params : pytree
        Weights.
    batch : mapping of str to array
        With ``number``, see `numbered`.
    network, scale
        The flow and its units.
    """
    inputs, counts, blur, gain = noisy_pair(key, batch, network=network, scale=scale)
    found = network.log_likelihood(params, counts, inputs, blur)
    found += jnp.sum(jnp.log(gain), (1, 2, 3))
    return bits_per_dimension(found, counts.shape)


def noisy_pair(
    key: jax.Array, batch: Batch, *, network: SRFlow, scale: Scale
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Inputs of a network and what a flow learns of the targets.

    Parameters
    ----------
    key, batch, network, scale
        As for `bits`.

    Returns
    -------
    inputs : array
        Network units.
    counts : array
        Network counts with uniform noise about them, `xmm_jax.models.srflow`.
    blur : array
        Gaussian noise [width of the RRDB].
    gain : array
        Network counts per count of the target; 1 in dead pixels.
    """
    exposure, seconds = batch["exposure"], batch["target_exposure"]
    valid = batch["target_valid"]
    inputs = to_inputs(scale, batch["counts"], exposure, batch["valid"])
    fixed = (seconds, valid, exposure)
    counts, one = (
        jnp.square(to_target(scale, target, *fixed))
        for target in (batch["target"], jnp.ones_like(seconds))
    )
    gain = jnp.where(one > 0, one, 1.0)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["number"])
    drawn = jax.vmap(lambda own: jax.random.uniform(own, counts.shape[1:]))(keys)
    grain = jax.vmap(lambda own: jax.random.normal(jax.random.fold_in(own, 1), counts.shape[1:]))
    # No more than the flow has room for, see `SRFlow.room`.
    width = network.noise * jnp.minimum(gain, 4.0)
    return inputs, counts + width * (drawn - 0.5), network.grain * grain(keys), gain


def started_with(
    key: jax.Array, params: Any, batch: Batch, *, network: SRFlow, scale: Scale
) -> Any:
    """Weights whose actnorms fit a batch: all of it, so that they are the same on every device.

    Parameters
    ----------
    key, params, batch, network, scale
        As for `bits`.
    """
    names = ("counts", "exposure", "valid", "target", "target_exposure", "target_valid", "number")
    whole = {name: jax.lax.all_gather(batch[name], AXIS, tiled=True) for name in names}
    inputs, counts, blur, _ = noisy_pair(key, whole, network=network, scale=scale)
    return network.start(params, counts, inputs, blur)


def numbered(batch: Batch) -> dict[str, Any]:
    """A batch with the ``number`` of each of its examples, counted over all devices."""
    size = len(batch["weight"])
    return {**batch, "number": jax.lax.axis_index(AXIS) * size + jnp.arange(size)}


def noise_key(seed: int, part: int) -> jax.Array:
    """Random key of the noise of a part of a run."""
    return jax.random.fold_in(jax.random.key(seed), part)


def other_params(params: Any, folder: str) -> tuple[Any, int]:
    """Weights of ``--init_from``: of another flow, or of an RRDB for what is the RRDB here.

    Parameters
    ----------
    params : pytree
        Weights of this run, drawn.
    folder : str
        Run or model folder.

    Returns
    -------
    params : pytree
        New weights.
    started : int
        1 if they are those of a flow.

    Raises
    ------
    InputError
        If the other model has another graph or other units.
    """
    other = load_model(folder)
    started = isinstance(other.network, SRFlow)
    found = other.params if started else params | {"features": other.params}
    if other.scale.clips or jax.tree.map(jnp.shape, found) != jax.tree.map(jnp.shape, params):
        raise InputError(
            f"--init_from={folder}: give a flow, or an RRDB with --network.stretch=counts and "
            "--network.spread, of the same size and --network.unshuffle"
        )
    say(f"weights from {folder}")
    return found, int(started)
