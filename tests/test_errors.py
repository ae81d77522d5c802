"""One line and an exit code for what a person can mend, a traceback for a bug."""

import errno
import os

import pytest

from xmm_jax.errors import InputError, RunError, command


def raising(error):
    @command
    def main(argv=None):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("x.fits: no counts"), 2, "x.fits: no counts"),
        (RunError("the loss is nan"), 1, "the loss is nan"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b"), 1, "/a/b: No space left"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), 1, "quota"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_one_line(error, code, words, capsys):
    with pytest.raises(SystemExit) as left:
        raising(error)([])
    assert left.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xmm-jax test_errors: error: ")
    assert words in line


@pytest.mark.parametrize("lines", [1, 100_000])
def test_output_that_nobody_reads(monkeypatch, capfd, lines):
    @command
    def main(argv=None):
        print("line\n" * lines, flush=True)

    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        with pytest.raises(SystemExit) as left:
            main([])
        main([])  # goes nowhere, without complaint
    assert left.value.code == 141
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "error", [KeyError("x"), PermissionError(errno.EACCES, "denied", "/a"), BrokenPipeError()]
)
def test_anything_else_is_shown_as_it_is(error, capfd):
    with pytest.raises(type(error)):
        raising(error)([])
