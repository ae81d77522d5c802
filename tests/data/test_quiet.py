import threading
import warnings

import pytest

from xmm_jax.data.quiet import quiet


def test_threads_get_their_own_silence_and_leave_none_behind():
    before, loud = list(warnings.filters), []

    def work():
        for _ in range(200):
            try:
                with quiet():
                    warnings.warn("lost", stacklevel=1)
            except UserWarning as error:  # the tests make errors of warnings
                loud.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loud == []
    assert warnings.filters == before


def test_quiet_about_one_thing():
    with quiet(about="ERFA"):
        warnings.warn("ERFA is unsure", stacklevel=1)
        with pytest.warns(UserWarning, match="the file is truncated"):
            warnings.warn("the file is truncated", stacklevel=1)
