"""Smoke tests of the scripts in benchmarks/ that measure the simulator."""

import importlib
from pathlib import Path

import jax
import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_rows_know_whether_they_are_within(script):
    rows = script("rows")
    assert rows.Row(1, "x", (2.0, 0.1), 2.09).good
    assert not rows.Row(1, "x", (2.0, 0.1), 2.11).good
    assert rows.Row(1, "x", "< 0.2", 0.1).good
    assert not rows.Row(1, "x", ">= 0.998", 0.99).good
    assert rows.Row(1, "x", None, 5.0).good is None
    text = rows.table([rows.Row(3, "width", (2.0, 0.1), 2.5)]).splitlines()
    assert text[-1] == "| 3 | width | 2 ± 0.1 | 2.5 | **no** |"
    assert {line.count("|") for line in text} == {6}


def test_a_check_that_stops_leaves_the_others(script):
    checks = {
        "light": script("checks_instrument").check_light,
        "broken": lambda: [][0],
        "vignetting": script("checks_instrument").check_vignetting,
    }
    rows, stopped = script("validate_simulator").run(checks)
    assert {row.test for row in rows} == {4, 8}
    assert all(row.good is not False for row in rows)
    assert len(stopped) == 1
    assert "broken" in stopped[0]


def test_everything_named_can_be_checked(script):
    checks = script("validate_simulator").all_checks(Path("/nowhere"))
    assert {"psf", "poisson", "blank fields"} <= set(checks)
    assert not any("sixte" in name for name in checks)


def test_windows_meet_at_equal_brightness(script):
    realism, rng = script("realism"), np.random.default_rng(0)
    theirs = rng.poisson(0.30, (2, 411, 403))
    ours = rng.poisson(0.33, (4, 411, 403))
    windows = realism.match(rng, theirs, ours, 20)
    totals = windows.counts.sum(axis=(1, 2))
    np.testing.assert_array_equal(totals[windows.sixte == 1], totals[windows.sixte == 0])
    with pytest.raises(ValueError, match="no windows"):
        realism.match(rng, theirs, 3 * ours, 20)


def test_moved_photons_are_still_there(script):
    realism, rng = script("realism"), np.random.default_rng(0)
    frames = np.zeros((1, 411, 403), int)
    frames[0, 250, 100] = 4000
    moved = realism.move_photons(rng, frames, 2.0)[0]
    row, column = np.indices(moved.shape)
    assert moved.sum() == 4000
    assert np.average(row, weights=moved) == pytest.approx(250, abs=0.2)
    spread = np.average((column - 100) ** 2, weights=moved)
    assert spread == pytest.approx(2.0**2 + 1 / 12, rel=0.1)


def test_area_under_the_curve_counts_pairs(script):
    score, label = np.array([0.1, 0.4, 0.4, 0.8, 0.9]), np.array([0, 0, 1, 0, 1])
    # Of the six pairs (of SIXTE, of ours) four are in order and one is a tie.
    assert script("realism").area_under_curve(score, label) == pytest.approx(4.5 / 6)


@pytest.mark.slow
def test_a_network_sees_what_is_plain(script):
    realism, rng = script("realism"), np.random.default_rng(0)
    smooth = rng.poisson(0.3, (64, 32, 32))
    clumped = 3 * rng.poisson(0.1, (64, 32, 32))
    counts = np.concatenate([smooth, clumped]).astype(np.float32)
    windows = realism.Windows(counts, np.repeat([0, 1], 64))
    params = realism.train(jax.random.key(0), windows, steps=30, batch=16)
    assert realism.score(params, windows) > 0.9


def test_a_sheet_has_input_above_truth(script):
    sheet = script("simulator_sheet")
    fields = [(np.full((30, 24), 3), np.ones((60, 48))) for _ in range(9)]
    fields[0][0][:15] = 0  # the lower half is drawn at the bottom
    image = sheet.make_sheet(fields)
    assert image.shape == (4 * 12, 8 * 10)
    assert (image[1:6, 1:9] == sheet.SHADES - 1).all()
    assert not image[6:11, 1:9].any()
    assert len(sheet.colours()) == 3 * sheet.SHADES
