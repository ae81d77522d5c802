"""The ranking of a study for people: a table, correlations and parallel coordinates on one page.

Rows are finished trials, ``total`` their scores [row] as of `xmm_jax.sweeps.rank`: less is better.
"""

import base64
import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xmm_jax.data.folder import replacing
from xmm_jax.errors import InputError
from xmm_jax.preview import new_figure, write_figure
from xmm_jax.sweeps.rank import (
    HIGH_LOSS,
    Row,
    columns_of,
    common_figures,
    correlations,
    is_higher,
    kept_by_paper,
    read_trials,
    scores,
    to_json,
)

TABLE, PAGE = "ranking.json", "ranking.html"
PICTURES = {
    "correlation.png": "Correlation of settings with figures (as figures D1 and D2).",
    "parallel.png": "Every trial is a line through its settings and its score (as figure C1).",
}
LISTED = 20
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
.wide{overflow-x:auto}table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right}
td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#8882}img{max-width:100%}
.failed{opacity:.55}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}"""


@dataclasses.dataclass(frozen=True)
class RankConfig:
    """What is ranked, and how."""

    study: str = ""
    """Folder of a study; needed."""
    rules: Literal["none", "paper"] = "none"
    """paper: leave out batches of 8, learning rates outside 5e-5 to 1e-4, losses from 0.434 on."""
    stretch: Literal["all", "linear", "sqrt", "asinh", "log"] = "all"
    """Figures under every stretch go into the score, or those under one."""
    high_loss: bool = False
    """Also rank trials whose only fault is a validation loss of 1 or more:
    no fault on other skies or crops than those for which the paper normalised its losses."""
    out: str = ""
    """Folder to write; empty: STUDY/ranking, replaced."""


def write_ranking(config: RankConfig) -> str:
    """Write ranking.json, ranking.html and the pictures.

    Returns
    -------
    str
        The best trials as text, and what was written.

    Raises
    ------
    InputError
        If there is no study, no finished trial, or no matplotlib.
    """
    study = Path(config.study)
    finished = read_trials(study)
    if config.high_loss:
        finished = [
            row._replace(failed="") if row.failed.startswith(HIGH_LOSS) else row for row in finished
        ]
    rows = [row for row in finished if not row.failed]
    if config.rules == "paper":
        rows = [row for row in rows if kept_by_paper(row)]
    if not rows:
        raise InputError(
            f"{study}: none of {len(finished)} finished trials is left to rank; wait for more, or "
            "leave --rules away"
        )
    names = [
        name
        for name in common_figures(rows)
        if config.stretch in ("all", name.split("/", maxsplit=1)[0])
    ]
    total = scores(rows, names)
    out = Path(config.out).absolute() if config.out else study.absolute() / "ranking"
    with replacing(out, overwrite=not config.out, ours=TABLE) as partial:
        (partial / TABLE).write_text(to_json(rows, total))
        draw_correlations(partial / "correlation.png", rows, names, total)
        draw_parallel(partial / "parallel.png", rows, total)
        failed = [row for row in finished if row.failed]
        left = len(finished) - len(rows) - len(failed)
        (partial / PAGE).write_text(page(rows, total, failed, left, partial))
    return f"{text(rows, total)}\nwrote {out}: {TABLE}, {PAGE}, {', '.join(PICTURES)}"


def text(rows: Sequence[Row], total: np.ndarray) -> str:
    """The best trials, a line each."""
    lines = [f"{'score':>8}{'loss':>10}  settings"]
    for i in np.argsort(total, kind="stable")[:LISTED]:
        lines.append(f"{total[i]:>8.3f}{rows[i].loss:>10.4g}  {_settings(rows[i].point)}")
    return "\n".join(lines)


def draw_correlations(
    path: Path, rows: Sequence[Row], names: Sequence[str], total: np.ndarray
) -> None:
    """Heat map: settings downwards; figures (names), loss, score to the right; red is worse."""
    settings = columns_of(rows)
    values = {name: np.array([row.figures[name] for row in rows]) for name in names}
    # All so that more is worse, for one meaning of the colours.
    worse = {name: -v if is_higher(name) else v for name, v in values.items()}
    if "loss" not in rows[0].point:  # values of different losses cannot be compared
        worse["loss"] = np.array([row.loss for row in rows])
    worse["score"] = total
    table = correlations(settings, worse)
    figure = new_figure(2.5 + 0.42 * len(worse), 2.2 + 0.42 * max(len(settings), 1))
    panel = figure.subplots()
    if not settings:
        panel.set_axis_off()
        panel.text(0.5, 0.5, "no setting differs between these trials", ha="center")
        write_figure(figure, path)
        return
    image = panel.imshow(table, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    panel.set_xticks(range(len(worse)), labels=list(worse), rotation=90, fontsize=8)
    panel.set_yticks(range(len(settings)), labels=list(settings), fontsize=8)
    for (i, j), value in np.ndenumerate(table):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 else "black"
            panel.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=panel, label="correlation (positive: worse)")
    write_figure(figure, path)


def draw_parallel(path: Path, rows: Sequence[Row], total: np.ndarray) -> None:
    """A line for every trial through one axis for each setting, coloured by its score."""
    axes = columns_of(rows) | {"score": total}
    figure = new_figure(2.0 + 1.3 * len(axes), 4.6)
    panel = figure.subplots()
    from matplotlib import colormaps

    colours = colormaps["viridis"](_unit(total))
    heights = np.stack([_unit(values) for values in axes.values()], axis=1)
    for i in np.argsort(-total, kind="stable"):  # the best are drawn last
        panel.plot(range(len(axes)), heights[i], color=colours[i], alpha=0.7, linewidth=1)
    panel.set_xticks(range(len(axes)), labels=list(axes), fontsize=8, rotation=20)
    panel.set_yticks([])
    for place, values in enumerate(axes.values()):
        for height, value in ((0.0, values.min()), (1.0, values.max())):
            panel.annotate(f"{value:.3g}", (place, height), fontsize=8, ha="center",
                xytext=(0, -12 if height == 0 else 5), textcoords="offset points")  # fmt: skip
        panel.axvline(place, color="0.8", linewidth=0.8, zorder=0)
    panel.set_ylim(-0.12, 1.1)
    write_figure(figure, path)


def page(
    rows: Sequence[Row], total: np.ndarray, failed: Sequence[Row], left: int, folder: Path
) -> str:
    """The page.

    Parameters
    ----------
    rows, failed : sequence of Row
        Trials that finished, and that failed.
    total : ndarray
        Scores [row].
    left : int
        Trials left out.
    folder : Path
        Where the pictures are, which are put into it.
    """
    order = np.argsort(total, kind="stable")
    body = "".join(
        f"<tr><td>{html.escape(_settings(rows[i].point))}</td><td>{total[i]:.3f}</td>"
        f"<td>{rows[i].loss:.4g}</td><td>{_shown(rows[i].figures)}</td></tr>"
        for i in order
    )
    marked = "".join(
        f"<tr class=failed><td>{html.escape(_settings(row.point))}</td>"
        f"<td colspan=3>{html.escape(row.failed)}</td></tr>"
        for row in failed
    )
    pictures = "".join(
        f'<h2>{html.escape(label)}</h2><img alt="{html.escape(label)}" src="data:image/png;base64,'
        f'{base64.b64encode((folder / name).read_bytes()).decode()}">'
        for name, label in PICTURES.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Ranking</title><style>{STYLE}</style><h1>Ranking of {len(rows)} trials</h1>"
        f"<p>{len(failed)} marked as failed, {left} left out by the rules. The score adds figures "
        "from 0 (best trial) to 1 (worst).</p>"
        f"{pictures}<h2>Trials</h2><div class=wide><table><tr><th>settings<th>score<th>loss"
        f"<th>PSNR, linear</tr>{body}{marked}</table></div></html>\n"
    )


def _settings(point: Mapping[str, str]) -> str:
    return ", ".join(f"{name.split('.')[-1]}={value}" for name, value in sorted(point.items()))


def _shown(figures: Mapping[str, float]) -> str:
    value = figures.get("linear/PSNR")
    return "-" if value is None else f"{value:.2f}"


def _unit(values: Any) -> np.ndarray:
    """From 0 to 1; 1/2 where all are the same."""
    span = np.ptp(values)
    return (values - np.min(values)) / span if span > 0 else np.full(len(values), 0.5)
