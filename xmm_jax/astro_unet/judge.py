"""Figures of short exposures, of networks and of classical methods against long exposures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.astro_unet.contenders import Contender
from xmm_jax.astro_unet.images import Image
from xmm_jax.metrics.stars import judge_stars
from xmm_jax.simulator.wfc3 import shorten

REFERENCE = "input"
COLUMNS = (
    *("RFE", "RFE_common", "TPR", "precision", "F", "SNR_f", "SNR_f_common"),
    *("PSNR", "PSNR_truth", "SSIM", "KL"),
)


def short_exposure(image: Image, ratio: float, *, noise: str, seed: int) -> np.ndarray:
    """Short exposure of an image, always the same one [electron/s/pixel], [y, x].

    Parameters
    ----------
    image : Image
        The long one.
    ratio : float
        How many times shorter.
    noise : {"live", "published"}
        See `xmm_jax.simulator.wfc3.shorten`.
    seed : int
        Of the noise.
    """
    key = jax.random.key(seed)
    about = (jnp.float32(image.exposure_s), jnp.float32(ratio))
    valid = jnp.asarray(image.valid)
    given: dict[str, Any] = {"valid": valid, "noise": noise, "sky_rate": image.sky_rate}
    return np.asarray(shorten(key, jnp.asarray(image.rate), *about, **given))


def judge_image(
    image: Image,
    contenders: Mapping[str, Contender],
    ratio: float,
    *,
    noise: str,
    seed: int,
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Figures of every contender on one image.

    Parameters
    ----------
    image : Image
        Long exposure.
    contenders : mapping of str to callable
        By name, ``input`` among them.
    ratio, noise, seed
        As for `short_exposure`.

    Returns
    -------
    figures : dict of str to dict
        Of `xmm_jax.metrics.stars.judge_stars`, and where the truth is known ``PSNR_truth``
        against it; a row ``target`` for the long exposure itself.
    shown : dict of str to ndarray
        The images [electron/s/pixel].
    """
    short = short_exposure(image, ratio, noise=noise, seed=seed)
    about = {"exposure_s": image.exposure_s / ratio, "ratio": ratio, "band": image.band}
    target = np.maximum(image.rate, 0.0) if noise == "published" else image.rate
    live = image.valid
    shown = {
        name: np.where(live, contender(short, live, **about), 0.0).astype(np.float32)
        for name, contender in contenders.items()
    }
    electrons = {name: rate * image.exposure_s for name, rate in shown.items()}
    figures = judge_stars(electrons, target * image.exposure_s, live, reference=REFERENCE)
    shown["target"] = target
    if image.truth is not None:
        for name, row in figures.items():
            row["PSNR_truth"] = against_truth(shown[name], image.truth, live)
    return figures, shown


def against_truth(rate: np.ndarray, truth: np.ndarray, live: np.ndarray) -> float:
    """PSNR against the rate without noise [dB], ``live`` pixels; the range is that of the truth."""
    error = float(np.mean(np.square(rate - truth)[live]))
    peak = float(truth[live].max())
    return 10 * math.log10(peak**2 / error) if error else math.inf


def summarise(judged: Iterable[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Mean and its error of every figure over images.

    Parameters
    ----------
    judged : iterable of mapping
        Figures of each image.

    Returns
    -------
    dict of str to dict
        Contender -> figure -> ``{"mean": ..., "error": ..., "n": ...}``; images where a figure is
        not defined are left out of it.
    """
    judged = list(judged)
    found: dict[str, dict[str, Any]] = {}
    for name in judged[0]:
        found[name] = {}
        for figure in judged[0][name]:
            values = np.array([one[name].get(figure, math.nan) for one in judged])
            values = values[np.isfinite(values)]
            count = len(values)
            error = float(values.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
            mean = float(values.mean()) if count else math.nan
            found[name][figure] = {"mean": mean, "error": error, "n": count}
    return found


def table(
    summary: Mapping[str, Mapping[str, Any]], *, ratio: float, columns: Sequence[str] = COLUMNS
) -> str:
    """Rows of a ``summary`` at a ratio of exposures, in columns: means over images, errors."""
    lines = [f"{f'ratio {ratio:g}':<16}" + "".join(f"{name:>14}" for name in columns)]
    for name, figures in summary.items():
        cells = [figures.get(column) for column in columns]
        lines.append(f"{name:<16}" + "".join(f"{_cell(cell):>14}" for cell in cells))
    return "\n".join(lines)


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None or cell["mean"] is None or not math.isfinite(cell["mean"]):
        return "-"
    mean, error = cell["mean"], cell["error"]
    digits = min(max(0, 2 - math.floor(math.log10(abs(mean)))), 4) if mean else 2
    text = f"{mean:.{digits}f}"
    return f"{text}±{error:.{digits}f}" if error is not None and math.isfinite(error) else text
