"""Error bars against laws that are known."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from xmm_jax.errors import InputError
from xmm_jax.models.intervals import LEVELS, Bins, Intervals, count_scores, fit

BINS = Bins(counts=(1.0, 4.0), angle_arcmin=(6.0,), exposure_s=(20_000.0,))
LAWS = {
    "normal": stats.norm(0, 1.7),
    "skewed": stats.gamma(2, loc=-1, scale=0.8),
    "heavy": stats.t(3, loc=0.3),
}


def field(seed, law, n=20_000):
    """Pixels all over the bins whose scores follow a law: truth, u, sigma, exposure, angle."""
    rng = np.random.default_rng(seed)
    u, sigma = rng.uniform(0.1, 4, n), rng.uniform(0.02, 0.04, n)
    exposure, angle = rng.uniform(5e3, 1e5, n), rng.uniform(0, 14, n)
    score = law.rvs(n, random_state=rng)
    # Pixels far out are wide: nothing but the cell says so.
    score = np.where(angle > 6, 2 * score, score)
    return u + sigma * score, u, sigma, exposure, angle


def fitted(fields, **options):
    histograms = [count_scores(*one, bins=BINS) for one in fields]
    reached = np.stack([one.sum(axis=-1) for one in histograms])
    return fit(np.sum(histograms, axis=0), reached, bins=BINS, **options)


@pytest.mark.parametrize("name", LAWS)
def test_table_holds_the_quantiles_of_the_law(name):
    law = LAWS[name]
    intervals = fitted([field(k, law) for k in range(24)])
    assert intervals.table.shape == (3, 2, 3, len(LEVELS))
    for angle, factor in ((0, 1.0), (1, 2.0)):
        found = intervals.table[angle].reshape(-1, len(LEVELS))
        # A quantile of n scores scatters by sqrt(p (1 - p) / n) / density.
        p = np.array(LEVELS)
        n = 24 * 20_000 * 0.1
        error = factor * np.sqrt(p * (1 - p) / n) / law.pdf(law.ppf(p))
        assert np.all(np.abs(found - factor * law.ppf(p)) < 6 * error + 0.02 * factor)


@pytest.mark.parametrize("name", LAWS)
def test_truth_of_new_fields_lies_between_the_bounds_as_often_as_said(name):
    intervals = fitted([field(k, LAWS[name]) for k in range(24)])
    truth, *given = field(100, LAWS[name], n=100_000)
    for low, high in zip(LEVELS, LEVELS[::-1], strict=True):
        if low >= high:
            break
        below, above = intervals.bounds(*given, low=low, high=high)
        inside = (below <= truth) & (truth <= above)
        for far in (given[3] <= 6, given[3] > 6):
            assert inside[far].mean() == pytest.approx(high - low, abs=0.01)


def test_unknown_angle_takes_all_angles_together():
    intervals = fitted([field(k, LAWS["normal"]) for k in range(24)])
    truth, u, sigma, exposure, angle = field(100, LAWS["normal"], n=100_000)
    below, above = intervals.bounds(u, sigma, exposure)
    inside = (below <= truth) & (truth <= above)
    assert inside.mean() == pytest.approx(0.68, abs=0.01)
    assert inside[angle <= 6].mean() > 0.75 > 0.68 > inside[angle > 6].mean()


def test_ranks_are_those_of_split_conformal():
    # 39 scores 1 to 39: of 40 ranks the 2.5 % and 97.5 % ones are the first and the last score, and
    # the truth of the next pixel lies between them with a chance of 38/40 and not less than 95 %.
    score = np.arange(1.0, 40.0)
    ones = np.ones(39)
    given = (score, 0 * ones, ones, 1e4 * ones, 3 * ones)
    intervals = fitted([given], least_fields=1.0, levels=(0.025, 0.02, 0.5, 0.975, 0.98))
    first, beyond, middle, last, above = intervals.table[0, 0, 0]
    assert (first, middle, last) == (
        pytest.approx(1.0, rel=0.01),
        pytest.approx(20.0, rel=0.01),
        pytest.approx(39.0, rel=0.01),
    )
    # Not cut short by the histogram, and nothing is claimed beyond the scores seen.
    assert first <= 1.0 < 39.0 <= last
    assert (beyond, above) == (-above, above)
    assert above > 99


def test_few_fields_are_pooled_with_like_pixels():
    law = LAWS["normal"]
    fields = [field(k, law) for k in range(12)]
    # Bright pixels at short exposure are in two fields alone, and far from the law.
    for k, (truth, u, sigma, exposure, angle) in enumerate(fields):
        rare = (u >= 2) & (exposure < 20_000) & (angle <= 6)
        truth = np.where(rare, u + 50 * sigma, truth)
        keep = ~rare if k > 1 else np.ones(len(u), bool)
        fields[k] = tuple(one[keep] for one in (truth, u, sigma, exposure, angle))
    alone = fitted(fields, least_fields=1.0)
    pooled = fitted(fields, least_fields=10.0)
    assert alone.table[0, 0, 2, 4] > 40
    # All angles together: mostly the pixels far out.
    np.testing.assert_array_equal(pooled.table[0, 0, 2], pooled.table[2, 0, 2])
    assert abs(pooled.table[0, 0, 2, 4]) < 1.0
    others = np.ones((2, 2, 3), bool)
    others[0, 0, 2] = False
    np.testing.assert_array_equal(alone.table[:2][others], pooled.table[:2][others])


def test_empty_brightness_takes_the_nearest():
    truth, u, *rest = zip(*[field(k, LAWS["normal"]) for k in range(12)], strict=True)
    dim = [one < 2 for one in u]
    columns = (truth, u, *rest)
    fields = [tuple(c[k][dim[k]] for c in columns) for k in range(12)]
    table = fitted(fields, least_fields=5.0).table
    # Of all angles and exposures in the bin of 1 to 4 counts, whatever the cell.
    np.testing.assert_array_equal(table[..., 2, :], np.broadcast_to(table[0, 0, 2], (3, 2, 9)))
    assert table[0, 0, 2, 6] == pytest.approx(np.mean(table[:2, :, 1, 6]), rel=0.2)


def test_nothing_but_one_field_is_taken_together():
    table = fitted([field(0, LAWS["normal"])]).table
    np.testing.assert_array_equal(table, np.broadcast_to(table[0, 0, 0], table.shape))


def test_bounds_grow_with_the_level_and_are_not_negative():
    intervals = fitted([field(k, LAWS["heavy"]) for k in range(12)])
    rng = np.random.default_rng(0)
    u = rng.uniform(0, 0.1, (30, 40)).astype(np.float32)
    values = np.stack(intervals.quantiles(u, 0.2, 3e4, rng.uniform(0, 14, u.shape)))
    assert values.shape == (len(LEVELS), 30, 40)
    assert values.dtype == np.float32
    assert np.all(np.diff(values, axis=0) >= 0)
    assert values.min() == 0
    low, high = intervals.bounds(u, 0.2, 3e4)
    assert low.shape == high.shape == u.shape


def test_json_and_back():
    intervals = fitted([field(k, LAWS["skewed"]) for k in range(12)])
    text = intervals.to_json()
    again = Intervals.from_json(text)
    assert (again.bins, again.levels, again.fields) == (BINS, LEVELS, 12)
    np.testing.assert_array_equal(again.table, intervals.table)
    size = math.prod(Bins().shape) * 5 // 4 * len(LEVELS)
    assert len(text) / intervals.table.size * size < 50_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"table": [1.0, 2.0]}, "table"),
        ({"levels": 3}, "calibrate again"),
        ({"bins": {"colour": [1]}}, "colour"),
        (None, "damaged"),
    ],
)
def test_damage_is_named(change, words):
    intervals = fitted([field(0, LAWS["normal"])])
    text = "{" if change is None else json.dumps(json.loads(intervals.to_json()) | change)
    with pytest.raises(InputError, match=words) as error:
        Intervals.from_json(text, name="intervals.json")
    assert str(error.value).startswith("intervals.json: ")


def test_other_levels_are_refused():
    intervals = fitted([field(0, LAWS["normal"])])
    with pytest.raises(InputError, match=r"level 0\.3 is not calibrated; choose from 0\.025"):
        intervals.bounds(np.ones(3), 0.1, 2e4, low=0.3)


def test_without_pixels_there_is_nothing_to_calibrate():
    nothing = tuple(np.zeros(0) for _ in range(5))
    with pytest.raises(InputError, match="no live pixels"):
        fitted([nothing])
