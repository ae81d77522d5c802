import threading
import warnings

from xmm_jax.data.quiet import collected, quiet


def test_threads_get_their_own_warnings_and_leave_none_behind():
    before, found = list(warnings.filters), {}

    def work(name):
        for _ in range(200):
            with collected() as caught:
                warnings.warn(name, stacklevel=1)
            found.setdefault(name, []).append([str(one.message) for one in caught])
            with quiet():
                warnings.warn("lost", stacklevel=1)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [[name]] * 200 for name in "abcd"}
    assert warnings.filters == before


def test_quiet_about_one_thing():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet(about="ERFA"):
            warnings.warn("ERFA is unsure", stacklevel=1)
            warnings.warn("the file is truncated", stacklevel=1)
    assert [str(one.message) for one in caught] == ["the file is truncated"]
