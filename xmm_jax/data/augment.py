"""Cutting, turning, mirroring and thinning a pair, both grids together.

What is done to an example is drawn by `decide` from (seed, number of the example) alone; it is
carried out by `transform` on numpy arrays, or by `transform_on_device` on traced ones. A position
on the input grid times the upscale is the same position on the target grid, so every image field
is cut at its own pixels. Mirroring and turning also mirror and turn the PSF, which is not
symmetric: whether to is the choice of a preset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.data.thinning import thin
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN


@dataclass(frozen=True)
class Augment:
    """What may be done to an example.

    Attributes
    ----------
    position : {"random", "center", "boresight"}
        Where a crop is cut: anywhere, about the centre of the frame, or about the optical axis.
    flips : bool
        Mirror along y and along x, each with probability 1/2.
    turns : bool
        Turn by 0, 90, 180 or 270 degrees, equally likely; needs square images.
    thin : float
        Keep a random share of the photons and of the exposure of the input, from this to all, its
        logarithm uniform; 0: keep all.
    """

    position: Literal["random", "center", "boresight"] = "random"
    flips: bool = False
    turns: bool = False
    thin: float = 0.0


class Moves(NamedTuple):
    """What is done to one example: first cut, then turn, then mirror, then thin.

    Attributes
    ----------
    y, x : int
        First row and column of the crop [input pixel].
    mirror_y, mirror_x : bool
        Reverse that axis.
    turns : int
        Quarter turns from y towards x, as ``numpy.rot90``.
    share : float
        Share of the photons to keep.
    photons : int
        Seed that decides which.
    """

    y: Any
    x: Any
    mirror_y: Any
    mirror_x: Any
    turns: Any
    share: Any = 1.0
    photons: Any = 0


def check_augment(augment: Augment, *, frame: tuple[int, int], crop: int) -> None:
    """Refuse what cannot be done to a frame.

    Parameters
    ----------
    augment : Augment
        What may be done.
    frame : tuple of int
        Input frame (y, x) [pixel].
    crop : int
        Side of the crop [input pixel]; 0 = whole frame.

    Raises
    ------
    InputError
        Naming the setting.
    """
    if not 0 <= crop <= min(frame):
        raise InputError(
            f"a crop of {crop} pixels does not fit the frame (y, x) = {frame}; choose a smaller one"
        )
    if augment.turns and not crop and frame[0] != frame[1]:
        raise InputError(f"turning needs square images, not (y, x) = {frame}; set a crop")
    if not 0 <= augment.thin <= 1:
        raise InputError(f"thin is a share of the exposure, 0 to 1, got {augment.thin:g}")
    _centre(augment, frame)


def decide(
    augment: Augment, *, seed: int, index: int, frame: tuple[int, int], crop: int = 0
) -> Moves:
    """Draw what is done to one example.

    Parameters
    ----------
    augment : Augment
        What may be done.
    seed, index : int
        Seed of the run and number of the example; nothing else enters the draw.
    frame : tuple of int
        Input frame (y, x) [pixel].
    crop : int
        Side of the crop [input pixel]; 0 = whole frame.

    Returns
    -------
    Moves
    """
    # Raw words of a counter-based generator: unlike the methods of numpy.random.Generator, these
    # are promised to stay the same in every numpy version.
    words = np.random.Philox(key=np.array([seed, index], np.uint64)).random_raw(7).tolist()
    height, width = (crop, crop) if crop else frame
    room = frame[0] - height, frame[1] - width
    if augment.position == "random":
        y, x = words[0] % (room[0] + 1), words[1] % (room[1] + 1)
    else:
        centre = _centre(augment, frame)
        y, x = _start(centre[1], height, room[0]), _start(centre[0], width, room[1])
    return Moves(
        y=y,
        x=x,
        mirror_y=augment.flips and words[2] % 2 == 1,
        mirror_x=augment.flips and words[3] % 2 == 1,
        turns=words[4] % 4 if augment.turns else 0,
        share=augment.thin ** (words[5] / 2**64) if augment.thin else 1.0,
        photons=words[6] % 2**31 if augment.thin else 0,
    )


def decide_many(
    augment: Augment, *, seed: int, indices: np.ndarray, frame: tuple[int, int], crop: int = 0
) -> Moves:
    """Draw what is done to each of several examples.

    Parameters
    ----------
    augment, seed, frame, crop
        As in `decide`.
    indices : numpy.ndarray
        Numbers of the examples, int64 [b].

    Returns
    -------
    Moves
        Of arrays [b], for `transform_on_device` under ``jax.vmap``; int32, ``share`` float32.
    """
    drawn = [
        decide(augment, seed=seed, index=index, frame=frame, crop=crop)
        for index in indices.tolist()
    ]
    columns = Moves(*np.array(drawn, float).reshape(-1, len(Moves._fields)).T)
    whole = Moves(*(column.astype(np.int32) for column in columns))
    return whole._replace(share=columns.share.astype(np.float32))


def transform(images: Mapping[str, np.ndarray], moves: Moves, *, crop: int = 0) -> dict:
    """Do to one example what was decided.

    Parameters
    ----------
    images : mapping
        Image fields, [y, x, 1] or [s*y, s*x, 1], with ``counts`` among them.
    moves : Moves
        From `decide` for this frame and crop.
    crop : int
        Side of the crop [input pixel]; 0 = whole frame.

    Returns
    -------
    dict
        The same fields, views where possible.
    """
    frame = images["counts"].shape
    result = {}
    for name, image in images.items():
        scale = image.shape[0] // frame[0]
        height, width = (scale * side for side in ((crop, crop) if crop else frame[:2]))
        y, x = scale * moves.y, scale * moves.x
        image = np.rot90(image[y : y + height, x : x + width], moves.turns)
        image = image[::-1] if moves.mirror_y else image
        result[name] = image[:, ::-1] if moves.mirror_x else image
    if moves.share < 1:
        draw = np.random.Generator(np.random.Philox(key=moves.photons))
        result["counts"] = thin(draw, result["counts"], moves.share)
        result["exposure"] = result["exposure"] * np.float32(moves.share)
    return result


def transform_on_device(
    images: Mapping[str, jax.Array], moves: Moves, *, augment: Augment, crop: int = 0
) -> dict[str, jax.Array]:
    """Do the same as `transform` where the moves are traced: under jit and vmap.

    Parameters
    ----------
    images : mapping
        Image fields, [y, x, 1] or [s*y, s*x, 1], with ``counts`` among them.
    moves : Moves
        Of scalars, possibly traced.
    augment : Augment
        What may be done; what may not costs nothing.
    crop : int
        Side of the crop [input pixel]; 0 = whole frame.

    Returns
    -------
    dict
        The same fields.
    """
    frame = images["counts"].shape
    result = {}
    for name, image in images.items():
        scale = image.shape[0] // frame[0]
        if crop:
            start = (scale * moves.y, scale * moves.x, 0)
            image = jax.lax.dynamic_slice(image, start, (scale * crop, scale * crop, 1))
        if augment.turns:
            quarters = [lambda a, k=k: jnp.rot90(a, k) for k in range(4)]
            image = jax.lax.switch(moves.turns, quarters, image)
        if augment.flips:
            image = jnp.where(moves.mirror_y, image[::-1], image)
            image = jnp.where(moves.mirror_x, image[:, ::-1], image)
        result[name] = image
    if augment.thin:
        counts, key = result["counts"], jax.random.key(moves.photons)
        kept = jax.random.binomial(key, counts.astype(jnp.float32), moves.share)
        result["counts"] = kept.astype(counts.dtype)
        result["exposure"] = result["exposure"] * moves.share
    return result


def _centre(augment: Augment, frame: tuple[int, int]) -> tuple[float, float]:
    """Pixel (x, y) about which a crop is cut that is not random."""
    if augment.position != "boresight":
        return (frame[1] - 1) / 2, (frame[0] - 1) / 2
    if frame == PN.shape:
        return PN.axis
    if frame == (PN.padded, PN.padded):
        return PN.axis[0] + PN.pad_low[0], PN.axis[1] + PN.pad_low[1]
    raise InputError(
        f"the boresight of a frame (y, x) = {frame} is not known; use another position"
    )


def _start(centre: float, size: int, room: int) -> int:
    """First pixel of `size` pixels about `centre`, moved inside the frame."""
    return min(max(round(centre - (size - 1) / 2), 0), room)
