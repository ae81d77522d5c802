"""Matching against a plain loop and against cases that can be done by hand."""

import numpy as np

from xmm_jax.metrics.matching import match


def columns(rows, *names):
    return {name: np.array([row[place] for row in rows], float) for place, name in enumerate(names)}


def true(*rows):
    return columns(rows, "x", "y", "seen_rate")


def found(*rows):
    return columns(rows, "x", "y")


def test_the_brightest_takes_the_nearest_and_the_next_what_is_left():
    there = true((10.0, 5.0, 1.0), (10.5, 5.0, 9.0), (40.0, 5.0, 3.0))
    # The detection at 10.1 is nearest to both of the first two.
    seen = found((10.1, 5.0), (8.9, 5.0), (60.0, 5.0))
    assert list(match(seen, there, radius=1.5)) == [1, 0, -1]
    assert list(match(seen, there, radius=1.0)) == [-1, 0, -1]


def test_nothing_found_or_nothing_there():
    assert list(match(found(), true((1, 2, 3)), radius=9)) == [-1]
    assert len(match(found((1, 2)), true(), radius=9)) == 0


def test_like_a_plain_loop():
    rng = np.random.default_rng(2)
    there = dict(zip(("x", "y", "seen_rate"), rng.random((3, 60)) * 20, strict=True))
    seen = dict(zip(("x", "y"), rng.random((2, 80)) * 20, strict=True))
    taken, expected = set(), np.full(60, -1)
    for one in np.argsort(-there["seen_rate"]):
        apart = np.hypot(seen["x"] - there["x"][one], seen["y"] - there["y"][one])
        for place in np.argsort(apart):
            if apart[place] <= 1.2 and place not in taken:
                taken.add(place)
                expected[one] = place
                break
    assert (expected < 0).any()
    np.testing.assert_array_equal(match(seen, there, radius=1.2), expected)
