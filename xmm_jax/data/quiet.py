"""Warnings put aside or collected, one thread at a time.

`warnings.catch_warnings` changes what the whole process does with warnings: of two threads inside
of it, one may lose a warning that it waits for, and the other leave the silence behind for good.
"""

import contextlib
import threading
import warnings
from collections.abc import Iterator

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def quiet(*, about: str = "") -> Iterator[None]:
    """Put warnings aside.

    Parameters
    ----------
    about : str
        How those begin that are put aside (a regular expression); by default all.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.filterwarnings("ignore", about)
        yield


@contextlib.contextmanager
def collected() -> Iterator[list[warnings.WarningMessage]]:
    """Collect warnings in a list instead of showing them."""
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
