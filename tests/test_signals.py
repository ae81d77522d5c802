"""A process that is asked to leave does so at a step, with its own exit code."""

import signal

import pytest

from xmm_jax.signals import TRY_AGAIN, watch


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_seen_at_the_next_step(number):
    before = signal.getsignal(number)
    with watch() as asked:
        assert not asked()
        signal.raise_signal(number)
        signal.raise_signal(number)  # a scheduler may repeat itself
        assert asked()
    assert signal.getsignal(number) is before


def test_before_the_first_step_there_is_nothing_to_save():
    with pytest.raises(SystemExit) as left, watch():
        signal.raise_signal(signal.SIGTERM)
    assert left.value.code == TRY_AGAIN == 75  # EX_TEMPFAIL of sysexits.h
