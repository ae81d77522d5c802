"""The arithmetic of pairs: every photon and every second goes to the input or to the target."""

import numpy as np
import pytest

from xmm_jax.data.division import thinned_pair, timed_pair
from xmm_jax.data.observation import Observation
from xmm_jax.errors import InputError


def observation(counts, exposure_s=5e4, exposure=None, **options):
    exposure = np.full(counts.shape, exposure_s) if exposure is None else exposure
    options = {"obs_id": "0123456789", "filter": "medium"} | options
    return Observation(counts, exposure, exposure > 0, exposure_s, **options)


def images(sample):
    return sample["counts"][..., 0].astype(int), sample["target"][..., 0].astype(int)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_a_thinned_input_has_its_share_in_every_pixel(share):
    rng = np.random.default_rng(1)
    whole, times = observation(rng.poisson(np.geomspace(2, 2000, 600).reshape(20, 30))), 400
    options = {"sky": "x", "exposure_ks": (50 * share, 50 * share), "seed": 7}
    total = np.zeros(whole.counts.shape)
    for number in range(times):
        counts, target = images(thinned_pair(whole, number=number, **options))
        np.testing.assert_array_equal(counts + target, whole.counts)
        total += counts
    seen = whole.counts > 0
    # The mean of binomial numbers: chi squared with one degree of freedom a pixel.
    spread = whole.counts[seen] * share * (1 - share) / times
    chi2 = (total[seen] / times - whole.counts[seen] * share) ** 2 / spread
    assert abs(chi2.mean() - 1) < 4 * (2 / seen.sum()) ** 0.5
    everything = total.sum() / times / whole.counts.sum()
    assert abs(everything - share) < 4 * (share * (1 - share) / times / whole.counts.sum()) ** 0.5


def test_thinned_halves_of_a_poisson_image_are_independent():
    # Another sky image each time, with a source in it that is a thousand times the background.
    rate = np.where(np.arange(900).reshape(30, 30) % 17, 0.3, 300.0)
    rng, noise = np.random.default_rng(2), []
    for number in range(300):
        whole = observation(rng.poisson(rate))
        pair = thinned_pair(whole, sky="x", exposure_ks=(10, 30), number=number)
        shares = (pair[name].max() / 5e4 for name in ("exposure", "target_exposure"))
        noise.append(
            [(c - rate * s) / np.sqrt(rate * s) for c, s in zip(images(pair), shares, strict=True)]
        )
    first, second = np.moveaxis(np.array(noise), 1, 0)
    n = first.size
    assert abs((first * second).mean()) < 4 / n**0.5 < 0.02
    bright = rate == 300
    assert abs((first * second)[:, bright].mean()) < 4 / (300 * bright.sum()) ** 0.5
    for one in (first, second):
        assert abs(one.mean()) < 4 / n**0.5
        assert one.var() == pytest.approx(1, abs=0.03)


def test_exposure_of_every_pixel_is_divided():
    exposure = np.array([[5e4, 2.6e4, 0.0]])
    pair = thinned_pair(
        observation(np.array([[9, 9, 0]]), exposure=exposure), sky="field", exposure_ks=(5, 100)
    )
    first, second = pair["exposure"][0, :, 0], pair["target_exposure"][0, :, 0]
    assert 5e3 <= first[0] <= 0.8 * 5e4
    np.testing.assert_allclose(first + second, exposure[0], rtol=1e-6)
    np.testing.assert_allclose(first / exposure[0].clip(1), first[0] / 5e4 * (exposure[0] > 0))
    assert pair["valid"][0, :, 0].tolist() == [True, True, False]
    assert pair["pairing"] == "thinned"
    assert (pair["source_id"], pair["obs_id"]) == ("field", "0123456789")
    assert pair["filter"] == "medium"


def test_an_input_leaves_something_for_the_target():
    short = observation(np.ones((2, 2), int), exposure_s=2.4e4)
    with pytest.raises(InputError, match="EXPOSURE is 24000 s, too short to take 20 ks out of it"):
        thinned_pair(short, sky="x")
    assert thinned_pair(short, sky="x", exposure_ks=(19.2, 19.2))["exposure"].max() == 19_200


def test_timed_pairs_subtract_what_the_input_has():
    whole = observation(np.array([[5, 3, 2]]), exposure=np.array([[5e4, 5e4, 2e4]]))
    part = observation(np.array([[2, 0, 2]]), 2e4, np.array([[2e4, 1.5e4, 2e4 - 0.4]]))
    pair = timed_pair(part, whole, sky="x", pairing="disjoint", subtract=True)
    np.testing.assert_array_equal(images(pair), [[[2, 0, 2]], [[3, 3, 0]]])
    np.testing.assert_allclose(pair["target_exposure"][0, :, 0], [3e4, 3.5e4, 0])
    assert pair["target_valid"][0, :, 0].tolist() == [True, True, False]
    pair = timed_pair(part, whole, sky="x", pairing="nested")
    np.testing.assert_array_equal(images(pair), [[[2, 0, 2]], [[5, 3, 2]]])
    with pytest.raises(InputError, match="does not contain the shorter one"):
        timed_pair(whole, part, sky="x", pairing="disjoint", subtract=True)
