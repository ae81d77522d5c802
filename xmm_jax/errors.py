"""What went wrong, said in one line.

Code anywhere in the package raises `InputError` for bad input: what is wrong, in which file, what
to do. The entry points wear `@command`, which prints that line and leaves with exit code 2.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Main(Protocol):
    """``main`` of one verb: the command line, by default that of the process."""

    __module__: str

    def __call__(self, argv: Sequence[str] | None = None) -> None:
        """Run the verb."""


class InputError(ValueError):
    """Bad input: the message is one line naming the fault, the file and the remedy."""


class RunError(RuntimeError):
    """A run that cannot go on: the message is one line saying why and what to look at."""


def command(main: Main) -> Main:
    """Turn an `InputError` of an entry point into one line on stderr and exit code 2.

    A `RunError` gives one line and exit code 1.

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
        except (InputError, RunError) as error:
            verb = main.__module__.rpartition(".")[2]
            if verb == "__main__":
                verb = Path(sys.argv[0]).stem
            sys.stderr.write(f"xmm-jax {verb}: error: {error}\n")
            raise SystemExit(2 if isinstance(error, InputError) else 1) from None

    return wrapped
