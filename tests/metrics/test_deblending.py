"""Pairs: planted where they should be, scored by hand, and told apart in the target first."""

import jax
import numpy as np
import pytest

from xmm_jax.metrics import deblending
from xmm_jax.metrics.deblending import curve, draw_pairs, half_way, score
from xmm_jax.metrics.detection import detect
from xmm_jax.simulator.optics import build_optics


@pytest.fixture(scope="module")
def optics():
    return build_optics("physical", upscale=2)


def test_half_way():
    separation = np.array([2.0, 4.0, 6.0, 8.0])
    assert half_way(separation, np.array([0.0, 0.25, 0.75, 1.0])) == pytest.approx(5.0)
    assert half_way(separation, np.array([0.6, 0.4, 0.9, 1.0])) == pytest.approx(4.4)
    assert half_way(separation, np.array([0.6, 0.7, 0.9, 1.0])) == 2.0
    assert half_way(separation, np.array([0.0, 0.0, 0.9, 0.2])) == np.inf


def pairs_by_hand():
    table = {"separation": [8.0, 8.0, 0.0], "ratio": [2.0, 2.0, 2.0]}
    table |= {"x1": [50.0, 90.0, 150.0], "y1": [40.0, 40.0, 60.0]}
    table |= {"x2": [52.0, 92.0, 150.0], "y2": [40.0, 40.0, 60.0]}
    table |= {"rate1": [0.02, 0.02, 0.03], "rate2": [0.01, 0.01, 0.0]}
    return {name: np.array(column) for name, column in table.items()}


def test_score_by_hand():
    pairs = pairs_by_hand()
    # What the matched filter shows of two Gaussians of sigma 2 at 8 arcsec: one leaks on the other.
    leak = np.exp(-0.5 * 64 / (16 + 4))
    gain = 0.7
    first, second = gain * (0.02 + leak * 0.01), gain * (0.01 + leak * 0.02)
    found = {"x": np.array([50.0, 52.0, 91.0, 150.0, 151.0])}
    found["y"] = np.array([40.0, 40.0, 40.0, 60.0, 62.0])
    found["rate"] = np.array([first, second, 0.02, gain * 0.03, 0.001])
    table = score(found, pairs)
    assert list(table["both"]) == [True, False, False]
    assert table["relative1"][0] == pytest.approx(gain)
    assert table["relative2"][0] == pytest.approx(gain)
    assert table["relative1"][2] == pytest.approx(gain)
    assert list(table["number"]) == [2, 1, 2]
    result = curve(table, 2.0)
    place = list(result["separation"]).index(8.0)
    assert result["both"][place] == 0.5
    assert result["resolved"][place] == 0.5
    assert result["splits"] == 1.0
    found["rate"][1] *= 1.6
    assert curve(score(found, pairs), 2.0)["resolved"][place] == 0.0


def test_perfect_detection_resolves_all():
    rng = np.random.default_rng(0)
    number = 400
    separation = rng.choice(deblending.SEPARATIONS_ARCSEC, number)
    x, y = rng.uniform(0, 1e6, (2, number))  # far apart
    pairs = {"separation": separation, "ratio": np.ones(number), "x1": x, "y1": y, "y2": y}
    pairs |= {"x2": x + separation / 4, "rate1": np.full(number, 0.01)}
    pairs["rate2"] = np.where(separation > 0, 0.01, 0.0)
    two = separation > 0
    found = {name: np.append(pairs[name + "1"], pairs[name + "2"][two]) for name in ("x", "y")}
    leak = np.exp(-0.5 * separation**2 / (16 + 4)) * two
    rate = 0.01 * (1 + leak)
    found["rate"] = np.append(rate, rate[two])
    result = curve(score(found, pairs), 1.0)
    np.testing.assert_array_equal(result["resolved"], 1.0)
    assert result["d50_resolved"] == 2.0
    assert result["splits"] == 0.0


def test_the_target_parts_pairs_that_the_input_does_not(optics):
    target, observed = [], []
    for number in range(2):
        sample, pairs = draw_pairs(jax.random.key(number), optics, counts=300.0, upscale=2)
        counts, exposure, valid = (sample[name][..., 0] for name in ("counts", "exposure", "valid"))
        truth = sample["target"][..., 0] / 1e5
        rate = np.where(valid, counts / 2e4, 0.0).repeat(2, 0).repeat(2, 1) / 4
        assert set(np.unique(pairs["ratio"])) <= set(deblending.RATIOS)
        apart = 4 * np.hypot(pairs["x1"] - pairs["x2"], pairs["y1"] - pairs["y2"])
        np.testing.assert_allclose(apart, pairs["separation"], atol=1e-3)
        for image, rows in ((truth, target), (rate, observed)):
            rows.append(score(detect(image, counts, exposure, valid), pairs))
    best, seen = (
        curve({name: np.concatenate([row[name] for row in rows]) for name in rows[0]}, 1.0)
        for rows in (target, observed)
    )
    # Half the PSF: FWHM 5 arcsec against 10. Equal peaks part at about one FWHM.
    assert best["d50_both"] == pytest.approx(5.5, abs=1.0)
    assert best["splits"] == 0.0
    assert best["resolved"][-3:] == pytest.approx(1.0, abs=0.1)
    assert seen["d50_both"] > 1.6 * best["d50_both"]
    assert seen["splits"] < 0.1
