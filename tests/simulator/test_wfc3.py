import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.simulator import wfc3

PIXELS = 200_000
KEY = jax.random.key(3)


def flat(rate):
    return jnp.full((PIXELS,), rate, jnp.float32)


def agrees(draws, mean, variance):
    """Mean and variance within five standard errors; electrons are nearly normal here."""
    draws = np.asarray(draws, float)
    assert draws.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / draws.size))
    assert draws.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / draws.size) * 1.5)


@pytest.mark.parametrize("noise", wfc3.NOISES)
@pytest.mark.parametrize(
    ("rate", "seconds", "ratio"), [(0.01, 800, 2), (0.3, 2000, 5), (50, 600, 3)]
)
def test_a_short_exposure_has_mean_and_variance_of_equation_4(noise, rate, seconds, ratio):
    short = wfc3.shorten(KEY, flat(rate), seconds, ratio, noise=noise)
    time = seconds / ratio
    agrees(short, rate, (rate * time + 7 / 3600 * time + 3**2) / time**2)


def test_every_image_of_a_batch_has_its_own_exposure_and_ratio():
    rate = jnp.full((3, 200, 200, 1), 0.2)
    seconds = jnp.float32([600, 1200, 4000]).reshape(3, 1, 1, 1)
    ratio = jnp.float32([2, 4, 5]).reshape(3, 1, 1, 1)
    short = wfc3.shorten(KEY, rate, seconds, ratio)
    assert short.shape == rate.shape
    assert short.dtype == jnp.float32
    for one, time in zip(short, (300, 300, 800), strict=True):
        agrees(one, 0.2, (0.2 * time + 7 / 3600 * time + 9) / time**2)
    assert not np.array_equal(short[0], short[1])


def test_published_noise_leaves_zeros_where_the_long_image_is_not_positive():
    rate = jnp.tile(jnp.float32([-0.02, 0.0, 0.001]), (1000, 1))
    short = np.asarray(wfc3.shorten(KEY, rate, 1000.0, 2.0, noise="published", sky_rate=0.05))
    assert not short[:, :2].any()
    assert (short[:, 2] != 0).all()
    assert (short[:, 2] < 0).any()  # what the noise makes negative stays


def test_live_noise_leaves_zeros_only_in_dead_pixels():
    valid = jnp.arange(PIXELS) % 2 == 0
    short = np.asarray(wfc3.shorten(KEY, flat(-0.02), 1000.0, 2.0, valid=valid))
    assert not short[1::2].any()
    assert (short[::2] != 0).all()
    agrees(short[::2], 0.0, (7 / 3600 * 500 + 9) / 500**2)


def test_the_photons_of_a_sky_that_is_told_arrive_and_leave_the_mean_alone():
    short = wfc3.shorten(KEY, flat(-0.01), 1000.0, 2.0, sky_rate=0.06)
    agrees(short, -0.01, ((0.05 + 7 / 3600) * 500 + 9) / 500**2)


def test_the_same_key_gives_the_same_image():
    first, again, other = (
        wfc3.shorten(jax.random.key(seed), flat(1.0), 500.0, 2.0) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert np.mean(np.asarray(first) == np.asarray(other)) < 0.05


def test_an_unknown_noise_is_refused():
    with pytest.raises(InputError, match=r"^noise is 'loud'; choose one of live, published$"):
        wfc3.shorten(KEY, flat(1.0), 500.0, 2.0, noise="loud")


@pytest.mark.parametrize(("truth", "exposures"), [(0.0, 2), (0.5, 4), (40.0, 1)])
def test_a_long_exposure_has_the_noise_of_all_its_electrons(truth, exposures):
    rate = wfc3.expose(KEY, flat(truth), 0.05, 1500.0, exposures=exposures)
    electrons = (truth + 0.05 + 7 / 3600) * 1500
    agrees(rate, truth, (electrons + 9 * exposures) / 1500**2)
