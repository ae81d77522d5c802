"""Tables and figures of sources, on cases that can be counted by hand or by the binomial law."""

import jax
import numpy as np
import pytest
from scipy.stats import poisson

from xmm_jax.metrics import sources
from xmm_jax.metrics.sources import (
    by_bins,
    compare_sources,
    figures,
    invented,
    photon_p_value,
    summarise,
    visible,
)

SHAPE = (411, 403)


def flat(value, dtype=float):
    return np.full(SHAPE, value, dtype)


def test_visible_sources():
    table = {
        "component": np.array(["extended", "point", "companion", "point", "point", "point"]),
        "x": np.array([200.0, 243.0, 243.0, 500.0, 100.0, 30.0]),
        "y": np.array([200.0, 223.0, 238.0, 20.0, 100.4, 30.0]),
        "seen_rate": np.array([1.0, 0.001, 0.01, 1.0, 1.0, 0.0001]),
    }
    valid = flat(True, bool)
    valid[100, 100] = False
    seen = visible(table, flat(20_000.0), valid)
    # Not the extended one, the one off the frame, the one on a dead pixel, the one of 2 counts.
    assert list(seen["counts"]) == [200.0, 20.0]
    assert list(seen["y"]) == [238.0, 223.0]
    np.testing.assert_allclose(seen["off_axis"], [1.0, 0.0])  # 15 pixels of 4 arcsec


def test_photon_p_value_is_the_poisson_tail():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, SHAPE)
    live = flat(True, bool)
    live[:, 60:64] = False
    x, y = np.array([50.3, 62.0, 2.0, 300.0]), np.array([80.0, 90.2, 3.0, 200.4])
    found = photon_p_value(x, y, counts, live)
    row, column = np.indices(SHAPE)
    for at_x, at_y, value in zip(x, y, found, strict=True):
        apart = 4 * np.hypot(column - at_x, row - at_y)
        ring = live & (apart >= 24) & (apart <= 48)
        cell = live & (apart <= 10)
        expected = poisson.sf(counts[cell].sum() - 1, counts[ring].mean() * cell.sum())
        assert value == pytest.approx(expected, rel=1e-9)


def test_p_values_of_empty_places_are_what_they_say():
    rng = np.random.default_rng(4)
    p = np.concatenate(
        [
            photon_p_value(
                *rng.uniform(20, 380, (2, 400)), rng.poisson(3.0, SHAPE), flat(True, bool)
            )
            for _ in range(5)
        ]
    )
    for level in (0.05, 0.3):
        error = np.sqrt(level * (1 - level) / len(p))
        # Counts are whole numbers, so p <= level is a little rarer; the ring has noise too.
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * error + 0.3 * level)


def field():
    """Two true sources, one found; two others found, of which the truth image knows one."""
    true = {"x": [100.0, 200.0], "y": [120.0, 210.0], "seen_rate": [0.02, 0.01]}
    true |= {"counts": [400.0, 200.0], "off_axis": [11.0, 3.0]}
    found = {"x": [300.0, 100.5, 150.0], "y": [300.0, 119.75, 150.0]}
    found |= {"rate": [0.01, 0.015, 0.002], "significance": [30.0, 20.0, 6.0]}
    true, found = ({k: np.array(v) for k, v in table.items()} for table in (true, found))
    reference = np.zeros((822, 806))
    reference[303, 300] = 4.0  # native 150, 151.25: 5 arcsec above the third
    reference[602, 601] = 4.0  # native 300.25, 300.75: 3.2 arcsec from the first
    rate = np.zeros((822, 806))
    counts = np.zeros(SHAPE)
    counts[120, 100] = 50
    return true, found, rate, counts, reference


def test_tables_of_a_field():
    true, found, rate, counts, reference = field()
    tables = compare_sources(
        found, true, rate, counts, flat(2e4), flat(True, bool), reference=reference
    )
    truth, seen = tables["truth"], tables["found"]
    assert list(truth["found"]) == [True, False]
    assert list(truth["significance"]) == [20.0, 0.0]
    assert (truth["dx"][0], truth["dy"][0]) == (2.0, -1.0)
    assert np.isnan(truth["dx"][1])
    assert truth["forced"][0] == 0
    assert np.isnan(truth["own"][1])
    assert list(seen["real"]) == [True, True, False]
    np.testing.assert_allclose(seen["counts"], [200, 300, 40])
    assert truth["p_value"][0] < 1e-10
    assert truth["p_value"][1] == 1.0
    numbers = figures(truth, seen)
    assert numbers["completeness"] == 0.5
    assert numbers["purity"] == pytest.approx(2 / 3)
    assert numbers["f1"] == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert (numbers["offset_x"], numbers["offset_y"]) == (2.0, -1.0)
    assert numbers["offset_median"] == pytest.approx(np.sqrt(5))
    assert numbers["erased"] == 0.0
    assert numbers["unsupported"] == pytest.approx(2 / 3)
    assert figures(truth, seen, threshold=25.0)["completeness"] == 0.0
    assert figures(truth, seen, threshold=25.0)["erased"] == 0.0  # a candidate is left
    bins = by_bins(truth, seen, column="counts", edges=np.array([0, 250.0, np.inf]))
    assert list(bins["completeness"]) == [0.0, 1.0]
    assert list(bins["purity"]) == [0.5, 1.0]
    assert list(bins["true"]) == [1, 1]
    assert list(bins["found"]) == [2, 1]
    bins = by_bins(truth, seen, column="off_axis", edges=sources.ANGLE_EDGES)
    assert np.isnan(bins["completeness"][0])
    assert bins["completeness"][3] == 1.0


def test_nothing_found_in_a_field():
    true, _, rate, counts, reference = field()
    none = {name: np.zeros(0) for name in ("x", "y", "rate", "significance")}
    tables = compare_sources(
        none, true, rate, counts, flat(2e4), flat(True, bool), reference=reference
    )
    numbers = figures(**tables)
    assert numbers["completeness"] == 0
    assert np.isnan(numbers["purity"])
    assert numbers["erased"] == 1.0


def test_bootstrap_error_is_that_of_the_binomial_law():
    rng, tables = np.random.default_rng(5), []
    for _ in range(60):
        hit = rng.random(20) < 0.7
        blank = np.full(20, np.nan)
        truth = {"found": hit, "significance": 9.0 * hit, "counts": np.full(20, 50.0)}
        truth |= dict.fromkeys(("dx", "dy", "forced", "own", "seen_rate"), blank)
        truth["p_value"] = np.ones(20)
        found = {"significance": np.full(5, 9.0), "real": rng.random(5) < 0.9}
        tables.append({"truth": truth, "found": found | {"p_value": np.zeros(5)}})
    result = summarise(jax.random.key(0), tables)
    value, error = result["completeness"]
    assert value == pytest.approx(0.7, abs=0.05)
    assert error == pytest.approx(np.sqrt(0.21 / 1200), rel=0.3)
    value, error = result["purity"]
    assert error == pytest.approx(np.sqrt(0.09 / 300), rel=0.35)
    assert np.isnan(result["erased"][1])
    again = summarise(jax.random.key(0), tables)
    assert again["purity"] == result["purity"]
    binned = summarise(
        jax.random.key(0),
        tables,
        statistic=lambda truth, found: {"share": np.array([truth["found"].mean(), np.nan])},
        draws=50,
    )
    assert binned["share"][1].shape == (2,)


def test_invented_sources_are_counted_by_field():
    fields = [{"x": np.zeros(number)} for number in (0, 3, 1, 0)]
    assert invented(fields) == (1.0, 0.5)
    assert invented(fields[:1]) == (0.0, 1.0)
