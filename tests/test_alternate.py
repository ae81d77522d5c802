"""Sources in turn: exact order, from any step, and everything closed."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.alternate import alternating


def numbered(name, closed=None, last=10**6):
    def source(start):
        try:
            for step in range(start, last):
                yield name, step
        finally:
            if closed is not None:
                closed.append(name)

    return source


@given(st.integers(1, 4), st.integers(0, 30), st.integers(0, 20))
def test_any_step_can_be_the_first(number, start, count):
    sources = [numbered(name) for name in range(number)]
    whole = list(itertools.islice(alternating(sources, start_step=0), start + count))
    assert whole == [(step % number, step // number) for step in range(start + count)]
    rest = list(itertools.islice(alternating(sources, start_step=start), count))
    assert rest == whole[start:]


def test_it_ends_with_the_first_that_ends_and_closes_all():
    closed = []
    sources = [numbered("simulated", closed), numbered("real", closed, last=2)]
    found = list(alternating(sources, start_step=1))
    assert found == [("real", 0), ("simulated", 1), ("real", 1), ("simulated", 2)]
    assert sorted(closed) == ["real", "simulated"]
    closed.clear()
    batches = alternating(sources, start_step=0)
    next(batches)
    next(batches)
    batches.close()
    assert sorted(closed) == ["real", "simulated"]
