"""Scores against held-out photons: likelihoods of scipy, and the mean of many drawn targets."""

import numpy as np
import pytest
from scipy import stats

from xmm_jax.errors import InputError
from xmm_jax.metrics.statistics import bits_per_photon, floor_subtracted, noise_floor

CLIP = 0.002


@pytest.fixture
def scene():
    """Rates, one of them off by up to half, exposures and live pixels, asymmetric."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:30, :41]
    rate = 1e-4 + 3e-3 * np.exp(-0.5 * ((x - 11) ** 2 + (y - 20) ** 2) / 9)
    exposure = 3e4 * (1 - 0.01 * x)
    valid = rng.random(rate.shape) < 0.8
    return rng, rate, rate * (0.7 + 0.6 * rng.random(rate.shape)), exposure, valid


def test_bits_are_a_ratio_of_likelihoods(scene):
    rng, rate, wrong, exposure, valid = scene
    counts = rng.poisson(rate * exposure)
    photons = counts[valid].sum()
    flat = photons / exposure[valid].sum()
    likelihood = {
        name: stats.poisson.logpmf(counts, image * exposure)[valid].sum()
        for name, image in (("rate", rate), ("wrong", wrong), ("flat", flat))
    }
    for name, image in (("rate", rate), ("wrong", wrong)):
        expected = (likelihood[name] - likelihood["flat"]) / photons / np.log(2)
        assert bits_per_photon(image, counts, exposure, valid) == pytest.approx(expected, rel=1e-9)
    assert likelihood["rate"] > likelihood["wrong"]


def test_bits_of_a_known_pattern():
    # Three of four photons fall on a quarter of the pixels: 2 - H(1/4, 3/4) - log2(3) / 4 bits.
    counts = np.full((8, 8), 100)
    counts[:, :2] = 900
    bits = 0.75 * np.log2(3) + 0.25 * np.log2(1 / 3)
    ones = np.ones((8, 8))
    assert bits_per_photon(counts / 5.0, counts, 5 * ones, ones > 0) == pytest.approx(bits)
    assert bits_per_photon(ones, counts, 5 * ones, ones > 0, rescale=True) == pytest.approx(0)
    # Twice the photons costs 1 / ln 2 - 1 bits, unless only the shape counts.
    double = bits_per_photon(counts / 2.5, counts, 5 * ones, ones > 0)
    assert double == pytest.approx(bits + 1 - 1 / np.log(2))
    shape = bits_per_photon(counts / 2.5, counts, 5 * ones, ones > 0, rescale=True)
    assert shape == pytest.approx(bits)


def test_a_photon_where_the_image_says_never_costs_ten_bits():
    counts, exposure = np.ones((10, 100)), np.full((10, 100), 7.0)
    rate, valid = np.full((10, 100), 1 / 7), np.ones((10, 100), bool)
    rate[3, 5] = 0
    score = bits_per_photon(rate, counts, exposure, valid)
    assert score * 1000 == pytest.approx(np.log2(1e-3) + (1 - 1e-3) / np.log(2))
    valid[3, 5] = False
    assert bits_per_photon(rate, counts, exposure, valid) == pytest.approx(0)


def test_impossible_scores(scene):
    _, rate, _, exposure, valid = scene
    with pytest.raises(InputError, match="no photon"):
        bits_per_photon(rate, np.zeros(rate.shape), exposure, valid)
    with pytest.raises(InputError, match="expected one shape"):
        bits_per_photon(rate[1:], np.ones(rate.shape), exposure, valid)


def _error(rate, target, exposure, valid):
    value, seen = (np.clip(x / CLIP, 0, 1) for x in (rate, target / exposure))
    return np.where(valid, (value - seen) ** 2, 0)


@pytest.mark.parametrize("region", ["frame", "mask"])
def test_floor_is_the_error_of_the_truth(scene, region):
    rng, rate, _, exposure, valid = scene
    targets = rng.poisson(rate * exposure, (4000, *rate.shape))
    errors = _error(rate, targets, exposure, valid).mean((1, 2))
    errors /= valid.mean() if region == "mask" else 1
    assert rate.max() > CLIP > rate.min()
    exact = noise_floor(targets[0], exposure, valid, clip_rate=CLIP, expected=rate, region=region)
    assert exact == pytest.approx(errors.mean(), abs=4 * errors.std() / 4000**0.5)
    assert errors.std() / 4000**0.5 < 0.01 * exact
    # Without the truth: unbiased where nothing is near the clip.
    faint = np.minimum(rate, 3e-4)
    targets = rng.poisson(faint * exposure, (400, *rate.shape))
    options = {"clip_rate": CLIP, "region": region}
    found = [noise_floor(target, exposure, valid, **options) for target in targets]
    exact = noise_floor(targets[0], exposure, valid, expected=faint, **options)
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / 20)


def test_error_beyond_the_floor(scene):
    rng, rate, wrong, exposure, valid = scene
    rate, wrong = (np.minimum(x, 4e-4) for x in (rate, wrong))
    true = _error(wrong, rate * exposure, exposure, valid).mean()
    scores = [
        floor_subtracted(wrong, rng.poisson(rate * exposure), exposure, valid, clip_rate=CLIP)
        for _ in range(600)
    ]
    excess, error = (np.array([getattr(s, name) for s in scores]) for name in ("excess", "error"))
    assert excess.mean() == pytest.approx(true, abs=4 * excess.std() / 600**0.5)
    assert error.mean() == pytest.approx(excess.std(), rel=0.1)
    mean = scores[0]
    assert mean.plain < mean.psnr
    assert mean.plain < mean.ceiling
    # The truth is as good as can be seen: the limit, not infinity, is what is left.
    truth = floor_subtracted(rate, rng.poisson(rate * exposure), exposure, valid, clip_rate=CLIP)
    assert abs(truth.excess) < 4 * truth.error
    assert truth.psnr <= -10 * np.log10(truth.error + 1e-8)
    assert truth.plain == pytest.approx(truth.ceiling, abs=1)
