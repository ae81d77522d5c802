"""What a user did wrong, said in one line.

Code anywhere in the package raises `InputError` for bad input: what is wrong, in which file, what to do.
The entry points wear `@command`, which prints that line and leaves with exit code 2.
"""

import functools
import sys
from collections.abc import Callable, Sequence

Main = Callable[[Sequence[str] | None], None]


class InputError(ValueError):
    """Bad input: the message is one line naming the fault, the file and the remedy."""


def command(main: Main) -> Main:
    """Turn an `InputError` of an entry point into one line on stderr and exit code 2.

    Parameters
    ----------
    main : callable
        ``main(argv)`` of one verb.

    Returns
    -------
    callable
        The same, never showing a traceback for bad input.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> None:
        try:
            main(argv)
        except InputError as error:
            verb = main.__module__.rpartition(".")[2]
            sys.stderr.write(f"xmm-jax {verb}: error: {error}\n")
            raise SystemExit(2) from None

    return wrapped
