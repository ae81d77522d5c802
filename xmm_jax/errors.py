"""What went wrong, said in one line.

Code anywhere in the package raises `InputError` for bad input: what is wrong, in which file, what
to do. The entry points wear `@command`, which prints that line and leaves with exit code 2. What
can go wrong with the best input, a full disk among it, leaves with exit code 1.
"""

import errno
import functools
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol

# No space left on the device, quota of the user used up, file larger than allowed.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
INTERRUPTED = 130  # what shells report for Ctrl-C: 128 + SIGINT
UNREAD = 141  # and for output that nobody reads any more: 128 + SIGPIPE


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

    A `RunError` gives one line and exit code 1, and so does an `OSError` for want of space; Ctrl-C
    gives one and exit code 130. Where nobody reads the output any more (``| head``) it ends without
    a word, with exit code 141.

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
            _leave(main, str(error), 2)
        except RunError as error:
            _leave(main, str(error), 1)
        except BrokenPipeError:
            if not _unread():
                raise
            raise SystemExit(UNREAD) from None
        except OSError as error:
            if error.errno not in FULL:
                raise
            _leave(main, f"{error.filename or 'a file'}: {error.strerror}; make room, try again", 1)
        except KeyboardInterrupt:
            _leave(main, "interrupted", INTERRUPTED)

    return wrapped


def _unread() -> bool:
    """Whether nobody reads our output any more; what is still to be written then goes nowhere."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        asked = select.poll()
        asked.register(stream, select.POLLOUT)
        if any(said & (select.POLLERR | select.POLLHUP) for _, said in asked.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            gone = True
    return gone


def _leave(main: Main, text: str, code: int) -> NoReturn:
    verb = main.__module__.rpartition(".")[2]
    if verb == "__main__":
        verb = Path(sys.argv[0]).stem
    sys.stderr.write(f"xmm-jax {verb}: error: {text}\n")
    raise SystemExit(code) from None
