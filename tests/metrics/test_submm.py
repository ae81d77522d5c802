"""Galaxies at 450 um: catalogues and Gaussians made here, pairs found by brute force."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmm_jax.errors import InputError
from xmm_jax.metrics.submm import Rule, judge_field
from xmm_jax.metrics.submm_figures import flux_curve, offsets, pool, rates, wilson
from xmm_jax.metrics.submm_sources import Sources, beam_fwhm, detect, isolated, match, stack_psf

BEAM = 7.9 / 2
SIZE = 128


def catalogue(x, y, flux):
    return Sources(*(np.asarray(column, float) for column in (x, y, flux)))


def painted(sources, size=SIZE, fwhm=BEAM):
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size))
    for x0, y0, flux in zip(*sources, strict=True):
        image += flux * 0.5 ** (4 * ((x - x0) ** 2 + (y - y0) ** 2) / fwhm**2)
    return image


def grid(seed, step=20, low=4.0, high=40.0):
    """Sources far from each other, off the centres of pixels."""
    rng = np.random.default_rng(seed)
    y, x = (axis.ravel() for axis in np.mgrid[12 : SIZE - 8 : step, 12 : SIZE - 8 : step])
    shift = rng.uniform(-2, 2, (2, x.size))
    return catalogue(x + shift[0], y + shift[1], rng.uniform(low, high, x.size))


def padded(sources):
    return Sources(*(np.append(column, np.zeros(5)) for column in sources))


def test_peaks_of_gaussians_are_found_where_and_as_bright_as_painted():
    truth = grid(1)
    found = detect(painted(truth), threshold_mjy=3.0, fwhm_pixel=BEAM)
    order = np.argsort(-truth.flux)
    for name in ("x", "y", "flux"):
        # Tails of neighbours 20 pixels away are far below.
        np.testing.assert_allclose(getattr(found, name), getattr(truth, name)[order], rtol=1e-4)


def test_a_threshold_is_that_of_the_peak_between_pixels():
    truth = catalogue([40.5], [50.5], [3.01])  # its brightest pixel has 2.76
    image = painted(truth)
    assert image.max() < 3
    assert len(detect(image, threshold_mjy=3.0, fwhm_pixel=BEAM).x) == 1
    assert len(detect(image, threshold_mjy=3.02, fwhm_pixel=BEAM).x) == 0


def test_plateaus_borders_flat_maps_and_holes():
    flat = np.zeros((32, 32))
    assert len(detect(flat, threshold_mjy=1.0, fwhm_pixel=BEAM).x) == 0
    flat[10:13, 10:13] = 9.0  # as a clipped output has them
    flat[0, 20] = 5.0
    flat[25, 25] = np.nan
    found = detect(flat, threshold_mjy=1.0, fwhm_pixel=BEAM)
    assert len(found.x) == 2
    assert (found.x[1], found.y[1], found.flux[1]) == (20, 0, 5)
    assert len(detect(np.full((16, 16), 4.0), threshold_mjy=1.0, fwhm_pixel=BEAM).x) == 1


def brute_force(found, truth, radius, least, share):
    partner, taken = [-1] * len(truth.x), set()
    for i in sorted(range(len(truth.x)), key=lambda i: -truth.flux[i]):
        near = [
            (math.hypot(found.x[j] - truth.x[i], found.y[j] - truth.y[i]), j)
            for j in range(len(found.x))
            if j not in taken and truth.flux[i] >= share * found.flux[j]
        ]
        near = [pair for pair in near if pair[0] <= radius]
        if near and truth.flux[i] >= least and truth.flux[i] > 0:
            partner[i] = min(near)[1]
            taken.add(partner[i])
    return partner


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 15),
    st.integers(0, 15),
    st.floats(0.5, 8),
    st.sampled_from([0.0, 1 / 3, 0.5]),
)
def test_match_is_that_by_brute_force(seed, number, wanted, radius, share):
    rng = np.random.default_rng(seed)
    found = catalogue(*rng.uniform(0, 20, (2, number)), rng.uniform(3, 30, number))
    truth = catalogue(*rng.uniform(0, 20, (2, wanted)), rng.uniform(-1, 30, wanted).clip(0))
    partner = match(found, truth, radius_pixel=radius, least_mjy=2.0, share=share)
    assert partner.tolist() == brute_force(found, truth, radius, 2.0, share)


def test_a_faint_neighbour_makes_nothing_true():
    found, truth = catalogue([10], [10], [12]), catalogue([10, 14], [11, 10], [2, 5])
    assert match(found, truth, radius_pixel=6).tolist() == [-1, 0]
    assert match(found, truth, radius_pixel=6, share=0.5).tolist() == [-1, -1]
    assert match(found, truth, radius_pixel=4, share=5 / 12).tolist() == [-1, 0]
    assert match(found, truth, radius_pixel=3.9, share=5 / 12).tolist() == [-1, -1]


def test_a_perfect_map_is_perfect():
    tables = []
    for seed in range(3):
        truth = grid(seed)
        image = painted(truth)
        tables.append(judge_field(image, padded(truth), target=image))
    figures = json.loads(json.dumps(pool(tables), allow_nan=False))
    for name in ("completeness", "purity"):
        rows = [row for row in figures[name] if row["number"]]
        assert sum(row["number"] for row in rows) == 3 * 36
        assert all(row["value"] == 1 for row in rows)
    assert all(abs(row["median"] - 1) < 0.01 for row in figures["flux"] if row["number"])
    assert figures["offsets"]["p90"] < 0.1
    assert figures["offsets"]["beyond_12"] == 0
    assert figures["offsets"]["histogram"][0] == 3 * 36
    assert figures["false"] == []
    assert figures["pixels"] == {
        "rms": 0.0,
        "correlation": pytest.approx(1),
        "mean_ratio": pytest.approx(1),
    }
    assert figures["psf"]["fwhm"] == pytest.approx(7.9, rel=0.02)
    assert figures["psf"]["profile"][0] == pytest.approx(1, abs=0.01)
    assert figures["headline"] == {
        "completeness": 1,
        "purity": 1,
        "bright_purity": 1,
        "lowest_purity": 1,
        "flux_ratio": pytest.approx(1, abs=0.01),
    }


def test_an_empty_map_finds_nothing_and_an_empty_field_makes_all_false():
    truth = grid(4)
    empty = pool([judge_field(np.zeros((SIZE, SIZE)), truth)])
    assert empty["headline"] == {
        "completeness": 0,
        "purity": None,
        "bright_purity": None,
        "lowest_purity": None,
        "flux_ratio": None,
    }
    assert (empty["psf"]["number"], empty["psf"]["fwhm"], empty["pixels"]) == (0, None, {})
    none = catalogue([0], [0], [0])
    ghosts = pool([judge_field(painted(truth), none)])
    assert ghosts["headline"]["purity"] == 0
    assert len(ghosts["false"]) == 36
    assert ghosts["false"][0]["nearest_arcsec"] is None
    assert ghosts["offsets"]["beyond_20"] == 1
    nothing = pool([judge_field(np.zeros((SIZE, SIZE)), none)])
    assert nothing["offsets"]["beyond_12"] is None
    json.dumps([empty, ghosts, nothing], allow_nan=False)


def test_false_and_missing_sources_are_told():
    truth = catalogue([30, 60, 90, 90], [30, 60, 90, 30], [20, 10, 5, 16])
    # The last is gone, another is five times too bright, and one was made up 15 pixels from any.
    shown = catalogue([30, 60, 90, 30], [30, 63, 90, 45], [20, 10, 25, 8])
    figures = pool([judge_field(painted(shown), truth)])
    found = {row["low"]: (row["good"], row["number"]) for row in figures["completeness"]}
    assert [found[low] for low in (20, 15, 9, 4)] == [(1, 1), (0, 1), (1, 1), (0, 1)]
    by_flux = {row["low"]: (row["good"], row["number"]) for row in figures["purity"]}
    assert (by_flux[20.0], by_flux[9.0], by_flux[6.0]) == ((1, 2), (1, 1), (0, 1))
    first, second = figures["false"]
    assert first["flux"] == pytest.approx(25, rel=1e-3)
    assert first["nearest_arcsec"] == pytest.approx(0, abs=0.01)
    assert first["nearest_mjy"] == 5
    assert (second["x"], second["y"]) == (pytest.approx(30, abs=0.01), pytest.approx(45, abs=0.01))
    assert second["nearest_arcsec"] == pytest.approx(30, abs=0.01)
    assert figures["headline"]["completeness"] == 0.5
    # Pairs: 0 and 6 arcsec. Of 25 mJy none like it is closer than the 16 of 60 pixels away.
    assert figures["offsets"]["number"] == 2
    assert figures["offsets"]["p90"] == pytest.approx(0.9 * 6, abs=0.02)
    assert figures["offsets"]["beyond_20"] == 0.5


def test_sources_at_the_border_take_partners_but_do_not_count():
    truth = catalogue([2, 60], [60, 60], [10, 10])
    image = painted(truth)
    table = judge_field(image, truth)
    assert (len(table["true"]["flux"]), len(table["found"]["flux"])) == (1, 1)
    table = judge_field(image, truth, rule=Rule(edge_pixel=0))
    assert table["found"]["real"] == [True, True]


def test_luck_is_that_of_a_turned_sky():
    size = SIZE - 1
    # Turned by 180 degrees one source lies on the other.
    truth = catalogue([30, size - 31], [50, size - 51], [10, 11])
    table = judge_field(painted(truth), truth)
    assert table["true"]["chance"] == [True, True]
    alone = judge_field(painted(catalogue([30], [50], [10])), truth)
    assert alone["found"]["chance"] == [True]
    assert alone["true"]["chance"] == [False, True]


def test_fields_are_pooled_source_by_source():
    tables = [judge_field(painted(grid(seed)), grid(seed + 50), target=painted(grid(seed + 50)))
              for seed in (1, 2)]  # fmt: skip
    figures, single = pool(tables), [pool([table]) for table in tables]
    for name in ("completeness", "purity", "flux"):
        for row, *parts in zip(figures[name], *(one[name] for one in single), strict=True):
            assert row["number"] == sum(part["number"] for part in parts)
    assert len(figures["false"]) == sum(len(one["false"]) for one in single)
    wrong = sum(one["pixels"]["rms"] ** 2 for one in single) / 2
    assert figures["pixels"]["rms"] == pytest.approx(math.sqrt(wrong))
    a, b = (np.stack([painted(grid(seed)) for seed in seeds]) for seeds in ((1, 2), (51, 52)))
    assert figures["pixels"]["correlation"] == pytest.approx(
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
    )
    assert figures["pixels"]["mean_ratio"] == pytest.approx(a.mean() / b.mean())


def test_bins_take_their_lower_edge_and_the_last_all_above():
    flux = np.array([0.5, 1.0, 1.9, 2.0, 3.0, 99.0])
    rows = rates(flux, flux < 2.5, flux > 9, edges=(1, 2, 3))
    assert [(row["number"], row["good"], row["chance"]) for row in rows] == [
        (2, 2, 0), (3, 1, pytest.approx(1 / 3))]  # fmt: skip
    ratio = flux_curve(flux, np.array([1, np.nan, 3.8, 1.0, 6.0, np.nan]), edges=(1, 2, 3))
    assert [(row["number"], row["median"]) for row in ratio] == [(1, 2.0), (2, 1.25)]


def test_wilson_interval_solves_its_equation():
    # Its ends are the shares p with (share - p)^2 = p (1 - p) / n.
    for good, number in ((0, 7), (3, 7), (95, 100), (4, 4)):
        for end in wilson(good, number):
            assert (good / number - end) ** 2 == pytest.approx(end * (1 - end) / number, abs=1e-12)
    assert wilson(0, 0) == (0, 1)


def test_offsets_beyond_the_histogram_are_in_its_last_bin():
    row = offsets(np.array([1.0, 3.0]), np.array([1.0, 3.5, 15.0, 44.0, np.nan]))
    assert (row["median"], row["beyond_12"], row["beyond_20"]) == (2.0, 0.6, 0.4)
    assert {place: n for place, n in enumerate(row["histogram"]) if n} == {1: 1, 3: 1, 15: 1, 30: 2}


@pytest.mark.parametrize("fwhm", [BEAM, 5.5])
def test_a_stack_has_the_width_that_was_painted(fwhm):
    truth = grid(7)
    noise = np.random.default_rng(0).normal(0, 1.0, (SIZE, SIZE))
    stamp, number = stack_psf(painted(truth, fwhm=fwhm) + noise, truth, 8)
    # Those of the first row and column may lie closer to the border than half a cut-out is wide.
    assert 30 <= number <= 36
    assert stamp[8, 8] == pytest.approx(1, abs=0.05)
    assert beam_fwhm(stamp, pixel_arcsec=2.0) == pytest.approx(2 * fwhm, rel=0.05)


def test_an_empty_stack_has_no_width():
    stamp, number = stack_psf(np.ones((40, 40)), catalogue([], [], []), 8)
    assert (number, stamp.max()) == (0, 0)
    assert math.isnan(beam_fwhm(stamp, pixel_arcsec=2.0))


def test_isolated_sources_are_bright_and_alone():
    truth = catalogue([10, 50, 55, 90, 92], [10, 50, 50, 90, 90], [7, 20, 5, 10, 9])
    assert isolated(truth).tolist() == [False, True, False, False, False]


def test_what_cannot_be_judged_is_told():
    with pytest.raises(InputError, match="expected one shape"):
        judge_field(np.zeros((8, 8)), grid(0), target=np.zeros((9, 9)))
    with pytest.raises(InputError, match="no field"):
        pool([])
    few = [judge_field(np.zeros((64, 64)), grid(0), half_width=half) for half in (5, 6)]
    with pytest.raises(InputError, match="cannot be pooled"):
        pool(few)
