import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from xmm_jax.simulator import poisson

DRAWS = 1_000_000
draw = jax.jit(poisson.draw_counts)


@pytest.mark.parametrize("mean", [0.01, 0.1, 1.0, 3.0, 7.9, 8.1, 11.99, 12.01, 30.0, 500.0])
def test_law_of_a_million_draws(mean):
    counts = np.asarray(draw(jax.random.key(round(100 * mean)), jnp.full((1000, 1000), mean)))
    assert counts.dtype == np.int32
    assert counts.min() >= 0
    # Four standard errors of the mean and of the variance of a Poisson sample.
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / DRAWS))
    variance_error = np.sqrt((mean + 2 * mean**2) / DRAWS)
    assert counts.var() == pytest.approx(mean, abs=4 * variance_error)
    # Chi-squared of the histogram; cells with few expected draws are pooled at both ends.
    low, high = stats.poisson.ppf([2e-5, 1 - 2e-5], mean).astype(int)
    found = np.bincount(np.clip(counts.ravel(), low, high), minlength=high + 1)[low:]
    law = stats.poisson.pmf(np.arange(low, high + 1), mean)
    law[0], law[-1] = stats.poisson.cdf(low, mean), stats.poisson.sf(high - 1, mean)
    assert stats.chisquare(found, DRAWS * law).pvalue > 1e-3


def test_each_pixel_has_its_own_mean():
    mean = np.random.default_rng(1).uniform(0, 40, size=(300, 200)).astype(np.float32)
    draws = [np.asarray(draw(key, mean)) for key in jax.random.split(jax.random.key(2), 40)]
    z = (np.mean(draws, axis=0) - mean) / np.sqrt(mean / 40)
    assert np.mean(z) == pytest.approx(0.0, abs=4 / np.sqrt(z.size))
    assert np.std(z) == pytest.approx(1.0, abs=4 / np.sqrt(2 * z.size))


def test_no_light_no_counts_and_very_bright_pixels():
    assert not np.asarray(draw(jax.random.key(0), jnp.zeros((50, 70)))).any()
    bright = np.asarray(draw(jax.random.key(1), jnp.full((100, 100), 2e6)))
    assert bright.mean() == pytest.approx(2e6, abs=4 * np.sqrt(2e6 / 1e4))


def test_nested_images_hold_the_photons_of_the_shorter_ones():
    rate = jnp.linspace(0.0, 2e-4, 90_000).reshape(300, 300)
    times = (20_000.0, 50_000.0, 100_000.0)
    images = [np.asarray(one) for one in poisson.draw_nested(jax.random.key(3), rate, times)]
    assert (images[0] <= images[1]).all()
    assert (images[1] <= images[2]).all()
    for image, exposure_s in zip(images, times, strict=True):
        expected = float(rate.sum()) * exposure_s
        assert image.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
        z = (image - rate * exposure_s)[1:] / np.sqrt(rate[1:] * exposure_s)
        assert np.var(z) == pytest.approx(1.0, abs=0.03)
    residual = [(i - rate * t).ravel() for i, t in zip(images, times, strict=True)]
    # sqrt(20 / 50) = 0.632 of the noise is shared, as in the published nested files.
    assert np.corrcoef(residual[0], residual[1])[0, 1] == pytest.approx(0.632, abs=0.015)
