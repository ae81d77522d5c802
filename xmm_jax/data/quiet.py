"""Warnings put aside, one thread at a time.

`warnings.catch_warnings` changes what the whole process does with warnings: of two threads inside
of it, one may lose its silence, and the other leave the silence behind for good.
astropy does so itself where it makes tables and a WCS: with `ONE_AT_A_TIME` where threads do that,
or with ``fix=False``.
"""

import contextlib
import threading
import warnings
from collections.abc import Iterator

ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def quiet(*, about: str = "") -> Iterator[None]:
    """Put warnings aside.

    Parameters
    ----------
    about : str
        How those begin that are put aside (a regular expression); by default all.
    """
    with ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.filterwarnings("ignore", about)
        yield
