"""What is said of observations that are unlike a training set."""

import dataclasses

import numpy as np
import pytest

from xmm_jax.data.observation import Observation
from xmm_jax.domain import Domain, compare, from_dict, measure_domain
from xmm_jax.errors import InputError

RNG = np.random.default_rng(0)


def observation(seconds=20_000.0, rate=1e-5, filter="thin1"):
    exposure = np.full((40, 50), seconds, np.float32)
    exposure[:, :10] = 0
    counts = RNG.poisson(rate * exposure).astype(np.int32)
    return Observation(counts, exposure, exposure > 0, seconds, filter=filter)


@pytest.fixture(scope="module")
def domain():
    """Of four fields of 100 ks, from 5e-6 to 4e-5 count/s/pixel, thinned down to 5 ks."""
    samples = []
    for rate in (5e-6, 1e-5, 2e-5, 4e-5):
        seen = observation(1e5, rate)
        samples.append(
            {"counts": seen.counts, "exposure": seen.exposure, "valid": seen.valid}
            | {"filter": "thin"}
        )
    return measure_domain(samples, (5e3, 1e5))


def test_the_domain_is_that_of_the_fields(domain):
    np.testing.assert_allclose(domain.mean_rate, (5e-6, 4e-5), rtol=0.1)
    assert domain.live_share == (0.8, 0.8)
    assert domain.filters == ("thin",)
    assert 4e-5 < domain.peak_rate < 4e-4
    assert from_dict(dataclasses.asdict(domain)) == domain


@pytest.mark.parametrize("seconds", [5e3, 2e4, 9e4])
def test_nothing_is_said_of_what_is_like_the_training_set(domain, seconds):
    assert compare(observation(seconds), domain) == ()


@pytest.mark.parametrize(
    ("unlike", "line"),
    [
        ({"seconds": 2e5}, "exposure 200 ks, but the model was trained at 5 to 100"),
        ({"rate": 1e-4, "seconds": 1e5}, "mean rate 9"),
        ({"filter": "thick"}, "filter thick, but the model was trained with thin"),
    ],
)
def test_what_differs_is_said(domain, unlike, line):
    lines = compare(observation(**unlike), domain)
    assert any(text.startswith(line) for text in lines), lines


def test_a_bright_pixel_is_said(domain):
    seen = observation()
    seen.counts[20, 30] = 4000
    lines = compare(seen, domain)
    assert any(text.startswith("brightest pixel 0.187 count/s") for text in lines), lines


def test_dead_pixels_count_for_nothing(domain):
    seen = observation()
    seen.counts[:, :10] = 10_000
    assert compare(seen, domain) == ()


def test_where_an_answer_would_mean_nothing_it_is_refused(domain):
    with pytest.raises(InputError, match="too far for an answer"):
        compare(observation(seconds=2e6, rate=1e-5), domain)
    with pytest.raises(InputError, match="mean rate"):
        compare(observation(rate=1e-2), domain)
    with pytest.raises(InputError, match="no photons"):
        compare(observation(rate=0.0), domain)


def test_what_is_not_known_is_not_judged():
    assert compare(observation(rate=1e-3), Domain((2e4, 2e4))) == ()
    with pytest.raises(TypeError):
        from_dict({"exposure_s": [1, 2], "colour": "red"})
