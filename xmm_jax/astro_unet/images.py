"""The images of a run of Astro U-net, and the batches cut from them.

An image is a long exposure; the short one is made from it on the device, when the batch is used.
What a step sees is a function of (seed, step): which images, which crops, which ratios, which
noise. Drawn fields are those of their numbers, whatever the seed.
"""

import functools
import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from xmm_jax import numbered
from xmm_jax.astro_unet.config import AstroConfig
from xmm_jax.data.hst import choose_crop, read_drizzled, remove_cosmic_rays
from xmm_jax.data.splits import split_of
from xmm_jax.errors import InputError
from xmm_jax.fields import fingerprint
from xmm_jax.numbered import DRAWN, FIRST, Numbered
from xmm_jax.simulator.repeatable import repeatable
from xmm_jax.simulator.starfield import draw_field

IMAGES = "images.txt"
FIELDS = {"validation": 8, "test": 8}
VALIDATION_SIDE = 1024
"""Of the centre of a file that is validated [pixel]."""
MOST_NOISE = 2**32


class Image(NamedTuple):
    """A long exposure.

    Attributes
    ----------
    name : str
        Of the file, or number of the drawn field.
    rate : ndarray
        [electron/s/pixel], [y, x] float32, 0 where dead.
    valid : ndarray of bool
        True where there is a measurement.
    exposure_s : float
        [s].
    band : int
        0 for F555W, 1 for F606W and others.
    sky_rate : float
        Sky that was subtracted [electron/s/pixel], 0 if it is not known.
    truth : ndarray or None
        Expected rate without noise [electron/s/pixel], of drawn fields.
    """

    name: str
    rate: np.ndarray
    valid: np.ndarray
    exposure_s: float
    band: int
    sky_rate: float
    truth: np.ndarray | None


def draw_image(number: int, side: int) -> Image:
    """Drawn field of a number; odd ones in F606W, even ones in F555W.

    Parameters
    ----------
    number : int
        Of the field.
    side : int
        [pixel].
    """
    key = jax.random.fold_in(jax.random.key(0), number)
    found = jax.device_get(_drawing(side)(key, band=number % 2))
    return Image(
        f"field {number}",
        np.asarray(found.rate),
        np.asarray(found.valid),
        float(found.exposure_s),
        int(found.band),
        float(found.sky_rate),
        np.asarray(found.truth),
    )


@functools.cache
def _drawing(side: int) -> Callable[..., Any]:
    return repeatable(functools.partial(draw_field, side=side))


def read_image(path: Path, *, cosmic_rays: bool) -> Image:
    """Long exposure of a FITS file, without its cosmic rays if ``cosmic_rays`` is set.

    Raises
    ------
    InputError
        If it is not a drizzled image in electrons.
    """
    found = read_drizzled(path)
    if cosmic_rays:
        found = remove_cosmic_rays(found)
    band = 1 if found.band is None else found.band
    return Image(path.name, found.rate, found.valid, found.exposure_s, band, 0.0, None)


def find_files(folder: str) -> list[Path]:
    """FITS files of a folder, sorted.

    Raises
    ------
    InputError
        If there is none.
    """
    endings = (".fits", ".fits.gz", ".fit", ".fits.fz")
    files = sorted(p for p in Path(folder).rglob("*") if p.name.lower().endswith(endings))
    if not files:
        raise InputError(f"{folder}: no FITS files in there; give a folder of drizzled images")
    return files


def find_data(config: AstroConfig) -> str:
    """Name of the images of a run: ``"drawn"``, or a folder.

    Raises
    ------
    InputError
        If a folder is named that has too few images.
    """
    if not config.data:
        return DRAWN
    for split in ("train", "validation"):
        if not _of_split(config.data, split):
            raise InputError(f"{config.data}: too few images, none falls to {split}; add some")
    return config.data


def data_digest(config: AstroConfig, data: str) -> str:
    """Digest of the images ``data``: of settings and code that draw them, or names and sizes."""
    if data == DRAWN:
        return fingerprint({"fields": config.fields, "side": config.side})
    return hashlib.sha256(_listing(data).encode()).hexdigest()


def keep_data(config: AstroConfig, run: Path, data: str) -> None:
    """Note in a run folder which files of ``data`` it is made with, or check that these are they.

    Raises
    ------
    InputError
        If the run was made with others.
    """
    if data != DRAWN:
        numbered.keep_listing(run / IMAGES, _listing(data), others=f"images than {data}")


def open_images(config: AstroConfig, data: str, split: str) -> Numbered[Image]:
    """Images of a split; as many are kept in memory as fit in a quarter of it.

    Parameters
    ----------
    config : AstroConfig
        How many, how large.
    data : str
        From `find_data`.
    split : {"train", "validation", "test"}
        Which.
    """
    if data == DRAWN:
        count = config.fields if split == "train" else FIELDS[split]
        first, size = FIRST[split], 9 * config.side**2

        def get(number: int) -> Image:
            return draw_image(first + number, config.side)
    else:
        files = _of_split(data, split)
        count, size = len(files), 5 * 4096**2

        def get(number: int) -> Image:
            return read_image(files[number], cosmic_rays=config.cosmic_rays)

    return numbered.kept(get, count, size=size)


def training_batches(
    config: AstroConfig, data: str, *, start_step: int
) -> Generator[Mapping[str, Any], None, None]:
    """Batches of this process from the given step on, a function of (seed, step) alone.

    Parameters
    ----------
    config : AstroConfig
        Seed, batch size, crop, ratios.
    data : str
        From `find_data`.
    start_step : int
        Number of steps made before.
    """
    cut = functools.partial(cut_example, config, open_images(config, data, "train"))
    return numbered.training_batches(config, cut, start_step=start_step)


def cut_example(config: AstroConfig, images: Numbered[Image], number: int) -> dict[str, Any]:
    """One example of a run.

    Parameters
    ----------
    config : AstroConfig
        Seed, crop, ratios, shift, flips.
    images : Numbered
        What to cut from; each is used once in an epoch, in an order of its own.
    number : int
        Of the example, from the start of the run.
    """
    ordered = config.order == "ordered"
    crop_number, turn = divmod(number, len(config.ratios)) if ordered else (number, 0)
    image = numbered.shuffled(images, crop_number, seed=config.seed)
    random = numbered.random_of(config.seed, crop_number)
    ratio = config.ratios[turn] if ordered else random.choice(config.ratios)
    shift = config.shift
    y, x = choose_crop(random, image.rate, config.crop + 2 * shift)
    dy, dx = random.integers(-shift, shift + 1, 2)
    signs = random.choice((1, -1), 2) if config.flips else (1, 1)
    mirror = tuple(slice(None, None, sign) for sign in signs)
    here = _window(y + shift, x + shift, config.crop)
    there = _window(y + shift + dy, x + shift + dx, config.crop)
    return _example(image, here, there, mirror, ratio, noise=int(random.integers(MOST_NOISE)))


def validation_batches(config: AstroConfig, data: str) -> Iterator[Mapping[str, Any]]:
    """Every validation image with every ratio, one on each device at a time.

    Parameters
    ----------
    config : AstroConfig
        Number of fields.
    data : str
        From `find_data`.
    """
    images = open_images(config, data, "validation")
    count = min(config.eval_fields or images.total, images.total)
    cases = [(i, ratio) for i in range(count) for ratio in config.ratios]

    def example(number: int) -> dict[str, Any]:
        return whole(images.get, *cases[number])

    return numbered.validation_batches(config, example, total=len(cases))


def whole(get: Callable[[int], Image], number: int, ratio: int) -> dict[str, Any]:
    """Example of a whole image, or of the centre of a large one, cut to a multiple of 16.

    Parameters
    ----------
    get : callable
        From the number to the image.
    number : int
        Of the image.
    ratio : int
        Of exposures.
    """
    image = get(number)
    sides = [min(length // 16 * 16, VALIDATION_SIDE) for length in image.rate.shape]
    centre = tuple(
        slice((length - side) // 2, (length - side) // 2 + side)
        for length, side in zip(image.rate.shape, sides, strict=True)
    )
    return _example(image, centre, centre, (slice(None), slice(None)), ratio, noise=number)


def _example(
    image: Image, here: Any, there: Any, mirror: Any, ratio: float, *, noise: int
) -> dict[str, Any]:
    """Arrays of an example: where the target lies, where the input, how both are mirrored."""

    def cut(array: np.ndarray, window: Any) -> np.ndarray:
        return np.ascontiguousarray(array[window][mirror])[..., None]

    truth = {} if image.truth is None else {"truth": cut(image.truth, here)}
    return truth | {
        "rate": cut(image.rate, there),
        "valid": cut(image.valid, there),
        "target": cut(image.rate, here),
        "target_valid": cut(image.valid, here),
        "exposure": np.float32(image.exposure_s),
        "sky_rate": np.float32(image.sky_rate),
        "ratio": np.float32(ratio),
        "band": np.int32(image.band),
        "noise": np.uint32(noise),
        "weight": np.float32(1.0),
    }


def batch_shapes(config: AstroConfig, lead: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of a training batch.

    Parameters
    ----------
    config : AstroConfig
        Crop; drawn fields have a truth, files have none.
    lead : tuple of int
        Axes before y and x.
    """
    dead = np.zeros((config.crop, config.crop), bool)
    dark = dead.astype(np.float32)
    image = Image("", dark, dead, 1.0, 0, 0.0, None if config.data else dark)
    return numbered.shapes_of(_example(image, ..., ..., ..., 1.0, noise=0), lead)


def _window(y: int, x: int, side: int) -> tuple[slice, slice]:
    return slice(y, y + side), slice(x, x + side)


@functools.lru_cache(maxsize=8)
def _of_split(folder: str, split: str) -> list[Path]:
    return [path for path in find_files(folder) if split_of(path.name) == split]


def _listing(folder: str) -> str:
    """Names and sizes of the files, a line each."""
    root = Path(folder)
    return "".join(f"{p.relative_to(root)} {p.stat().st_size}\n" for p in find_files(folder))
