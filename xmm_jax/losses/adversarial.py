"""Losses of a generator and of its discriminator, from logits of the discriminator.

Relativistic average (Jolicoeur-Martineau 2018, arXiv:1807.00734), as ESRGAN has it (Wang et al.
2018, arXiv:1809.00219, equations 1 and 2): with logits C, means E over a batch and the sigmoid s,
``D(a, b) = s(C(a) - E[C(b)])`` is how likely image a looks more real than images b on average, and

- discriminator: ``-E[log D(real, fake)] - E[log(1 - D(fake, real))]``,
- generator: ``-E[log(1 - D(real, fake))] - E[log D(fake, real)]``.

Plain (Goodfellow et al. 2014, arXiv:1406.2661), the generator's not saturating (its section 3):
``-E[log s(C(real))] - E[log(1 - s(C(fake)))]`` and ``-E[log s(C(fake))]``.

As all losses of the project these give one value per example, ``[b]``, whose weighted mean is the
formula; `batch_mean` takes it, and so does `xmm_jax.step.update`. The means within D reach over all
devices of ``axis_name`` and over the examples given, so that parts of a batch worked through one
after the other have means of their own. Gradients flow through the means as well, as in the
formulas; average gradients over devices, and they are those of the whole batch. The codes of ESRGAN
take half of each sum: a weight of 5e-3 there is 2.5e-3 here.

With s(-x) = 1 - s(x), -log s(x) is softplus(-x), which neither overflows nor takes log(0).
"""

import jax
import jax.numpy as jnp

TINY = 1e-6
"""Least mean weight, so that a batch of padding alone gives 0."""


def relativistic_discriminator(
    real: jax.Array,
    fake: jax.Array,
    weight: jax.Array | None = None,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """Relativistic average loss of the discriminator.

    Parameters
    ----------
    real, fake : array
        Logits of real images and of those of the generator, ``[b]``.
    weight : array, optional
        ``[b]``, 0 for examples that only fill a batch; 1 by default.
    axis_name : str, optional
        Axis of `jax.pmap`, `jax.shard_map` or `jax.vmap` over which devices share the batch.

    Returns
    -------
    array
        ``[b]``, 0 for padding; 2 log 2 where the discriminator sees no difference.

    Raises
    ------
    ValueError
        If logits or weights are not ``[b]``.
    """
    over, under = _beyond_means(real, fake, weight, axis_name)
    return _kept(jax.nn.softplus(-over) + jax.nn.softplus(under), weight)


def relativistic_generator(
    real: jax.Array,
    fake: jax.Array,
    weight: jax.Array | None = None,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """Relativistic average loss of the generator: that of the discriminator, roles changed.

    Parameters
    ----------
    real, fake, weight, axis_name
        As for `relativistic_discriminator`.

    Returns
    -------
    array
        ``[b]``, 0 for padding; 2 log 2 where the discriminator sees no difference.

    Raises
    ------
    ValueError
        If logits or weights are not ``[b]``.
    """
    over, under = _beyond_means(real, fake, weight, axis_name)
    return _kept(jax.nn.softplus(over) + jax.nn.softplus(-under), weight)


def plain_discriminator(
    real: jax.Array, fake: jax.Array, weight: jax.Array | None = None
) -> jax.Array:
    """Plain loss of the discriminator, ``[b]``; parameters as `relativistic_discriminator`."""
    real, fake = _checked(real, fake, weight)
    return _kept(jax.nn.softplus(-real) + jax.nn.softplus(fake), weight)


def plain_generator(fake: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Plain loss of the generator, ``[b]``; parameters as `relativistic_discriminator`."""
    fake, _ = _checked(fake, fake, weight)
    return _kept(jax.nn.softplus(-fake), weight)


def accuracy(
    real: jax.Array,
    fake: jax.Array,
    weight: jax.Array | None = None,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """How often the discriminator is right.

    A real image counts 1 where its logit is above the mean of the fake ones, 0 where below and 1/2
    where equal; a fake one where its logit is below the mean of the real ones. A pair, the i-th
    real and the i-th fake image, has the mean of its two; the weighted mean of pairs is the mean of
    the share of real and the share of fake images told rightly: 1 all, 1/2 chance.

    Parameters
    ----------
    real, fake, weight, axis_name
        As for `relativistic_discriminator`.

    Returns
    -------
    array
        ``[b]``, each 0, 1/4, 1/2, 3/4 or 1; 0 for padding.
    """
    over, under = _beyond_means(real, fake, weight, axis_name)
    return _kept((2 + jnp.sign(over) - jnp.sign(under)) / 4, weight)


def batch_mean(
    values: jax.Array, weight: jax.Array | None = None, *, axis_name: str | None = None
) -> jax.Array:
    """Weighted mean over the batch of all devices.

    Parameters
    ----------
    values : array
        One per example, ``[b]``; those of weight 0 may be anything, NaN too.
    weight, axis_name
        As for `relativistic_discriminator`.

    Returns
    -------
    array
        Scalar, the same on every device; 0 if all weights are.
    """
    weight = jnp.ones_like(values) if weight is None else weight
    # Means of sums over devices: exact also where these hold unequal weights.
    sums = jnp.mean(_kept(values, weight) * weight), jnp.mean(weight)
    total, share = sums if axis_name is None else jax.lax.pmean(sums, axis_name)
    return total / jnp.maximum(share, TINY)


def _beyond_means(
    real: jax.Array, fake: jax.Array, weight: jax.Array | None, axis_name: str | None
) -> tuple[jax.Array, jax.Array]:
    """Logits of real images less the mean of fake ones, and of fake less the mean of real."""
    real, fake = _checked(real, fake, weight)
    mean_real, mean_fake = (batch_mean(x, weight, axis_name=axis_name) for x in (real, fake))
    return real - mean_fake, fake - mean_real


def _kept(values: jax.Array, weight: jax.Array | None) -> jax.Array:
    """Values, 0 for padding."""
    return values if weight is None else jnp.where(weight > 0, values, 0.0)


def _checked(
    real: jax.Array, fake: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Logits, 0 for padding before anything is made of them: 0 times NaN would spread."""
    if real.ndim != 1 or fake.shape != real.shape:
        raise ValueError(f"logits must be [b] both, got {real.shape} and {fake.shape}")
    if weight is not None and weight.shape != real.shape:
        raise ValueError(f"weights must be {real.shape} as the logits, got {weight.shape}")
    return _kept(real, weight), _kept(fake, weight)
