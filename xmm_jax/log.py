"""What a run says while it runs: ``metrics.jsonl``, TensorBoard, progress with time to go.

Only the first process writes.
"""

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import numpy as np

from xmm_jax.data.folder import replace_file
from xmm_jax.errors import InputError

Item = TypeVar("Item")


def say(text: str) -> None:
    """Print one line of text for the person who started the command; first process only."""
    if jax.process_index() == 0:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


class Metrics:
    """Rows of figures, appended to ``metrics.jsonl`` and, if wanted, to TensorBoard.

    A context manager; leaving it closes the files.

    Parameters
    ----------
    path : Path
        The file; rows of steps after ``last_step`` are dropped, because they were written by a
        run that was stopped before their checkpoint and will be computed again.
    last_step : int
        Step of the checkpoint from which the run goes on, -1 for none.
    tensorboard : bool
        Also write TensorBoard events beside the file (extra ``log``).

    Raises
    ------
    InputError
        If the package for TensorBoard is absent.
    """

    def __init__(self, path: Path, last_step: int, *, tensorboard: bool = False) -> None:
        self._file = self._board = None
        if jax.process_index() != 0:
            return
        _drop_rows_after(path, last_step)
        self._file = path.open("a")
        if tensorboard:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise InputError("--tensorboard needs: pip install 'xmm-jax[log]'") from None
            self._board = SummaryWriter(str(path.parent / "tensorboard"))

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Add one row of values: ``{"step": ..., "split": ..., name: value, ...}``."""
        if self._file is None:
            return
        row = {"step": step, "split": split} | {k: float(v) for k, v in values.items()}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{split}/{name}", float(value), step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, self._board):
            if file is not None:
                file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a ``metrics.jsonl``, a torn last line left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def validation_losses(path: Path, *, last_step: float = math.inf) -> dict[int, float]:
    """Validation loss of every step that has one in a ``metrics.jsonl``, up to ``last_step``."""
    rows = [row for row in read_metrics(path) if row["split"] == "validation"]
    return {row["step"]: row["loss"] for row in rows if row["step"] <= last_step}


def _drop_rows_after(path: Path, step: int) -> None:
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    replace_file(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def plain(value: Any) -> Any:
    """Value without what JSON does not know: numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def duration(seconds: float) -> str:
    """Seconds for people: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if not math.isfinite(seconds):
        return "?"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Progress:
    """Say now and then how many items are done and how long the rest will take.

    A terminal gets one line that is rewritten, a file at most ten lines. Call it after each item.

    Parameters
    ----------
    label : str
        What is being done.
    total : int
        Number of items when all is done.
    first : int
        Number of items done before.
    """

    def __init__(self, label: str, total: int, *, first: int = 0) -> None:
        self._label, self._total, self._first, self._done = label, total, first, first
        self._start = self._said = time.monotonic()

    def __call__(self) -> None:
        """Count one item."""
        self._done += 1
        now, done, total = time.monotonic(), self._done, self._total
        terminal, last = sys.stderr.isatty(), done == total
        tenth = done * 10 // total > (done - 1) * 10 // total
        due = now - self._said > 0.5 if terminal else tenth
        if jax.process_index() != 0 or not (due or last):
            return
        self._said = now
        left = duration((now - self._start) / (done - self._first) * (total - done))
        start, end = ("\r\033[K", "\n" if last else "") if terminal else ("", "\n")
        sys.stderr.write(f"{start}{self._label}: {done}/{total}, {left} to go{end}")
        sys.stderr.flush()


def progress(items: Iterable[Item], *, total: int, label: str, first: int = 0) -> Iterator[Item]:
    """Pass items on, saying how far it is; parameters as in `Progress`."""
    tick = Progress(label, total, first=first)
    for item in items:
        yield item
        tick()
