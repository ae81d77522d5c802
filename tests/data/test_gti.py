"""Interval arithmetic against the same intervals counted second by second."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.data.gti import (
    drop_short,
    inside,
    intersect,
    length_s,
    longest_first,
    merge,
    time_at,
)

SECONDS = 60

intervals = st.lists(
    st.tuples(st.integers(0, SECONDS), st.integers(0, SECONDS)), min_size=0, max_size=8
)


def cells(gti):
    """Which seconds of 0-60 are good."""
    good = np.zeros(SECONDS, bool)
    for start, stop in np.asarray(gti, int).reshape(-1, 2):
        good[start:stop] = True
    return good


def valid(gti):
    assert gti.dtype == np.float64
    assert gti.shape[1:] == (2,)
    assert (gti[:, 1] > gti[:, 0]).all()
    assert (gti[1:, 0] > gti[:-1, 1]).all()


@given(intervals)
def test_merge_is_the_union(rows):
    gti = merge(np.array(rows).reshape(-1, 2))
    valid(gti)
    np.testing.assert_array_equal(cells(gti), cells(rows))
    assert length_s(gti) == cells(rows).sum()


def test_merge_leaves_out_what_is_no_interval():
    rows = [[5, 3], [1, 1], [np.nan, 7], [8, np.inf], [2, 4]]
    np.testing.assert_array_equal(merge(rows), [[2, 4]])


@given(intervals, intervals)
def test_intersection(one, other):
    gti = intersect(merge(np.array(one)), merge(np.array(other)))
    if len(gti):
        assert (gti[:, 1] > gti[:, 0]).all()
        assert (gti[1:, 0] >= gti[:-1, 1]).all()
    np.testing.assert_array_equal(cells(gti), cells(one) & cells(other))


@given(intervals)
def test_inside_includes_both_ends(rows):
    gti = merge(np.array(rows))
    time = np.arange(-1, SECONDS + 1.25, 0.25)
    brute = [any(start <= t <= stop for start, stop in gti) for t in time]
    np.testing.assert_array_equal(inside(gti, time), brute)


@given(intervals, st.floats(0.01, 70))
def test_good_time_before_a_moment(rows, good):
    gti = merge(np.array(rows))
    until = time_at(gti, good)
    if good > length_s(gti):
        assert until == np.inf
    else:
        assert length_s(intersect(gti, np.array([[-1, until]]))) == pytest.approx(good, abs=1e-9)


def test_time_at_runs_over_the_gaps():
    gti = np.array([[10.0, 20.0], [30.0, 35.0]])
    assert [time_at(gti, good) for good in (0, 4, 10, 11, 15)] == [10, 14, 20, 31, 35]
    assert time_at(gti, 15.5) == np.inf
    assert time_at(np.zeros((0, 2)), 1.0) == np.inf


def test_longest_intervals_first_and_the_last_one_cut_right():
    # 506260401 of the published script is 37.5 ks instead of 20: it cuts at another place.
    gti = np.array([[0.0, 5.0], [10.0, 30.0], [40.0, 52.0], [60.0, 61.0]])
    np.testing.assert_array_equal(longest_first(gti, 25.0), [[10, 30], [40, 45]])
    np.testing.assert_array_equal(longest_first(gti, 34.0), [[0, 2], [10, 30], [40, 52]])
    np.testing.assert_array_equal(longest_first(gti, 100.0), gti)
    np.testing.assert_array_equal(drop_short(gti, 5.0), gti[:3])
