"""The page of an evaluation: one HTML file with its numbers and images in it, nothing to fetch.

Images travel as 8-bit PNG: rates in a logarithmic coding (a step is 3.6 % of a bright rate),
residuals in steps of a sixteenth of a sigma. The browser applies stretch and colours.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.data.folder import replace_file
from xmm_jax.errors import InputError

RANGE = 1e4  # of the logarithmic coding; the page has the same number
RESIDUAL_STEP = 1 / 16  # [sigma]
STRIP_ROWS = 5


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    key: str
    """Of its values in a row."""
    label: str
    """Heading."""
    better: str = ""
    """Which end is: ``"high"``, ``"low"`` or neither."""
    digits: int = 3
    """Decimals."""
    title: str = ""
    """Long name."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    """In its first cell."""
    values: dict[str, tuple[float | None, float | None]]
    """Values and their errors by column."""
    contends: bool = True
    """Whether it may be marked as the best."""
    ours: bool = False
    """Whether it is one of our networks, which is marked."""
    about: str = ""
    """Shown where the mouse rests on the name."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One field to look at.

    Attributes
    ----------
    label : str
        What the list of fields calls it.
    name : str
        The field.
    images : dict of str to ndarray [y, x]
        Rates [count/s/pixel] on one grid or on grids of the same frame, first the input.
    residuals : dict of str to ndarray [y, x]
        Differences from the input in sigma.
    strip : str
        SVG of the cut, from `draw_strip`.
    left, right : str
        Names of the images to show first; white is what 0.5 % of the right one are brighter than.
    """

    label: str
    name: str
    images: dict[str, np.ndarray]
    residuals: dict[str, np.ndarray]
    strip: str
    left: str
    right: str


@dataclass(frozen=True)
class Page:
    """Everything on the page.

    Attributes
    ----------
    title, verdict, limit, paper_note : str
        Texts.
    facts : list of (str, str)
        What was evaluated, how, by which version.
    summary, paper, fields : (list of Column, list of Row)
        Tables.
    shown : list of Shown
        Fields to look at, worst first.
    figures : list of (title, caption, SVG)
        Curves.
    how : list of str
        Paragraphs that explain.
    frame : tuple of int
        Columns and rows of the input.
    """

    title: str
    verdict: str
    limit: str
    paper_note: str
    facts: list[tuple[str, str]]
    summary: tuple[list[Column], list[Row]]
    paper: tuple[list[Column], list[Row]]
    fields: tuple[list[Column], list[Row]]
    shown: list[Shown]
    frame: tuple[int, int]
    figures: list[tuple[str, str, str]] = field(default_factory=list)
    how: list[str] = field(default_factory=list)


def write_report(path: Path, page: Page) -> int:
    """Write the page.

    Parameters
    ----------
    path : Path
        The file; replaced at once.
    page : Page
        What is on it.

    Returns
    -------
    int
        Size [byte].

    Raises
    ------
    InputError
        Without matplotlib (extra ``evaluate``), or if the file cannot be written.
    """
    try:
        from matplotlib import colormaps
    except ImportError:
        raise InputError("a report needs matplotlib: pip install 'xmm-jax[evaluate]'") from None
    colours = {
        name: (255 * colormaps[scheme](np.arange(256))[:, :3]).round().astype(int).ravel().tolist()
        for name, scheme in (("rate", "inferno"), ("residual", "RdBu_r"))
    }
    content = _content(page) | {"colours": colours}
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    folder = resources.files("xmm_jax.metrics") / "page"
    html = (folder / "report.html").read_text()
    for mark, part in (
        ("/*CSS*/", (folder / "report.css").read_text()),
        ("/*JS*/", (folder / "report.js").read_text()),
        ("/*DATA*/", text),
    ):
        html = html.replace(mark, part)
    encoded = html.encode()
    try:
        replace_file(path, encoded)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from None
    return len(encoded)


def _content(page: Page) -> dict[str, Any]:
    """JSON of the page, except colours."""
    tables = {}
    for name in ("summary", "paper", "fields"):
        columns, rows = getattr(page, name)
        tables[name] = {
            "columns": [vars(column) for column in columns],
            "rows": [
                vars(row)
                | {"values": {k: [_finite(v) for v in pair] for k, pair in row.values.items()}}
                for row in rows
            ],
        }
    plain = ("title", "verdict", "limit", "paper_note", "facts", "how", "frame")
    figures = [dict(zip(("title", "caption", "picture"), one, strict=True)) for one in page.figures]
    return (
        {name: getattr(page, name) for name in plain}
        | tables
        | {"shown": [_shown(one) for one in page.shown], "figures": figures}
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _shown(one: Shown) -> dict[str, Any]:
    maximum = max(float(image.max()) for image in one.images.values()) or 1.0
    images = [
        {"name": name, "kind": "rate", "max": maximum, "src": encode_rate(image, maximum)}
        for name, image in one.images.items()
    ] + [
        {"name": f"residual of {name}", "kind": "residual", "src": encode_residual(image)}
        for name, image in one.residuals.items()
    ]
    names = [image["name"] for image in images]
    seen = one.images[one.right]
    white = np.quantile(seen[seen > 0], 0.995) if (seen > 0).any() else maximum
    return {
        "label": one.label,
        "name": one.name,
        "max": maximum,
        "images": images,
        "strip": one.strip,
        "left": names.index(one.left),
        "right": names.index(one.right),
        "white": round(float(np.log10(white / maximum)), 2),
    }


def encode_rate(rate: np.ndarray, maximum: float) -> str:
    """PNG of a rate as a data URL: code c means ``maximum (exp(c/255 log(1 + R)) - 1) / R``.

    Parameters
    ----------
    rate : ndarray, shape (y, x)
        Rate, any unit; negative counts as 0.
    maximum : float
        Rate of code 255, same unit.

    Returns
    -------
    str
        ``data:image/png;base64,...``; the first row of the array is the lowest of the picture.
    """
    share = np.clip(rate / maximum, 0, 1)
    return _png(np.round(255 * np.log1p(RANGE * share) / np.log1p(RANGE)))


def encode_residual(sigma: np.ndarray) -> str:
    """PNG of a residual as a data URL: code c means ``(c - 128) / 16`` sigma.

    Parameters
    ----------
    sigma : ndarray, shape (y, x)
        Residual [sigma], clipped at 8 on either side.

    Returns
    -------
    str
        As `encode_rate`.
    """
    return _png(np.clip(np.round(128 + sigma / RESIDUAL_STEP), 0, 255))


def _png(codes: np.ndarray) -> str:
    from PIL import Image  # comes with matplotlib

    buffer = io.BytesIO()
    Image.fromarray(codes[::-1].astype(np.uint8)).save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def draw_strip(images: dict[str, np.ndarray], *, row: int, pixel_arcsec: float) -> str:
    """SVG of a cut along x through images of one grid, mean of five rows (paper, figure 10).

    Parameters
    ----------
    images : dict of str to ndarray [y, x]
        Rates [count/s/pixel].
    row : int
        Middle row.
    pixel_arcsec : float
        Side of a pixel [arcsec].

    Returns
    -------
    str
        The picture.
    """
    half = STRIP_ROWS // 2

    def plot(axes) -> None:
        for number, (name, image) in enumerate(images.items()):
            cut = image[max(row - half, 0) : row + half + 1].mean(axis=0)
            place = np.arange(len(cut)) * pixel_arcsec / 60
            # The truth in black on top, the noisy input pale below all others.
            style = {"color": "0.75"} if number == 0 else {}
            if name == "truth":
                style = {"color": "black", "linewidth": 1.2}
            axes.step(place, cut, where="mid", label=name, **({"linewidth": 0.7} | style))
        axes.set(xlabel="arcmin along x", ylabel="count/s/pixel")
        floor = np.median([np.median(image[image > 0]) for image in images.values() if image.any()])
        axes.set_yscale("asinh", linear_width=float(floor))

    return draw_svg(plot, size=(11, 3.2))


def draw_svg(plot, *, size: tuple[float, float] = (7, 3.6)) -> str:
    """SVG text of a plot.

    Parameters
    ----------
    plot : callable
        Draws on the axes that it is given.
    size : tuple of float
        Width and height [inch].

    Returns
    -------
    str
        ``<svg ...>...</svg>``, with a legend where there are labels.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    plot(axes)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, frameon=False, ncols=2)
    return save_svg(figure)


def save_svg(figure: Any) -> str:
    """Text of a matplotlib figure as SVG; equal figures give equal text."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "xmm_jax", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def plot_curves(
    axes,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float] | None]],
    **labels: Any,
) -> None:
    """Curves with error bars on axes.

    Parameters
    ----------
    axes : matplotlib Axes
        Where to.
    curves : dict of str to (x, y, error or None)
        By method.
    **labels
        For ``axes.set``.
    """
    for name, (x, y, error) in curves.items():
        axes.errorbar(
            x, y, yerr=error, label=name, marker="o", markersize=3, linewidth=1, capsize=2
        )
    axes.set(**labels)
