"""A picture of one image: short exposure, answers, long exposure, and a part of each enlarged."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xmm_jax.astro_unet.images import Image
from xmm_jax.preview import new_figure, write_figure

PART = 96
"""Side of the enlarged part [pixel]."""


def write_picture(path: Path, image: Image, shown: Mapping[str, np.ndarray]) -> Path:
    """Draw all images of a field with one scale of brightness.

    Parameters
    ----------
    path : Path
        PNG to write.
    image : Image
        The long exposure; its truth is drawn too, where it is known.
    shown : mapping of str to ndarray
        Rates [electron/s/pixel] by name, [y, x].

    Raises
    ------
    InputError
        Without matplotlib, or if it cannot be written.
    """
    panels = dict(shown) | ({} if image.truth is None else {"truth": image.truth})
    knee = 3 * np.std(image.rate[image.valid & (image.rate < np.median(image.rate))])
    top = float(np.percentile(image.rate[image.valid], 99.8))
    y, x = _busiest(image)
    figure = new_figure(2.6 * len(panels), 5.4)
    axes = figure.subplots(2, len(panels), squeeze=False)
    for column, (name, rate) in enumerate(panels.items()):
        for row, part in enumerate((rate, rate[y : y + PART, x : x + PART])):
            picture = np.arcsinh(np.clip(part, -knee, top) / knee)
            limits = np.arcsinh(np.array([-knee, top]) / knee)
            axes[row, column].imshow(
                picture, origin="lower", cmap="gray", vmin=limits[0], vmax=limits[1]
            )
            axes[row, column].set_axis_off()
        axes[0, column].set_title(name, fontsize=9)
    figure.suptitle(f"{image.name}, {image.exposure_s:.0f} s", fontsize=9)
    return write_figure(figure, path)


def _busiest(image: Image) -> tuple[int, int]:
    """Corner of the part with most structure, by a sum of square roots of rates."""
    rate = np.sqrt(np.maximum(np.where(image.valid, image.rate, 0.0), 0.0))
    height, width = (length // PART * PART for length in rate.shape)
    if not height or not width:
        return 0, 0
    blocks = rate[:height, :width].reshape(height // PART, PART, width // PART, PART)
    best = np.unravel_index(int(np.argmax(blocks.std((1, 3)))), (height // PART, width // PART))
    return int(best[0]) * PART, int(best[1]) * PART
