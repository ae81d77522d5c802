"""Level of a smooth background, from the faint parts of an image."""

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from xmm_jax.models.interpolation import live_pixels

BLOCK = 16  # pixels of the native grid a side: 30 counts of background in 20 ks
ROUNDS = 10


def subtract_background(
    rate: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    shapes: Sequence[np.ndarray] | None = None,
    clip: float = 2.0,
) -> np.ndarray:
    """Subtract the background that the faint parts of an image show.

    The image is averaged in blocks of 16 native pixels; levels of the shapes are fitted to the
    blocks, and blocks more than `clip` sigmas off the fit are left out, starting from the faintest
    fifth. Where a source covers the whole field, its faintest parts count as background.

    Parameters
    ----------
    rate : ndarray
        Rate [count/s/pixel], native [y, x] or finer [s y, s x], of any method that keeps the light.
    exposure, valid : ndarray
        Live time [s] and True = use, native [y, x].
    shapes : sequence of ndarray, optional
        Shapes that the background is made of, native [y, x], such as a flat one and the vignetting;
        one flat shape by default.
    clip : float
        Sigmas of Poisson noise of a block.

    Returns
    -------
    ndarray
        Rate without background, float32 of the shape of `rate`, 0 where dead; noise around 0 is
        kept, so it can be negative.
    """
    live = live_pixels(exposure, valid)
    rows, columns = live.shape
    upscale = rate.shape[0] // rows
    seconds = np.where(live, exposure, 0.0)
    native = rate.reshape(rows, upscale, columns, upscale).sum(axis=(1, 3))
    shapes = [np.ones(live.shape)] if shapes is None else shapes
    maps = np.stack([np.where(live, shape, 0.0) for shape in shapes])
    counts = block_sums(native * seconds)
    expected = np.stack([block_sums(one * seconds) for one in maps])
    level = fit_levels(counts, expected, clip=clip)
    fine = (np.tensordot(level, maps, 1) / upscale**2).repeat(upscale, 0).repeat(upscale, 1)
    return np.where(live.repeat(upscale, 0).repeat(upscale, 1), rate - fine, 0).astype(np.float32)


def fit_levels(counts: np.ndarray, expected: np.ndarray, *, clip: float = 2.0) -> np.ndarray:
    """Levels of a background under sources.

    Parameters
    ----------
    counts : ndarray
        Counts of every block [block].
    expected : ndarray
        Counts of every shape at level 1 [shape, block], 0 where a block is dead.
    clip : float
        Sigmas within which a block belongs to the background.

    Returns
    -------
    ndarray
        Levels [shape], none negative.
    """
    total = expected.sum(axis=0)
    seen = total > 0.25 * total.max()  # blocks on the edge say little
    if not seen.any():
        return np.zeros(len(expected))
    counts, expected, total = counts[seen], expected[:, seen], total[seen]
    chosen = counts / total <= np.quantile(counts / total, 0.2)
    level = np.zeros(len(expected))
    for _ in range(ROUNDS):
        model = np.maximum(level @ expected, 1.0) if level.any() else np.maximum(counts, 1.0)
        weight = 1.0 / np.sqrt(model[chosen])
        level, _ = optimize.nnls((expected[:, chosen] * weight).T, counts[chosen] * weight)
        model = np.maximum(level @ expected, 1.0)
        chosen = np.abs(counts - model) <= clip * np.sqrt(model)
        if chosen.sum() < 2 * len(expected):
            break
    return level


def block_sums(image: np.ndarray) -> np.ndarray:
    """Sums of the blocks of an image, [block]; it is filled up with zeros."""
    rows, columns = image.shape
    image = np.pad(image, ((0, -rows % BLOCK), (0, -columns % BLOCK)))
    return image.reshape(image.shape[0] // BLOCK, BLOCK, -1, BLOCK).sum(axis=(1, 3)).ravel()
