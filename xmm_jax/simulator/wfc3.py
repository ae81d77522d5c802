"""Noise of WFC3/UVIS: a long exposure from what is on the sky, a short one from a long one.

Rates are electrons per second and pixel throughout, as in drizzled images. Drizzling also makes the
noise of neighbouring pixels depend on each other; that is not modelled here, nor was it in the
published code.
"""

import jax
import jax.numpy as jnp

from xmm_jax.errors import InputError
from xmm_jax.simulator.poisson import draw_counts

# Both as in the published code of Astro U-net (github.com/Sponka/Astro_U-net, train_network2.py).
READ_NOISE_E = 3.0  # standard deviation of one read-out [electron/pixel]
DARK_E_PER_HOUR = 7.0  # dark current [electron/h/pixel]
NOISES = ("live", "published")


def shorten(
    key: jax.Array,
    rate: jax.Array,
    exposure_s: jax.Array | float,
    ratio: jax.Array | float,
    *,
    valid: jax.Array | None = None,
    noise: str = "live",
    sky_rate: jax.Array | float = 0.0,
) -> jax.Array:
    """Make a short exposure out of a long one.

    Equations 1 to 4 of Vojtekova et al. 2021 (MNRAS 503, 3204) in rates: [Poisson(S t / r)
    + N(0, sqrt(dark t / r)) + N(0, read noise)] / (t / r), with S >= 0. What noise the long image
    has of its own stays in it.

    Parameters
    ----------
    key : array
        Random key.
    rate : array
        Long exposure [electron/s/pixel], any shape, sky subtracted.
    exposure_s : array or float
        Its exposure t [s]; an array that broadcasts at equal rank, such as [b, 1, 1, 1].
    ratio : array or float
        Ratio r of the long to the short exposure, likewise.
    valid : array, optional
        True where there is a measurement, the shape of `rate`. By default everywhere.
    noise : str
        ``"published"``: a pixel that is 0 or negative in the long image is exactly 0 in the short
        one, as in the published code, which sets negative pixels of the long image, the target
        among them, to 0 before. In a sky-subtracted image half of the sky is negative: input and
        target share those zeros, and a network is shown the noise of the target. The target is then
        ``maximum(rate, 0)``. ``"live"``: only pixels that are not `valid` are 0. A negative pixel
        is an expectation of 0 electrons that gets dark and read noise like any other.
        Either way negative results stay negative.
    sky_rate : array or float
        Sky that was subtracted from `rate` [electron/s/pixel], only for ``"live"``: its photons
        arrive, S = max(rate + sky, 0), and it is subtracted again. With 0, as published, its
        shot noise is missing, and the sky of the short image is brighter by the mean of
        ``maximum(-rate, 0)``.

    Returns
    -------
    array
        Short exposure [electron/s/pixel], float32, the shape of `rate`.

    Raises
    ------
    InputError
        `noise` is neither of the two.
    """
    if noise not in NOISES:
        raise InputError(f"noise is {noise!r}; choose one of {', '.join(NOISES)}")
    live = jnp.ones(rate.shape, bool) if valid is None else valid
    if noise == "published":
        live, sky_rate = live & (rate > 0.0), 0.0
    short_s = jnp.asarray(exposure_s, jnp.float32) / ratio
    light_key, noise_key = jax.random.split(key)
    light = draw_counts(light_key, jnp.maximum(rate + sky_rate, 0.0) * short_s)
    # Two independent normal variables are one of the summed variance.
    width = jnp.sqrt(DARK_E_PER_HOUR / 3600.0 * short_s + READ_NOISE_E**2)
    electrons = light + width * jax.random.normal(noise_key, rate.shape)
    return jnp.where(live, electrons / short_s - sky_rate, 0.0)


def expose(
    key: jax.Array,
    truth_rate: jax.Array,
    sky_rate: jax.Array | float,
    exposure_s: jax.Array | float,
    *,
    exposures: jax.Array | float = 1.0,
) -> jax.Array:
    """Observe what is on the sky.

    Parameters
    ----------
    key : array
        Random key.
    truth_rate : array
        Expected rate of the sources, without noise [electron/s/pixel], any shape.
    sky_rate : array or float
        Rate of the sky [electron/s/pixel].
    exposure_s : array or float
        Exposure of all sub-exposures together [s].
    exposures : array or float
        Number of sub-exposures [1], each of which is read out once.

    Returns
    -------
    array
        Observed rate without the mean sky and dark current [electron/s/pixel], float32. Photons and
        dark current are Poisson; the read noise is normal with `exposures` times the variance of
        one read-out. Negative values are kept.
    """
    exposure_s = jnp.asarray(exposure_s, jnp.float32)
    light_key, noise_key = jax.random.split(key)
    level = sky_rate + DARK_E_PER_HOUR / 3600.0
    light = draw_counts(light_key, jnp.maximum(truth_rate + level, 0.0) * exposure_s)
    width = READ_NOISE_E * jnp.sqrt(jnp.asarray(exposures, jnp.float32))
    electrons = light + width * jax.random.normal(noise_key, truth_rate.shape)
    return electrons / exposure_s - level
