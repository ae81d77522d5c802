"""Input and result beside each other: a picture to look at, with sky coordinates."""

from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.data.observation import Observation
from xmm_jax.data.wcs import regrid_wcs
from xmm_jax.errors import InputError
from xmm_jax.planes import Enhanced
from xmm_jax.preview import can_draw, new_figure, write_figure

SIZE_INCH = 12.0, 6.4
# The brightest share of the pixels is white: one bright source would leave all else black.
WHITE = 0.002


def draw(figure: Any, observation: Observation, result: Enhanced, title: str = "") -> None:
    """Draw input and result into a figure: square roots of rates, on their sky coordinates.

    Parameters
    ----------
    figure : Figure
        Empty, of matplotlib.
    observation, result : Observation, Enhanced
        What went in and came out.
    title : str
        Above both.
    """
    if title:
        figure.suptitle(title, fontsize=10)
    s = result.rate.shape[0] // observation.counts.shape[0]
    live = observation.valid & (observation.exposure > 0)
    rate = np.where(live, observation.counts, 0) / np.where(live, observation.exposure, 1.0)
    panels = (("input", rate, 1), ("result", result.rate, s))
    for number, (name, image, upscale) in enumerate(panels, 1):
        panel = _panel(figure, number, observation, upscale)
        bright = image[image > 0]
        top = float(np.quantile(bright, 1 - WHITE)) if bright.size else 1.0
        shown = panel.imshow(image, origin="lower", cmap="inferno", norm=_root_norm(top))
        figure.colorbar(shown, ax=panel, label="count/s/pixel", shrink=0.8)
        panel.set_title(name, fontsize=9)


def write_picture(path: Path, observation: Observation, result: Enhanced, title: str = "") -> Path:
    """Write a picture as PNG.

    Parameters
    ----------
    path : Path
        The file.
    observation, result, title
        As for `draw`.

    Raises
    ------
    InputError
        Without matplotlib, or if the file cannot be written.
    """
    figure = new_figure(*SIZE_INCH)
    draw(figure, observation, result, title)
    return write_figure(figure, path)


def show(observation: Observation, result: Enhanced, title: str = "") -> None:
    """Open a window with a picture, and wait until it is closed.

    Parameters
    ----------
    observation, result, title
        As for `draw`.

    Raises
    ------
    InputError
        Without matplotlib, or where no window can be opened.
    """
    if not can_draw():
        raise InputError("--display needs matplotlib: pip install 'xmm-jax[plot]'")
    import matplotlib as mpl
    from matplotlib import pyplot
    from matplotlib.backends.registry import BackendFilter, backend_registry

    windows = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    if mpl.get_backend().lower() not in windows:
        raise InputError(
            "--display: no window can be opened here; --preview writes the picture instead"
        )
    draw(pyplot.figure(figsize=SIZE_INCH, layout="constrained"), observation, result, title)
    pyplot.show()


def _panel(figure: Any, number: int, observation: Observation, upscale: int) -> Any:
    """Axes with sky coordinates, or pixels where there are none."""
    if observation.wcs is None:
        return figure.add_subplot(1, 2, number)
    wcs = regrid_wcs(observation.wcs, upscale=upscale)
    panel = figure.add_subplot(1, 2, number, projection=wcs)
    for name, label in (("ra", "RA"), ("dec", "Dec")):
        axis = panel.coords[0 if name == "ra" else 1]  # type: ignore[attr-defined]
        axis.set_axislabel(label)
        axis.set_ticklabel(size=7)
    return panel


def _root_norm(top: float) -> Any:
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0.0, vmax=top, clip=True)
