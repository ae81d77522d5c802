"""Learning images that a second network takes for real: the ESRGAN variant of the slides.

Wang et al. 2018 (arXiv:1809.00219), equation 3: the generator, trained before, goes on with a sum
of the difference of features, the relativistic loss and the pixel loss; the discriminator
(`xmm_jax.models.discriminator`) learns beside it, on the same images. It invents detail: what looks
real need not be there, which `evaluate` counts as invented sources.

The weights in use are those of the last step: the validation loss is that of pixels, which a
generator without a discriminator lowers further.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from xmm_jax.adversarial_config import AdversarialConfig, AdversarialSettings
from xmm_jax.config import TASKS, parse_loss
from xmm_jax.errors import InputError
from xmm_jax.learners.image import other_params
from xmm_jax.line import Learner
from xmm_jax.losses import combine
from xmm_jax.losses.adversarial import (
    accuracy,
    batch_mean,
    plain_discriminator,
    plain_generator,
    relativistic_discriminator,
    relativistic_generator,
)
from xmm_jax.losses.perceptual import Extractor, perceptual, random_extractor, vgg_extractor
from xmm_jax.model import make_network
from xmm_jax.models import init, without_loop
from xmm_jax.models.discriminator import VGGDiscriminator
from xmm_jax.models.stretch import rate, to_rate
from xmm_jax.optim import make_optimiser, used_params
from xmm_jax.parallel import AXIS
from xmm_jax.step import Batch, descend, eval_step, outputs_and_target
from xmm_jax.validation import figures

# The random features are the same in every run.
FEATURES_SEED = 0
# Fold-ins of the seed; the generator has the key itself.
DISCRIMINATOR, NOISE = 1, 2


class AdversarialState(NamedTuple):
    """All that changes during training.

    Updates made (``step``, a scalar), weights (``params``) and state of the optimiser
    (``opt_state``) of the generator; those of the discriminator (``discriminator``,
    ``discriminator_opt_state``) and its ``statistics`` of batch normalisation.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    discriminator: Any
    statistics: Any
    discriminator_opt_state: Any


@dataclasses.dataclass(frozen=True)
class Parts:
    """What never changes during a run.

    Attributes
    ----------
    settings : AdversarialSettings
        Weights, noise, kind of loss.
    network, scale
        Generator and its units.
    discriminator : VGGDiscriminator
        Judges images in network units.
    loss, feature : callable
        Of pixels; of features, both ``[b]``.
    optimiser, discriminator_optimiser : optax.GradientTransformation
        One for each.
    key : array
        Random key of the noise, whatever the step.
    """

    settings: AdversarialSettings
    network: Any
    scale: Any
    discriminator: VGGDiscriminator
    loss: Any
    feature: Any
    optimiser: optax.GradientTransformation
    discriminator_optimiser: optax.GradientTransformation
    key: jax.Array


def learn(config: AdversarialConfig, *, unroll: bool = False) -> Learner:
    """Generator, discriminator, losses and optimisers of a run.

    Parameters
    ----------
    config : AdversarialConfig
        All settings.
    unroll : bool
        Without the loop over blocks of the generator.

    Raises
    ------
    InputError
        For settings that do not work together, a loss that is unknown, or a file of VGG that cannot
        be read.
    """
    parts = make_parts(config, make_extractor(config.adversarial.vgg), unroll=unroll)

    def start() -> AdversarialState:
        key = jax.random.key(config.seed)
        params = init(key, parts.network, config.network.in_channels)
        images = jnp.zeros((1, *parts.discriminator.sides, 1))
        draw = jax.jit(functools.partial(parts.discriminator.init, train=False))
        variables: Any = draw(jax.random.fold_in(key, DISCRIMINATOR), images)
        return AdversarialState(
            jnp.zeros((), jnp.int32),
            params,
            parts.optimiser.init(params),
            variables["params"],
            variables["batch_stats"],
            parts.discriminator_optimiser.init(variables["params"]),
        )

    def adopt(state: AdversarialState, folder: str) -> AdversarialState:
        params = other_params(config, folder, like=state.params)
        return state._replace(params=params, opt_state=parts.optimiser.init(params))

    def rows(outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        found = figures(outputs, batch, scale=parts.scale, loss=parts.loss)
        return found | {"feature": feature_loss(parts, outputs, batch)}

    evaluate = functools.partial(eval_step, network=parts.network, scale=parts.scale, rows=rows)
    return Learner(start, adopt, functools.partial(update, parts=parts), used_params, evaluate)


def make_extractor(vgg: str) -> Extractor:
    """Features to compare: of ``vgg``, a file of VGG16, or random ones if it is empty.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    return vgg_extractor(vgg) if vgg else random_extractor(jax.random.key(FEATURES_SEED))


def make_parts(config: AdversarialConfig, extractor: Extractor, *, unroll: bool = False) -> Parts:
    """What never changes during a run.

    Parameters
    ----------
    config : AdversarialConfig
        All settings.
    extractor : callable
        From images [clip rate] to features.
    unroll : bool
        As for `learn`.

    Raises
    ------
    InputError
        For settings that do not work together.
    """
    check(config)
    settings = config.adversarial
    network, scale = make_network(config.task, config.network)
    network = without_loop(network) if unroll else network
    side = config.crop * scale.upscale
    second = dataclasses.replace(config.optim, learning_rate=settings.learning_rate, average=0.0)
    return Parts(
        settings,
        network,
        scale,
        VGGDiscriminator((side, side), settings.filters, settings.halvings, axis_name=AXIS),
        combine(parse_loss(config.loss), stretch=config.network.stretch),
        perceptual(extractor),
        make_optimiser(config.optim, steps=config.steps),
        make_optimiser(second, steps=config.steps),
        jax.random.fold_in(jax.random.key(config.seed), NOISE),
    )


def check(config: AdversarialConfig) -> None:
    """Refuse settings that do not work together.

    Raises
    ------
    InputError
        Naming the flag and what it should be.
    """
    settings = config.adversarial
    if not config.init_from:
        raise InputError("adversarial training goes on from a trained generator: --init_from=RUN")
    if config.accumulate > 1:
        raise InputError("--accumulate: a discriminator compares whole batches; leave it away")
    if min(settings.filters, settings.halvings) < 1:
        raise InputError("--adversarial.filters and --adversarial.halvings must be at least 1")
    if min(settings.weight, settings.feature_weight, settings.pixel_weight, settings.noise) < 0:
        raise InputError("--adversarial: weights and noise must not be negative")
    if not settings.learning_rate > 0:
        raise InputError("--adversarial.learning_rate must be positive")
    side, step = config.crop * TASKS[config.task].upscale, 2**settings.halvings
    if not side or side % step:
        raise InputError(
            f"--crop={config.crop}: targets of {side} pixels; the discriminator of "
            f"--adversarial.halvings={settings.halvings} needs multiples of {step}"
        )


def update(
    state: AdversarialState, batch: Batch, *, parts: Parts
) -> tuple[AdversarialState, dict[str, jax.Array]]:
    """One update of the generator, and one of the discriminator on the same images.

    Both see each other as they were before, as in the code of ESRGAN.

    Parameters
    ----------
    state : AdversarialState
        Before it.
    batch : mapping of str to array
        The part of the batch on this device, as in `xmm_jax.step`.
    parts : Parts
        What never changes.

    Returns
    -------
    AdversarialState
        The same on every device.
    dict of str to array
        ``loss`` and ``grad_norm`` of the generator; ``pixel``, ``feature`` and ``adversarial``, of
        which its loss is the weighted sum; ``discriminator_loss`` and ``accuracy``.
    """
    weight = batch["weight"]
    # The same noise for both updates, another one on every device.
    key = jax.random.fold_in(jax.random.fold_in(parts.key, state.step), jax.lax.axis_index(AXIS))
    sight = functools.partial(see, key, parts=parts)

    def generator(params: Any) -> tuple[jax.Array, Any]:
        fixed: dict[str, Any] = {"network": parts.network, "scale": parts.scale}
        outputs, target = outputs_and_target(params, batch, **fixed)
        real, fake, _ = sight(state.discriminator, state.statistics, target, outputs[..., :1])
        rows = {
            "pixel": parts.loss(outputs, target),
            "feature": feature_loss(parts, outputs, batch),
            "adversarial": _adversarial(parts, real, fake, weight),
        }
        return jnp.sum(_weighted(parts.settings, rows) * weight), (rows, outputs, target)

    def discriminator(params: Any, target: jax.Array, image: jax.Array) -> tuple[jax.Array, Any]:
        real, fake, statistics = sight(params, state.statistics, target, image)
        rows = _opposed(parts, real, fake, weight)
        right = accuracy(real, fake, weight, axis_name=AXIS)
        return jnp.sum(rows * weight), (right, statistics)

    (total, (rows, outputs, target)), gradient = jax.value_and_grad(generator, has_aux=True)(
        state.params
    )
    params, opt_state, found = descend(
        state.params,
        state.opt_state,
        (total, gradient, jnp.sum(weight)),
        optimiser=parts.optimiser,
    )
    (total, (right, statistics)), gradient = jax.value_and_grad(discriminator, has_aux=True)(
        state.discriminator, target, jax.lax.stop_gradient(outputs[..., :1])
    )
    second, second_opt_state, judged = descend(
        state.discriminator,
        state.discriminator_opt_state,
        (total, gradient, jnp.sum(weight)),
        optimiser=parts.discriminator_optimiser,
    )
    rows = rows | {"accuracy": right}
    found |= {name: batch_mean(value, weight, axis_name=AXIS) for name, value in rows.items()}
    found["discriminator_loss"] = judged["loss"]
    new = AdversarialState(state.step + 1, params, opt_state, second, statistics, second_opt_state)
    return new, found


def see(
    key: jax.Array,
    params: Any,
    statistics: Any,
    target: jax.Array,
    image: jax.Array,
    *,
    parts: Parts,
) -> tuple[jax.Array, jax.Array, Any]:
    """Logits of real images and of those of the generator, and statistics after both.

    Real images first and by themselves, so that each kind is normalised by its own batch. Their
    asinh is seen: in square roots of counts one bright source would decide the means and variances
    of a whole batch.

    Parameters
    ----------
    key : array
        Random key of the noise on the images.
    params, statistics : pytree
        Of the discriminator.
    target, image : array
        Real images and those of the generator, ``[b, y, x, 1]``, square roots of counts.
    parts : Parts
        What never changes.

    Returns
    -------
    real, fake : array
        Logits, ``[b]``.
    statistics : pytree
        After both.
    """

    def judged(key: jax.Array, images: jax.Array, statistics: Any) -> tuple[jax.Array, Any]:
        noise = parts.settings.noise * jax.random.normal(key, images.shape)
        variables = {"params": params, "batch_stats": statistics}
        logits, after = parts.discriminator.apply(
            variables, jnp.asinh(images) + noise, train=True, mutable=["batch_stats"]
        )
        return logits, after["batch_stats"]

    first, second = jax.random.split(key)
    real, statistics = judged(first, target, statistics)
    fake, statistics = judged(second, image, statistics)
    return real, fake, statistics


def feature_loss(parts: Parts, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Difference of features of rates over the clip rate, outputs against target, ``[b]``."""
    clip, valid = parts.scale.target_clip_rate, batch["target_valid"]
    seen = jnp.where(valid, to_rate(parts.scale, outputs[..., :1], batch["exposure"]), 0.0)
    truth = rate(batch["target"], batch["target_exposure"], valid)
    return parts.feature(seen / clip, truth / clip)


def _weighted(settings: AdversarialSettings, rows: dict[str, jax.Array]) -> jax.Array:
    return (
        settings.pixel_weight * rows["pixel"]
        + settings.feature_weight * rows["feature"]
        + settings.weight * rows["adversarial"]
    )


def _adversarial(parts: Parts, real: jax.Array, fake: jax.Array, weight: jax.Array) -> jax.Array:
    if parts.settings.kind == "plain":
        return plain_generator(fake, weight)
    return relativistic_generator(real, fake, weight, axis_name=AXIS)


def _opposed(parts: Parts, real: jax.Array, fake: jax.Array, weight: jax.Array) -> jax.Array:
    if parts.settings.kind == "plain":
        return plain_discriminator(real, fake, weight)
    return relativistic_discriminator(real, fake, weight, axis_name=AXIS)
