"""Large images as Astro U-net answers them: overlapping windows, and their mean at each pixel.

Vojtekova et al. 2021, section 3.2, and the published code: zeros around the image, windows of 256 x
256 pixels every 32 pixels, so that 64 windows cover each pixel. It costs 64 times the network and
blurs seams away rather than leaving none, which `xmm_jax.tiling` does; for figures that are to be
compared with published ones.

Here the windows start at multiples of the stride from the first pixel; the published code lays the
image in the middle of its border, which moves all windows together by less than a stride.
"""

from collections.abc import Callable, Iterator

import numpy as np

from xmm_jax.errors import InputError

WINDOW, STRIDE = 256, 32  # [pixel]
BATCH = 8

Answer = Callable[[dict[str, np.ndarray]], np.ndarray]


def starts(length: int, window: int, stride: int) -> range:
    """Where the windows begin along one axis [pixel]: all that hold a pixel of the image.

    Parameters
    ----------
    length : int
        Of the axis [pixel].
    window, stride : int
        Side and distance of windows [pixel].

    Returns
    -------
    range
        Negative where a window begins in the zeros before the image.

    Raises
    ------
    InputError
        If the stride does not divide the window, so that pixels would lie in unequal numbers of
        windows.
    """
    if stride < 1 or window < stride or window % stride:
        raise InputError(f"the stride must divide the window, got {stride} and {window} pixels")
    return range(stride - window, length, stride)


def mosaic(
    answer: Answer,
    images: dict[str, np.ndarray],
    *,
    window: int = WINDOW,
    stride: int = STRIDE,
    batch: int = BATCH,
) -> np.ndarray:
    """Mean of the answers of all windows at each pixel.

    Parameters
    ----------
    answer : callable
        From images [n, window, window], always `batch` of them, to [n, window, window, outputs].
        They are windows of one and the same image.
    images : dict of ndarray
        Of one shape [b, y, x]; beyond their edges they count as 0.
    window, stride : int
        Side of the windows and distance between them [pixel]; the published ones by default. With
        a stride of one window each pixel is answered once.
    batch : int
        Windows per call.

    Returns
    -------
    ndarray
        ``[b, y, x, outputs]``, of the type of the answers; sums are kept in float64, for as many
        rows as a window has.

    Raises
    ------
    InputError
        If the stride does not divide the window.
    """
    height, width = next(iter(images.values())).shape[1:]
    rows, columns = (starts(length, window, stride) for length in (height, width))
    wholes = []
    for place in range(len(next(iter(images.values())))):
        one = {name: image[place] for name, image in images.items()}
        strips = _strips(answer, one, rows, columns, window, batch)
        bands = list(_bands(strips, rows, (height, width), window, stride))
        wholes.append(np.concatenate(bands))
    return np.stack(wholes)


def _strips(
    answer: Answer,
    images: dict[str, np.ndarray],
    rows: range,
    columns: range,
    window: int,
    batch: int,
) -> Iterator[list[np.ndarray]]:
    """Answers of the windows of each row of windows, from left to right."""
    for top in rows:
        strip = {name: _filled(image, top, columns, window) for name, image in images.items()}
        lefts = [left - columns[0] for left in columns]
        said: list[np.ndarray] = []
        for i in range(0, len(lefts), batch):
            some = lefts[i : i + batch]
            # Always as many: a network is compiled once per shape.
            full = some + some[-1:] * (batch - len(some))
            parts = {
                name: np.stack([x[:, left : left + window] for left in full])
                for name, x in strip.items()
            }
            said.extend(np.asarray(answer(parts))[: len(some)])
        yield said


def _filled(image: np.ndarray, top: int, columns: range, window: int) -> np.ndarray:
    """Rows of one row of windows, zeros where there is no image."""
    height, width = image.shape
    strip = np.zeros((window, columns[-1] + window - columns[0]), image.dtype)
    first, last = max(top, 0), min(top + window, height)
    strip[first - top : last - top, -columns[0] : width - columns[0]] = image[first:last]
    return strip


def _bands(
    strips: Iterator[list[np.ndarray]],
    rows: range,
    shape: tuple[int, int],
    window: int,
    stride: int,
) -> Iterator[np.ndarray]:
    """Finished rows of the image: those that no later window holds."""
    height, width = shape
    margin = window - stride  # zeros before the image that a window may hold
    number = (window // stride) ** 2
    total = np.zeros(0)
    for top, said in zip(rows, strips, strict=True):
        if not total.size:
            wide = margin + stride * len(said)
            total = np.zeros((window, wide, said[0].shape[-1]))
        for place, part in enumerate(said):
            total[:, place * stride : place * stride + window] += part
        done = total[max(-top, 0) : min(stride, height - top), margin : margin + width]
        yield (done / number).astype(said[0].dtype)
        total[:-stride] = total[stride:].copy()
        total[-stride:] = 0
