"""Calibration of a network on fields of known truth, and what it says of fields it has not seen."""

import dataclasses
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from xmm_jax import calibrate as module
from xmm_jax.calibrate import FIRST_FIELD, apertures, calibrate_on
from xmm_jax.config import NetworkConfig
from xmm_jax.coverage import Points, coverage_table, measure
from xmm_jax.data.pairs import make_sample
from xmm_jax.dataset import STREAM_VALIDATION_FIRST
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN, angle_map
from xmm_jax.model import Model, make_network
from xmm_jax.models import init
from xmm_jax.models.intervals import Bins, count_scores, fit
from xmm_jax.protocols import FIRST

COUNTS = NetworkConfig(size="tiny", stretch="counts", spread=True, unshuffle=2)


@functools.cache
def untrained(config=COUNTS, task="dn"):
    network, scale = make_network(task, config)
    params = init(jax.random.key(0), network, config.in_channels)
    return Model(task, network, params, scale, {})


def field(number):
    """Smooth sky of random brightness with a few sources; 100 ks, noise-free target."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: PN.shape[0], : PN.shape[1]]
    rate = np.full(PN.shape, rng.uniform(0.5e-5, 2e-5)) * (1 + 0.5 * np.sin(x / 40 + number))
    for x0, y0, power in zip(*rng.uniform((30, 30, -4), (370, 370, -1), (20, 3)).T, strict=True):
        rate += 10**power / 50 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 16)
    live = np.hypot(x - PN.fov_centre[0], y - PN.fov_centre[1]) < PN.fov_radius
    seconds = np.where(live, 1e5, 0.0)
    return make_sample(
        rng.poisson(rate * 1e5),
        seconds,
        live,
        rate * 1e5,
        seconds,
        live,
        source_id=f"field-{number}",
        obs_id=f"field-{number}",
        pairing="simulated",
        target_kind="expected",
    )


@pytest.fixture(scope="module")
def calibrated():
    return calibrate_on(untrained(), map(field, range(14)), fields=14, exposures=2)


def test_bounds_of_even_an_untrained_network_hold_the_truth(calibrated):
    # What split conformal prediction promises: whatever the network, on fields like those before.
    everything = calibrated.report["pixels"][0]
    assert everything["by"] == "all"
    assert everything["share"] == 1.0
    for kind in ("pixels", "apertures"):
        row = calibrated.report[kind][0]
        off = np.abs(np.subtract(row["coverage"], calibrated.report["chances"]))
        # The quantiles themselves scatter as much as the coverage does.
        assert np.all(off < 4 * np.sqrt(2) * np.array(row["error"]) + 0.005)
    # The network itself, untrained, is far off.
    assert abs(everything["normal"][1] - 0.68) > 0.2


def test_report_covers_every_point_once(calibrated):
    report = json.loads(json.dumps(calibrated.report))
    assert (report["fields"], report["folds"], report["exposures"]) == (14, 10, 2)
    assert calibrated.pixels.fields == calibrated.apertures.fields == 14
    for kind in ("pixels", "apertures"):
        for by in ("counts", "angle", "exposure", "true counts"):
            rows = [row for row in report[kind] if row["by"] == by]
            assert sum(row["share"] for row in rows) == pytest.approx(1.0)
            for row in rows:
                assert np.all(np.diff(row["coverage"]) >= 0)
                assert row["width"] > 0
    # Half of the exposures are from 5 to 22.4 ks, the others from there to 100 ks.
    shares = [row["share"] for row in report["pixels"] if row["by"] == "exposure"]
    assert sum(shares[:2]) == pytest.approx(0.5)


def test_same_seed_same_error_bars():
    first, again, other = (
        calibrate_on(untrained(), map(field, range(2)), fields=2, exposures=1, seed=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.pixels.table, again.pixels.table)
    assert first.report == again.report
    assert np.any(other.pixels.table != first.pixels.table)


def test_table_of_coverage_leaves_out_rare_bins(calibrated):
    rows = calibrated.report["pixels"]
    text = coverage_table(rows)
    common = [row for row in rows if row["share"] >= 0.01]
    assert len(text.splitlines()) == 2 + len(common) < 2 + len(rows)
    assert text.splitlines()[2].startswith("| all | 100.0 | ")
    assert {line.count("|") for line in text.splitlines()} == {8}


def points(seed, n=4000, worse=1.0):
    """Normal errors of width 0.1, a common shift of a field included, times `worse`."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(0.3, 3, n)
    error = 0.08 * rng.normal(size=n) + 0.06 * rng.normal()
    drawn = rng.uniform(5e3, 1e5, n), rng.uniform(0, 14, n)
    return Points(u + worse * error, u, np.full(n, 0.1), *drawn)


def one_bin(fields):
    bins = Bins(counts=(1.0,), angle_arcmin=(), exposure_s=())
    histograms = [count_scores(*one, bins=bins) for one in fields]
    return fit(sum(histograms), np.stack([h.sum(-1) for h in histograms]), bins=bins)


def test_measure_tells_error_bars_that_are_too_short():
    law = {"pixels": one_bin([points(k) for k in range(40)])}
    judged = [{"pixels": [points(k, worse=2.0)]} for k in range(100, 140)]
    report = measure(judged, itertools.repeat(law), {"pixels": law["pixels"].bins})
    row = report["pixels"][0]
    # Normal errors twice as large: inside with P(|z| < z_c / 2).
    expected = [2 * stats.norm.cdf(stats.norm.ppf((1 + c) / 2) / 2) - 1 for c in report["chances"]]
    np.testing.assert_allclose(row["coverage"], expected, atol=0.08)
    np.testing.assert_allclose(row["normal"], expected, atol=0.08)
    assert row["width"] == pytest.approx(0.1 * stats.norm.ppf(0.84), rel=0.15)


def test_stated_error_is_the_scatter_between_sets_of_fields():
    law = {"pixels": one_bin([points(k) for k in range(40)])}
    laws, kinds = itertools.repeat(law), {"pixels": law["pixels"].bins}
    reports = [
        measure([{"pixels": [points(1000 * s + k)]} for k in range(20)], laws, kinds)["pixels"][0]
        for s in range(1, 41)
    ]
    scatter = np.std([row["coverage"] for row in reports], axis=0, ddof=1)
    stated = np.mean([row["error"] for row in reports], axis=0)
    np.testing.assert_allclose(stated, scatter, rtol=0.4)
    # Far more than if the pixels were independent.
    assert np.all(stated > 4 * np.sqrt(0.25 / (20 * 4000)))


def test_aperture_holds_the_counts_of_its_source():
    s, side = 2, 60
    live = np.ones((side, side), bool)
    live[:, :6] = False
    dark = np.zeros((side, side))
    u, truth = dark.copy(), dark.copy()
    # 36 and 100 counts of the input, in one pixel each of four to the input pixel; the truth has
    # its 49 counts spread within 15 arcsec. Most of the other's aperture lies beyond the frame.
    u[20, 30], u[59, 59] = s * 6.0, s * 10.0
    truth[20, 23:38] = s * np.sqrt(49 / 15)
    seen = Points(truth, u, np.ones_like(u), np.full_like(u, 3e4), np.full_like(u, 4.0))
    found = apertures(seen, live, s)
    bright = found.u > 1
    assert bright.sum() == 1
    assert found.u[bright] == pytest.approx(6.0)
    assert found.truth[bright] == pytest.approx(7.0)
    assert found.sigma[bright] == 0.5
    assert (found.exposure[bright], found.angle[bright]) == (3e4, 4.0)


def test_angles_are_those_of_the_frame():
    x, y = map(round, PN.axis)
    assert angle_map(PN, 1).shape == PN.shape
    assert angle_map(PN, 1)[y, x] == 0
    assert angle_map(PN, 1)[y, x - 150] == pytest.approx(10.0)
    fine = angle_map(PN, 2).reshape(PN.shape[0], 2, PN.shape[1], 2).mean((1, 3))
    np.testing.assert_allclose(fine[:, :100], angle_map(PN, 1)[:, :100], atol=1e-3)


def test_fields_are_out_of_reach():
    assert FIRST["tuning"] + 10**6 < FIRST_FIELD
    assert FIRST_FIELD + 10**6 < STREAM_VALIDATION_FIRST


def test_models_without_width_are_refused():
    for config in (dataclasses.replace(COUNTS, spread=False), NetworkConfig(size="tiny")):
        network, scale = make_network("dn", config)
        model = Model("dn", network, {}, scale, {})
        with pytest.raises(InputError, match="states no width"):
            calibrate_on(model, [], fields=8)
    with pytest.raises(InputError, match="at least 2"):
        calibrate_on(untrained(), [], fields=1)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["dn", "sr"])
def test_simulated_fields(task):
    config = dataclasses.replace(COUNTS, target_clip_rate=1e-3)
    calibrated = module.calibrate(untrained(config, task), fields=4, exposures=1)
    assert calibrated.report["fields"] == 4
    assert jnp.all(jnp.isfinite(jnp.asarray(calibrated.pixels.table)))
