"""What became of each input of a long run: a CSV file that grows row by row.

A process killed while it writes leaves a torn last row, which counts as not written. A later row of
an input replaces an earlier one, so that a run that goes on adds to the file of the one before.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from xmm_jax.errors import InputError

DONE, FAILED, THERE = "done", "failed", "there"


@dataclass(frozen=True)
class Status:
    """One input of a run.

    Attributes
    ----------
    input, task, output : str
        File that was read, ``sr`` or ``dn``, file that was written.
    status : str
        ``done``, ``failed``, or ``there``: found complete, not done again.
    reason : str
        Why it failed, one line.
    seconds : float
        How long it took [s], waiting for others included.
    exposure_s : float
        Exposure [s].
    counts : int
        Counts in live pixels.
    rate : float
        Sum of the result [count/s].
    features, unsupported, erased : int
        What the photons say, -1 where they were not asked.
    """

    input: str
    task: str
    output: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    exposure_s: float = 0.0
    counts: int = 0
    rate: float = 0.0
    features: int = -1
    unsupported: int = -1
    erased: int = -1


COLUMNS = tuple(field.name for field in fields(Status))
_KINDS: tuple[Any, ...] = tuple(field.type for field in fields(Status))


def append(path: Path, rows: Iterable[Status]) -> None:
    """Add rows to a file, which is made if it is not there.

    Parameters
    ----------
    path : Path
        The file.
    rows : iterable of Status
        Each is one line: ends of lines in a reason become blanks.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([" ".join(str(value).splitlines()) for value in asdict(row).values()])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            size = file.seek(0, io.SEEK_END)
            if size:
                file.seek(size - 1)
                torn = file.read(1) != b"\n"
                start = "\n" if torn else ""
            else:
                start = ",".join(COLUMNS) + "\n"
            file.write((start + text.getvalue()).encode())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another file with --status"
        ) from None


def read(path: Path) -> dict[tuple[str, str], Status]:
    """Last row of every input and task; torn rows left out.

    Parameters
    ----------
    path : Path
        The file; none is an empty one.
    """
    found = {}
    if not path.exists():
        return found
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for values in csv.reader(file):
            if len(values) != len(COLUMNS) or values[0] == COLUMNS[0]:
                continue
            try:
                row = Status(*(kind(value) for kind, value in zip(_KINDS, values, strict=True)))
            except ValueError:
                continue
            found[row.input, row.task] = row
    return found


def total(rows: Iterable[Status]) -> str:
    """Numbers of the rows in a line: ``480 done, 20 there, 12 failed``."""
    rows = list(rows)
    numbers = {word: sum(row.status == word for row in rows) for word in (DONE, THERE, FAILED)}
    return ", ".join(f"{number} {word}" for word, number in numbers.items() if number) or "nothing"
