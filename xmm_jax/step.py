"""One step of training, one of validation, one prediction: pure functions of state and batch.

A batch is a dict of arrays ``[b, y, x, 1]`` (``xmm_jax.data.schema``) plus ``weight`` [b], 0 for
examples that only fill a batch. Averages over devices run over the named axis ``"data"``, which
`xmm_jax.parallel` provides; outside of it pass ``axis_name=None``.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from xmm_jax.errors import InputError
from xmm_jax.models import Network, apply
from xmm_jax.models.stretch import Scale, to_inputs, to_rate, to_target

Batch = Mapping[str, Any]
Loss = Callable[[jax.Array, jax.Array], jax.Array]


class TrainState(NamedTuple):
    """All that changes during training.

    Updates made (``step``, a scalar), weights (``params``), state of the optimiser (``opt_state``).
    """

    step: jax.Array
    params: Any
    opt_state: Any


def init_state(params: Any, optimiser: optax.GradientTransformation) -> TrainState:
    """State before the first update of weights ``params``."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimiser.init(params))


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    network: Network,
    scale: Scale,
    loss: Loss,
    optimiser: optax.GradientTransformation,
    accumulate: int = 1,
    axis_name: str | None = "data",
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update of the weights.

    Parameters
    ----------
    state : TrainState
        Step, weights, optimiser state.
    batch : mapping of str to array
        The part of the batch on this device, ``[b, y, x, 1]`` each.
    network, scale, loss, optimiser
        What never changes during a run.
    accumulate : int
        Parts to work through one after the other, to save memory; the update is the same.
    axis_name : str or None
        Axis over which devices share the batch.

    Returns
    -------
    TrainState
        After the update; the same on every device.
    dict of str to array
        ``loss`` and ``grad_norm``, scalars.

    Raises
    ------
    InputError
        If the batch cannot be cut into so many parts.
    """
    objective = functools.partial(image_loss, network=network, scale=scale, loss=loss)
    return update(
        state,
        batch,
        objective=objective,
        optimiser=optimiser,
        accumulate=accumulate,
        axis_name=axis_name,
    )


def image_loss(
    params: Any, batch: Batch, *, network: Network, scale: Scale, loss: Loss
) -> jax.Array:
    """Loss of every image of a batch, ``[b]``.

    Parameters
    ----------
    params : pytree
        Weights.
    batch, network, scale, loss
        As in `train_step`.
    """
    return loss(*outputs_and_target(params, batch, network=network, scale=scale))


def outputs_and_target(
    params: Any, batch: Batch, *, network: Network, scale: Scale
) -> tuple[jax.Array, jax.Array]:
    """What a network says and should say, network units, ``[b, s*y, s*x, outputs]`` and ``1``.

    Parameters
    ----------
    params : pytree
        Weights.
    batch, network, scale
        As in `train_step`.
    """
    inputs = to_inputs(scale, batch["counts"], batch["exposure"], batch["valid"])
    valid = batch["target_valid"]
    target = to_target(scale, batch["target"], batch["target_exposure"], valid, batch["exposure"])
    outputs = apply(network, params, inputs)
    # Dead pixels are zero on both sides, as in the published training.
    return jnp.where(valid, outputs, 0.0), target


def update(
    state: TrainState,
    batch: Batch,
    *,
    objective: Callable[[Any, Batch], jax.Array],
    optimiser: optax.GradientTransformation,
    accumulate: int = 1,
    axis_name: str | None = "data",
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update of the weights, whatever is learned.

    Parameters
    ----------
    state, batch, optimiser, accumulate, axis_name
        As in `train_step`; of the batch only ``weight`` is looked at here.
    objective : callable
        ``objective(params, batch)`` -> loss of every example, ``[b]``.

    Returns
    -------
    TrainState
        After the update; the same on every device.
    dict of str to array
        ``loss`` and ``grad_norm``, scalars.

    Raises
    ------
    InputError
        If the batch cannot be cut into so many parts.
    """

    def sums(part: Batch) -> tuple[jax.Array, Any, jax.Array]:
        """Loss, its gradient, and weight, summed over examples."""

        def weighted(params: Any) -> jax.Array:
            return jnp.sum(objective(params, part) * part["weight"])

        total, gradient = jax.value_and_grad(weighted)(state.params)
        return total, gradient, jnp.sum(part["weight"])

    params, opt_state, metrics = descend(
        state.params,
        state.opt_state,
        _add_up(sums, batch, accumulate),
        optimiser=optimiser,
        axis_name=axis_name,
    )
    return TrainState(state.step + 1, params, opt_state), metrics


def descend(
    params: Any,
    opt_state: Any,
    sums: tuple[jax.Array, Any, jax.Array],
    *,
    optimiser: optax.GradientTransformation,
    axis_name: str | None = "data",
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Weights and state of the optimiser after one update.

    Parameters
    ----------
    params, opt_state : pytree
        Before it.
    sums : tuple
        Loss, its gradient and weight, summed over the examples of this device.
    optimiser, axis_name
        As in `train_step`.

    Returns
    -------
    params, opt_state : pytree
        The same on every device.
    dict of str to array
        ``loss`` and ``grad_norm``, scalars.
    """
    # Mean of sums over mean of weights: exact also where devices hold unequal weights.
    total, gradient, weight = _mean(sums, axis_name)
    weight = jnp.maximum(weight, 1e-6)
    gradient = jax.tree.map(lambda leaf: leaf / weight, gradient)
    updates, opt_state = optimiser.update(gradient, opt_state, params)
    metrics = {"loss": total / weight, "grad_norm": optax.tree.norm(gradient)}
    return optax.apply_updates(params, updates), opt_state, metrics


def eval_step(
    params: Any,
    batch: Batch,
    *,
    network: Network,
    scale: Scale,
    rows: Callable[[jax.Array, Batch], dict[str, jax.Array]],
    axis_name: str | None = "data",
) -> dict[str, jax.Array]:
    """Weighted sums of per-image figures over a batch; divide by ``weight`` after the last batch.

    Parameters
    ----------
    params : pytree
        Weights.
    batch : mapping of str to array
        The part of the batch on this device, ``[b, y, x, 1]`` each.
    network, scale
        As in `train_step`.
    rows : callable
        ``rows(outputs, batch)`` -> figures, one value per image each.
    axis_name : str or None
        Axis over which devices share the batch.

    Returns
    -------
    dict of str to array
        Mean over devices of the sums, and of ``weight``; their ratio is the mean over images.
    """
    inputs = to_inputs(scale, batch["counts"], batch["exposure"], batch["valid"])
    outputs = apply(network, params, inputs)
    return weighted_sums(rows(outputs, batch), batch["weight"], axis_name=axis_name)


def weighted_sums(
    values: Mapping[str, jax.Array], weight: jax.Array, *, axis_name: str | None = "data"
) -> dict[str, jax.Array]:
    """Sums over a batch, and over devices their mean, of figures of images.

    Parameters
    ----------
    values : mapping of str to array
        One value per image, ``[b]``.
    weight : array
        ``[b]``.
    axis_name : str or None
        Axis over which devices share the batch.

    Returns
    -------
    dict of str to array
        Scalars, ``weight`` among them.
    """
    # where, not times: a figure of a padding example may be NaN.
    sums = {
        name: jnp.sum(jnp.where(weight > 0, value * weight, 0.0)) for name, value in values.items()
    }
    return _mean(sums | {"weight": jnp.sum(weight)}, axis_name)


def respond(
    network: Network, scale: Scale, params: Any, batch: Batch, *, symmetric: bool = False
) -> jax.Array:
    """What a network says of a batch, in its own units.

    Parameters
    ----------
    network, scale
        The network and its units.
    params : pytree
        Its weights.
    batch : mapping of str to array
        ``counts`` [count], ``exposure`` [s] and ``valid``, each ``[b, y, x, 1]``.
    symmetric : bool
        Mean of the answers to the four mirror images: four times the work, no preferred direction.

    Returns
    -------
    array
        ``[b, s*y, s*x, outputs]``.
    """
    return respond_with(
        functools.partial(apply, network, params), scale, batch, symmetric=symmetric
    )


def respond_with(
    answer: Callable[[jax.Array], jax.Array], scale: Scale, batch: Batch, *, symmetric: bool
) -> jax.Array:
    """As `respond`, whoever answers.

    Parameters
    ----------
    answer : callable
        Network units: ``[b, y, x, c]`` to ``[b, s*y, s*x, outputs]``.
    scale, batch, symmetric
        As for `respond`.
    """
    inputs = to_inputs(scale, batch["counts"], batch["exposure"], batch["valid"])
    if not symmetric:
        return answer(inputs)
    axes = ((), (1,), (2,), (1, 2))
    mirrored = jnp.concatenate([jnp.flip(inputs, axis) for axis in axes])
    answers = jnp.split(answer(mirrored), len(axes))
    back = [jnp.flip(answer, axis) for answer, axis in zip(answers, axes, strict=True)]
    return jnp.mean(jnp.stack(back), axis=0)


def predict(
    network: Network, scale: Scale, params: Any, batch: Batch, *, symmetric: bool = False
) -> jax.Array:
    """Rate that the network sees in a batch.

    Parameters
    ----------
    network, scale, params, batch, symmetric
        As in `respond`.

    Returns
    -------
    array
        Rate [count/s/pixel] on the target grid, ``[b, s*y, s*x, 1]``, 0 where not valid.
    """
    return seen_rate(scale, respond(network, scale, params, batch, symmetric=symmetric), batch)


def seen_rate(scale: Scale, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Rate that the outputs of a network for a batch mean, as `predict`; arguments of `respond`."""
    seen = to_rate(scale, outputs[..., :1], batch["exposure"])
    # Dead pixels do not enter the loss, so what the network says there means nothing.
    live = jnp.repeat(jnp.repeat(batch["valid"], scale.upscale, axis=1), scale.upscale, axis=2)
    return jnp.where(live, seen, 0.0)


def _add_up(sums: Callable[[Batch], Any], batch: Batch, parts: int) -> Any:
    """Sum over the parts of a batch of what ``sums`` makes of one."""
    if parts == 1:
        return sums(batch)
    size = len(batch["weight"])
    if size % parts:
        raise InputError(
            f"--accumulate={parts} does not divide the {size} examples of a device; choose another"
        )
    cut = {name: value.reshape(parts, -1, *value.shape[1:]) for name, value in batch.items()}
    shapes = jax.eval_shape(sums, {name: value[0] for name, value in cut.items()})
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: Any, part: dict[str, jax.Array]) -> tuple[Any, None]:
        # Nothing begins before the last part has ended: XLA:CPU would hold all parts at once.
        ended = sum(leaf.ravel()[0] for leaf in jax.tree.leaves(total))
        late = {
            name: jnp.where(jnp.isnan(ended), 0.0, value) if value.dtype == jnp.float32 else value
            for name, value in part.items()
        }
        return jax.tree.map(jnp.add, total, sums(late)), None

    # On a CPU, convolutions are 20 to 30 times slower in a loop.
    unroll = parts if jax.default_backend() == "cpu" else 1
    return jax.lax.scan(add, zeros, cut, unroll=unroll)[0]


def _mean(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)
