"""Jobs in three stages: each done once, in bounded numbers, whatever fails."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.bulk import in_parallel


def run(jobs, *, read=lambda job: job, answer=None, finish=None, kind=lambda loaded: 0, **options):
    answer = answer or (lambda loaded: [2 * one for one in loaded])
    finish = finish or (lambda job, loaded, said: (job, loaded, said))
    return list(in_parallel(jobs, read, answer, finish, kind=kind, **options))


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 3), st.integers(1, 4))
def test_each_job_is_done_once(number, together, threads, kinds):
    sizes = []

    def answer(loaded):
        assert len({one % kinds for one in loaded}) == 1
        sizes.append(len(loaded))
        return [2 * one for one in loaded]

    options = {"together": together, "threads": threads, "kind": lambda loaded: loaded % kinds}
    found = run(range(number), answer=answer, **options)
    assert all(one.error is None for one in found)
    assert sorted(one.result for one in found) == [(k, k, 2 * k) for k in range(number)]
    assert max(sizes, default=0) <= together


def test_what_fails_is_named_and_the_rest_goes_on():
    def fail(stage, job):
        if job % 5 == stage:
            raise ValueError(f"stage {stage}, job {job}")

    def read(job):
        fail(0, job)
        return job

    def answer(loaded):
        for one in loaded:
            fail(1, one)
        return loaded

    def finish(job, loaded, said):
        fail(2, job)
        return job

    found = run(range(50), read=read, answer=answer, finish=finish, together=4)
    failed = {one.job: str(one.error) for one in found if one.error is not None}
    assert failed == {k: f"stage {k % 5}, job {k}" for k in range(50) if k % 5 < 3}
    done = sorted(one.result for one in found if one.error is None)
    assert done == [k for k in range(50) if k % 5 >= 3]


def test_little_is_held_at_a_time():
    lock, held, most = threading.Lock(), set(), []

    def read(job):
        with lock:
            held.add(job)
            most.append(len(held))
        return job

    def finish(job, loaded, said):
        time.sleep(0.002)
        with lock:
            held.remove(job)

    run(range(300), read=read, finish=finish, kind=lambda loaded: loaded % 3, together=4, threads=2)
    assert not held
    # Read ahead 6, in groups 12, being finished 4 and a batch of 4.
    assert max(most) <= 6 + 12 + 4 + 4


def test_jobs_are_taken_as_they_are_needed():
    taken = []

    def jobs():
        for k in range(1000):
            taken.append(k)
            yield k

    outcomes = in_parallel(
        jobs(), lambda job: job, lambda loaded: loaded, lambda *_: 0, kind=lambda _: 0
    )
    for _ in range(10):
        next(outcomes)
    outcomes.close()
    assert len(taken) < 40


def test_an_interruption_is_not_an_outcome():
    def answer(loaded):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(range(5), answer=answer)
