"""Large images in parts: windows that overlap by as far as a network sees, so that no seam remains.

A pixel of the answer depends on the input no farther away than the reach of the network. Each part
is answered in a window that holds its surroundings to that distance, and only the part is kept:
what comes out is what the whole image in one go would give, up to rounding.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Windows start at multiples of this: trunks on coarser pixels see squares of 2 x 2.
STEP = 4


class Span(NamedTuple):
    """One part along one axis [pixel]: window ``first:last``, of which ``keep:until`` is kept."""

    first: int
    last: int
    keep: int
    until: int


def spans(length: int, side: int, reach: int, *, step: int = STEP) -> list[Span]:
    """Cut an axis into parts of equal windows.

    Parameters
    ----------
    length : int
        Of the axis [pixel].
    side : int
        Pixels to keep of each part, or fewer.
    reach : int
        How far a network sees [pixel].
    step : int
        Windows start at multiples of this [pixel].

    Returns
    -------
    list of Span
        What is kept covers the axis once. Windows all have one length, so that a network is
        compiled once; those at the ends of the axis end there.
    """
    side, reach = (max(step, -(-value // step) * step) for value in (side, reach))
    window = side + 2 * reach
    if window >= length:
        return [Span(0, length, 0, length)]
    # The last window ends with the axis and must start at a multiple of step as well.
    window += (length - window) % step
    found = []
    keep = 0
    while keep < length:
        first = min(max(keep - reach, 0), length - window)
        last = first + window
        until = length if last == length else (last - reach) // step * step
        found.append(Span(first, last, keep, until))
        keep = until
    return found


def by_parts(
    answer: Callable[[dict[str, np.ndarray]], np.ndarray],
    images: dict[str, np.ndarray],
    *,
    side: int,
    reach: int,
    upscale: int,
    step: int = STEP,
) -> np.ndarray:
    """Answer to images, part by part.

    Parameters
    ----------
    answer : callable
        From images [b, y, x] to [b, s*y, s*x, outputs].
    images : dict of ndarray
        Of one shape [b, y, x].
    side : int
        Pixels to keep of each part; of the image or more: all in one go.
    reach : int
        How far the network sees [pixel].
    upscale : int
        s.
    step : int
        Windows start at multiples of this [pixel].

    Returns
    -------
    ndarray
        ``[b, s*y, s*x, outputs]``.
    """
    number, height, width = next(iter(images.values())).shape
    whole: np.ndarray | None = None
    for rows in spans(height, side, reach, step=step):
        for columns in spans(width, side, reach, step=step):
            window = np.s_[:, rows.first : rows.last, columns.first : columns.last]
            said = answer({name: image[window] for name, image in images.items()})
            if whole is None:
                size = (number, upscale * height, upscale * width, said.shape[-1])
                whole = np.empty(size, said.dtype)
            to, of = (
                tuple(
                    slice(upscale * (one.keep - origin), upscale * (one.until - origin))
                    for one, origin in zip((rows, columns), origins, strict=True)
                )
                for origins in ((0, 0), (rows.first, columns.first))
            )
            whole[:, *to] = said[:, *of]
    assert whole is not None  # an axis has at least one part
    return whole
