"""The optimiser as one visible optax chain: clip, Adam, decay, schedule, averaged weights.

Adam with betas 0.9 and 0.999 as in the paper (section 4.2); everything else is off by default.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from xmm_jax.config import OptimConfig


class AverageState(NamedTuple):
    """Number of updates (a scalar), and the exponential average of the weights, like ``params``."""

    number: jax.Array
    params: Any


def make_optimiser(config: OptimConfig, *, steps: int) -> optax.GradientTransformation:
    """Build the optimiser of a run.

    Parameters
    ----------
    config : OptimConfig
        Learning rate, schedule, clipping, decay, averaging.
    steps : int
        Updates in all; the end of the cosine.

    Returns
    -------
    optax.GradientTransformation
        Its ``update`` needs the weights as third argument.
    """
    parts = []
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    parts.append(optax.scale_by_adam(b1=config.beta1, b2=0.999, eps=1e-8))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay))
    parts.append(optax.scale_by_learning_rate(learning_rate_schedule(config, steps=steps)))
    if config.average:
        parts.append(average_params(config.average))
    return optax.chain(*parts)


def learning_rate_schedule(config: OptimConfig, *, steps: int) -> optax.Schedule:
    """Learning rate as a function of the number of updates made.

    Linear warm-up to the peak, then constant, a half cosine to zero at ``steps``, or constant and
    from ``drop_after`` on a tenth of it, as for Astro U-net (Vojtekova et al. 2020, section 3.2).
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, max(steps - warmup, 1))
    elif config.schedule == "drop":
        left = max(config.drop_after - warmup, 0)
        after = optax.piecewise_constant_schedule(peak, {left: 0.1})
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    # From 1/warmup, not 0: the first update should not be lost.
    ramp = optax.linear_schedule(peak / warmup, peak, warmup)
    return optax.join_schedules([ramp, after], [warmup])


def average_params(decay: float) -> optax.GradientTransformation:
    """Keep an exponential average of the weights in the optimiser state; last in a chain.

    Parameters
    ----------
    decay : float
        Share of the old average kept per update; warmed up as ``(1 + t) / (10 + t)`` so that the
        random start is forgotten quickly.
    """

    def init(params: Any) -> AverageState:
        # A copy: the step gives the memory of weights and of their average back apart.
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

    def update(updates: Any, state: AverageState, params: Any) -> tuple[Any, AverageState]:
        keep = jnp.minimum(decay, (1.0 + state.number) / (10.0 + state.number))
        new = optax.apply_updates(params, updates)
        mean = optax.incremental_update(new, state.params, 1.0 - keep)
        return updates, AverageState(state.number + 1, mean)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]


def averaged_params(params: Any, opt_state: Any) -> Any:
    """Weights to validate and export: the average where one is kept, else the weights themselves.

    Parameters
    ----------
    params : pytree
        Weights of the last update.
    opt_state : pytree
        State of the optimiser built by `make_optimiser`.
    """

    def is_average(node: Any) -> bool:
        return isinstance(node, AverageState)

    found = [n for n in jax.tree.leaves(opt_state, is_leaf=is_average) if is_average(n)]
    return found[0].params if found else params


def used_params(state: Any) -> Any:
    """Weights of a state that are validated and used: averaged where they are, else the last."""
    return averaged_params(state.params, state.opt_state)
