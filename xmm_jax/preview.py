"""Pictures to look at: many fields on one sheet; a light curve and the time that became images."""

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xmm_jax.data.eventparts import Part
from xmm_jax.data.flares import LightCurve
from xmm_jax.data.folder import replace_file
from xmm_jax.data.gti import length_s
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
    columns = min(pairs_in_row, len(fields)) or 1
    rows = -(-len(fields) // columns)
    figure = new_figure(4.0 * columns, 2.2 * rows)
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
    return write_figure(figure, path)


def write_curve(path: Path, curve: LightCurve, quiet: np.ndarray, parts: Sequence[Part]) -> Path:
    """Write a light curve with its threshold, the quiet time and the parts of it that were used.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    curve : LightCurve
        Background rate.
    quiet : ndarray (n, 2)
        Time without flares [s].
    parts : sequence of Part
        What became images; each length has a row of bars, for the best exposed CCD.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        Without matplotlib, or if the file cannot be written.
    """
    lengths = list(dict.fromkeys(part.limit_s for part in parts))
    figure = new_figure(10.0, 3.2 + 0.25 * len(lengths))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[10, len(lengths)])
    start = curve.time_s[0] - curve.bin_s / 2

    def bars(gti: np.ndarray) -> list[tuple[float, float]]:
        return [(begin, end - begin) for begin, end in ((gti - start) / 1000).tolist()]

    whole = top.get_xaxis_transform()
    top.broken_barh(bars(quiet), (0, 1), color="0.9", transform=whole, label="quiet")
    time_ks = (curve.time_s - start) / 1000
    # Flares are up to a hundred times the quiet rate; an empty bin is drawn at the lowest rate.
    lowest = np.min(curve.rate, where=curve.rate > 0, initial=curve.threshold or 1.0)
    rate = np.maximum(curve.rate, lowest)
    top.plot(time_ks, rate, ".", color="black", markersize=2, label="rate")
    if curve.threshold is not None:
        text = f"threshold {curve.threshold:.2f} count/s"
        top.axhline(curve.threshold, color="tab:red", linewidth=1, label=text)
    top.set_yscale("log")
    for axis_formatter in (top.yaxis.set_major_formatter, top.yaxis.set_minor_formatter):
        axis_formatter("{x:g}")
    top.set_xlim(0, time_ks[-1])
    top.set_ylabel("rate [count/s]")
    top.set_title(curve.path.name, fontsize=9, loc="left")
    top.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
    for part in parts:
        row, colour = lengths.index(part.limit_s), ("tab:blue", "tab:cyan")[part.number % 2]
        used = bars(max(part.gti.values(), key=length_s))
        bottom.broken_barh(used, (row - 0.4, 0.8), color=colour)
    names = [f"{length / 1000:g} ks" if length else "all" for length in lengths]
    bottom.set_yticks(range(len(lengths)), names)
    bottom.set_ylim(len(lengths) - 0.5, -0.5)
    bottom.set_xlabel("time since the first bin [ks]")
    return write_figure(figure, path)


def new_figure(width: float, height: float) -> Any:
    """Empty figure of a width and height [inch]; not tied to any window.

    Raises
    ------
    InputError
        If matplotlib is absent.
    """
    if not can_draw():
        raise InputError("a preview needs matplotlib: pip install 'xmm-jax[plot]'")
    from matplotlib.figure import Figure  # takes a second; without pyplot nothing global is touched

    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: Any, path: Path) -> Path:
    """Write a figure as PNG at once; the folder is made when it does not exist.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": "xmm_jax"})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, buffer.getvalue())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    return path
