"""The figures of the slides as PNG: curves of all methods, and maps side by side."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.metrics.submm_figures import (
    FAR_ARCSEC,
    SEED_COMPLETENESS,
    SEED_COMPLETENESS_MJY,
    SEED_FLUX_MJY,
    SEED_PURITY,
)
from xmm_jax.metrics.submm_sources import Sources
from xmm_jax.preview import new_figure, write_figure
from xmm_jax.simulator.submm import TARGET_FWHM_ARCSEC

SHOWN_MJY = 5.0
"""Least flux of the sources that are marked on maps."""


def write_curves(path: Path, figures: Mapping[str, Mapping[str, Any]]) -> Path:
    """Draw the figures of all methods: completeness, purity, fluxes, offsets, beam.

    Parameters
    ----------
    path : Path
        PNG to write.
    figures : mapping of str to dict
        By method, from `xmm_jax.metrics.submm_figures.pool`. Bins without a source are left out.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        Without a method, without matplotlib, or if the file cannot be written.
    """
    if not figures:
        raise InputError(f"{path}: there is no method to draw; name a --model or a --method")
    figure = new_figure(13.0, 7.6)
    panels = figure.subplots(2, 3)
    draw: tuple[Callable[[Any, Mapping[str, Any], dict[str, Any]], None], ...] = (
        lambda panel, row, style: _rates(panel, row["completeness"], style),
        lambda panel, row, style: _rates(panel, row["purity"], style),
        _fluxes,
        _offsets,
        _profile,
    )
    for number, (name, row) in enumerate(figures.items()):
        style = {"color": f"C{number % 10}", "label": name}
        for panel, one in zip(panels.flat, draw, strict=False):
            one(panel, row, style)
    _marks(panels)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    panels[1, 2].set_axis_off()
    panels[1, 2].legend(handles, labels, loc="upper left", frameon=False, fontsize=9)
    return write_figure(figure, path)


def write_maps(
    path: Path, bands: np.ndarray, shown: Mapping[str, np.ndarray], truth: Sources | None = None
) -> Path:
    """Draw the bands of a field and maps at 450 um side by side.

    Parameters
    ----------
    path : Path
        PNG to write.
    bands : ndarray
        250, 350 and 500 um [mJy/beam], [y, x, 3]; each has its own scale of brightness.
    shown : mapping of str to ndarray
        Maps at 450 um [mJy/beam] by name, [y, x], the target too; the last one gives the scale of
        all.
    truth : Sources, optional
        Sources of 5 mJy and more are circled on the maps at 450 um.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        Without a map, without matplotlib, or if the file cannot be written.
    """
    if not shown:
        raise InputError(f"{path}: there is no map at 450 um to draw; name a --model or a --method")
    columns = max(3, len(shown))
    figure = new_figure(3.2 * columns, 6.8)
    panels = figure.subplots(2, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for place, name in enumerate(("250 um", "350 um", "500 um")):
        _map(figure, panels[0, place], bands[..., place], name, _limits(bands[..., place]))
    limits = _limits(list(shown.values())[-1])
    for place, (name, image) in enumerate(shown.items()):
        panel = panels[1, place]
        _map(figure, panel, image, name, limits)
        if truth is not None:
            bright = np.asarray(truth.flux) >= SHOWN_MJY
            places = np.asarray(truth.x)[bright], np.asarray(truth.y)[bright]
            panel.scatter(*places, s=30, facecolors="none", edgecolors="cyan", linewidths=0.6)
            panel.set_xlim(-0.5, image.shape[1] - 0.5)
            panel.set_ylim(-0.5, image.shape[0] - 0.5)
    return write_figure(figure, path)


def _middle(row: Mapping[str, Any]) -> float:
    return float(np.sqrt(row["low"] * row["high"]))


def _rates(panel: Any, rows: list[dict[str, Any]], style: dict[str, Any]) -> None:
    rows = [row for row in rows if row["number"]]
    value = np.array([row["value"] for row in rows], float)
    ends = np.array([row["error"] for row in rows], float).reshape(-1, 2).T
    around = np.maximum(np.stack([value - ends[0], ends[1] - value]), 0.0)
    places = [_middle(row) for row in rows]
    panel.errorbar(places, value, yerr=around, marker="o", markersize=3, capsize=2, **style)
    panel.plot(places, [row["chance"] for row in rows], ":", color=style["color"], linewidth=1)


def _fluxes(panel: Any, row: Mapping[str, Any], style: dict[str, Any]) -> None:
    rows = [one for one in row["flux"] if one["number"]]
    places = np.array([_middle(one) for one in rows], float)
    for name, line in (("median", "-"), ("p16", ":"), ("p84", ":")):
        values = places * np.array([one[name] for one in rows], float)
        panel.plot(places, values, line, color=style["color"], marker="o" if line == "-" else "",
            markersize=3, linewidth=1.5 if line == "-" else 0.8)  # fmt: skip


def _offsets(panel: Any, row: Mapping[str, Any], style: dict[str, Any]) -> None:
    counts = np.array(row["offsets"]["histogram"], float)
    panel.stairs(counts / max(counts.sum(), 1.0), np.arange(len(counts) + 1.0), **style)


def _profile(panel: Any, row: Mapping[str, Any], style: dict[str, Any]) -> None:
    psf = row["psf"]
    if not psf["number"]:
        return
    profile = np.array(psf["profile"], float)
    # Above the rim, and 1 in the middle: the shape only.
    profile = (profile - profile[-3:].mean()) / max(float(profile[0] - profile[-3:].mean()), 1e-9)
    width = "" if psf["fwhm"] is None else f'{psf["fwhm"]:.1f}" ({psf["number"]})'
    panel.plot(psf["radius"], profile, color=style["color"], marker="o", markersize=3, label=width)


def _marks(panels: Any) -> None:
    """Titles, axes, and what the slides say as dashed lines."""
    grey = {"color": "0.4", "linestyle": "--", "linewidth": 1}
    titles = ("completeness (dotted: by luck)", "purity (dotted: by luck)", "flux, median, 16-84 %")
    axes = ("true flux [mJy]", "measured flux [mJy]", "true flux [mJy]")
    for panel, title, axis in zip(panels[0], titles, axes, strict=True):
        panel.set_title(title, fontsize=10)
        panel.set_xlabel(axis)
        panel.set_xscale("log")
        panel.set_xlim(1, 50)
        panel.set_xticks([1, 2, 4, 9, 15, 30, 50], ["1", "2", "4", "9", "15", "30", "50"])
        panel.minorticks_off()
    complete, pure, flux = panels[0]
    for panel, level in ((complete, SEED_COMPLETENESS), (pure, SEED_PURITY)):
        panel.axhline(level, **grey)
        panel.set_ylim(0, 1.03)
    complete.axvline(SEED_COMPLETENESS_MJY, **grey)
    flux.axvline(SEED_FLUX_MJY, **grey)
    flux.plot([1, 50], [1, 50], **grey)
    flux.set_yscale("log")
    flux.set_ylim(1, 60)
    flux.set_ylabel("measured flux [mJy]")
    away, beam = panels[1, :2]
    for limit in FAR_ARCSEC:
        away.axvline(limit, **grey)
    away.set_title("found source to the nearest true one", fontsize=10)
    away.set_xlabel("[arcsec]; all beyond 30 in the last bin")
    away.set_ylabel("share")
    radius = np.linspace(0, 30, 100)
    shape = np.exp2(-4 * (radius / TARGET_FWHM_ARCSEC) ** 2)
    beam.plot(radius, shape, label=f'{TARGET_FWHM_ARCSEC}" beam', **grey)
    beam.set_title("stack of isolated sources, FWHM (number)", fontsize=10)
    beam.set_xlabel("radius [arcsec]")
    beam.set_ylim(-0.15, 1.1)
    beam.legend(fontsize=8, frameon=False)


def _limits(image: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(image[np.isfinite(image)], (1, 99.8)).tolist()
    return low, max(high, low + 1e-6)


def _map(
    figure: Any, panel: Any, image: np.ndarray, title: str, limits: tuple[float, float]
) -> None:
    drawn = panel.imshow(image, origin="lower", cmap="inferno", vmin=limits[0], vmax=limits[1])
    figure.colorbar(drawn, ax=panel, shrink=0.75).ax.tick_params(labelsize=7)
    panel.set_title(f"{title} [mJy/beam]", fontsize=9)
