"""One picture of many fields: input and target beside each other, at square-root stretch."""

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xmm_jax.data.folder import replace_file
from xmm_jax.errors import InputError


class Shown(NamedTuple):
    """One field of a sheet: title, and counts of input and target, [y, x] each on its own grid."""

    title: str
    counts: np.ndarray
    target: np.ndarray


def can_draw() -> bool:
    """Whether matplotlib is installed (extra ``plot``)."""
    return importlib.util.find_spec("matplotlib") is not None


def write_sheet(path: Path, fields: Sequence[Shown], *, pairs_in_row: int = 3) -> Path:
    """Write a sheet of fields as PNG.

    Parameters
    ----------
    path : Path
        The file to write.
    fields : sequence of Shown
        At least one.
    pairs_in_row : int
        Fields beside each other, each input and target.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        Without matplotlib, or if the file cannot be written.
    """
    if not can_draw():
        raise InputError("a preview needs matplotlib: pip install 'xmm-jax[plot]'")
    from matplotlib.figure import Figure  # takes a second; without pyplot nothing global is touched

    columns = min(pairs_in_row, len(fields))
    rows = -(-len(fields) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, 2 * columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for number, field in enumerate(fields):
        row, column = divmod(number, columns)
        for side, image in enumerate((field.counts, field.target)):
            panel = panels[row, 2 * column + side]
            shown = np.sqrt(image)
            # The brightest 0.2 % are white: one bright source would leave all else black.
            top = max(float(np.quantile(shown, 0.998)), 1e-6)
            panel.imshow(shown, cmap="inferno", vmin=0, vmax=top, origin="lower")
        panels[row, 2 * column].set_title(field.title, fontsize=7, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": "xmm_jax"})
    try:
        replace_file(path, buffer.getvalue())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path
