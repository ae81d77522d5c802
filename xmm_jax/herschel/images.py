"""The maps of a run of Herschel super-resolution, and the batches cut from them.

Three bands of SPIRE on one grid, the map at 450 um, and a catalogue of it. What a step sees is a
function of (seed, step).
"""

import functools
import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xmm_jax import numbered
from xmm_jax.alternate import alternating, sources_of
from xmm_jax.errors import InputError
from xmm_jax.fields import fingerprint
from xmm_jax.herschel.config import HerschelConfig
from xmm_jax.herschel.region import Region, read_region
from xmm_jax.numbered import DRAWN, FIRST, Numbered
from xmm_jax.simulator.repeatable import repeatable
from xmm_jax.simulator.submm import draw_field

MAPS = "maps.txt"
VALIDATION_FIELDS = 16
MOST_SOURCES = 64
"""Sources of one example that the aperture loss looks at; the brightest."""
LEAST_LIVE = 0.9
"""Share of live pixels that a crop should have; after so many tries any will do:"""
TRIES = 20


def draw_region(number: int, config: HerschelConfig) -> Region:
    """Drawn field of a number.

    Parameters
    ----------
    number : int
        Of the field.
    config : HerschelConfig
        Side, clustering, kind of target.
    """
    key = jax.random.fold_in(jax.random.key(0), number)
    field = jax.device_get(_drawing(config.side)(key, clustering=config.clustering))
    observed = config.target_kind == "observed"
    live = field.flux > 0
    return Region(
        f"field {number}",
        np.asarray(field.bands),
        np.asarray(field.observed_target if observed else field.target),
        np.ones(field.target.shape, bool),
        *(np.asarray(column)[live] for column in (field.x, field.y, field.flux)),
        both=False,
    )


@functools.cache
def _drawing(side: int) -> Callable[..., Any]:
    return repeatable(functools.partial(draw_field, side=side))


def find_data(config: HerschelConfig) -> str:
    """Names of the maps of a run: ``drawn``, folders.

    Raises
    ------
    InputError
        If a folder does not hold the four maps.
    """
    for name in sources_of(config, config.data):
        if name != DRAWN:
            read_region(name, least_mjy=config.least_mjy)
    return config.data


def data_digest(config: HerschelConfig, data: str) -> str:
    """Digest of the maps ``data``: of settings and code that draw them, of names and sizes."""
    marks = []
    for name in sources_of(config, data):
        if name == DRAWN:
            drawn = {n: getattr(config, n) for n in ("fields", "side", "clustering", "target_kind")}
            marks.append(fingerprint(drawn))
        else:
            marks.append(hashlib.sha256(_listing(name).encode()).hexdigest())
    return ",".join(marks)


def keep_data(config: HerschelConfig, run: Path, data: str) -> None:
    """Note in a run folder which files of ``data`` it is made with, or check that these are they.

    Raises
    ------
    InputError
        If the run was made with others.
    """
    text = "".join(_listing(name) for name in sources_of(config, data) if name != DRAWN)
    numbered.keep_listing(run / MAPS, text, others=f"maps than {data}")


def open_regions(config: HerschelConfig, name: str, split: str) -> Numbered[Region]:
    """Regions of a split; as many are kept in memory as fit in a quarter of it.

    Parameters
    ----------
    config : HerschelConfig
        How many, how large.
    name : str
        ``"drawn"``, or a folder, of which the last fifth of the rows is there to validate.
    split : {"train", "validation", "test"}
        Which.
    """
    if name != DRAWN:
        region = read_region(name, least_mjy=config.least_mjy)
        border = training_rows(region, config)
        rows = slice(0, border) if split == "train" else slice(border, None)
        part = region.window(rows, slice(0, region.target.shape[1]))
        return Numbered(1, lambda number: part)
    total = config.fields if split == "train" else VALIDATION_FIELDS

    def get(number: int) -> Region:
        return draw_region(FIRST[split] + number, config)

    return numbered.kept(get, total, size=20 * config.side**2)


def training_rows(region: Region, config: HerschelConfig) -> int:
    """How many rows of real maps a run trains on: whole crops, about four fifths."""
    return int(0.8 * region.target.shape[0]) // config.crop * config.crop or config.crop


def training_batches(
    config: HerschelConfig, data: str, *, start_step: int
) -> Generator[Mapping[str, Any], None, None]:
    """Batches of this process from the given step on, a function of (seed, step) alone.

    Parameters
    ----------
    config : HerschelConfig
        Seed, batch size, crop, flips.
    data : str
        From `find_data`.
    start_step : int
        Number of steps made before.
    """

    def batches(name: str, start_step: int) -> Generator[Mapping[str, Any], None, None]:
        cut = functools.partial(cut_example, config, open_regions(config, name, "train"))
        return numbered.training_batches(config, cut, start_step=start_step)

    sources = [functools.partial(batches, name) for name in sources_of(config, data)]
    return alternating(sources, start_step=start_step)


def cut_example(config: HerschelConfig, regions: Numbered[Region], number: int) -> dict[str, Any]:
    """One example of a run.

    Parameters
    ----------
    config : HerschelConfig
        Seed, crop, flips.
    regions : Numbered
        What to cut from; each is used once in an epoch, in an order of its own.
    number : int
        Of the example, from the start of the run.

    Raises
    ------
    InputError
        If a map is smaller than the crop.
    """
    region = numbered.shuffled(regions, number, seed=config.seed)
    random = numbered.random_of(config.seed, number)
    height, width = region.target.shape[:2]
    if min(height, width) < config.crop:
        raise InputError(
            f"{region.name}: {height} x {width} pixels do not hold --crop={config.crop}; choose a "
            "smaller crop"
        )
    rows = columns = slice(0)
    for _ in range(TRIES):
        y, x = (int(random.integers(side - config.crop + 1)) for side in (height, width))
        rows, columns = slice(y, y + config.crop), slice(x, x + config.crop)
        if region.valid[rows, columns].mean() > LEAST_LIVE:
            break
    part = region.window(rows, columns)
    if config.flips:
        part = part.mirrored(*(bool(one) for one in random.integers(2, size=2)))
    return to_example(part, least_mjy=config.least_mjy)


def validation_batches(config: HerschelConfig, data: str) -> Iterator[Mapping[str, Any]]:
    """Every validation field of the first source once, one on each device at a time.

    Parameters
    ----------
    config : HerschelConfig
        Number of fields.
    data : str
        From `find_data`.
    """
    regions = open_regions(config, sources_of(config, data)[0], "validation")
    total = min(config.eval_fields or regions.total, regions.total)

    def example(number: int) -> dict[str, Any]:
        return _whole(regions.get(number), config)

    return numbered.validation_batches(config, example, total=total)


def _whole(region: Region, config: HerschelConfig) -> dict[str, Any]:
    """A region cut to the sides of a drawn field, or smaller ones that the network can halve."""
    step = 2**config.network.depth
    sides = [min(length, config.side) // step * step for length in region.target.shape[:2]]
    if min(sides) < step:
        raise InputError(f"{region.name}: too small to validate; fewer --network.depth would do")
    part = region.window(slice(0, sides[0]), slice(0, sides[1]))
    return to_example(part, least_mjy=config.least_mjy)


def to_example(region: Region, *, least_mjy: float) -> dict[str, Any]:
    """Arrays of an example; sources fainter than ``least_mjy`` are left out, so are too many."""
    bright = np.flatnonzero(region.flux >= least_mjy)
    bright = bright[np.argsort(-region.flux[bright], kind="stable")][:MOST_SOURCES]
    catalogue = np.zeros((3, MOST_SOURCES), np.float32)
    catalogue[:, : len(bright)] = region.x[bright], region.y[bright], np.ones(len(bright))
    x, y, listed = catalogue
    return {
        "bands": np.ascontiguousarray(region.bands, np.float32),
        "target": np.ascontiguousarray(region.target, np.float32),
        "valid": np.ascontiguousarray(region.valid),
        "x": x,
        "y": y,
        "listed": listed,
        "both": np.float32(region.both),
        "weight": np.float32(1.0),
    }


def batch_shapes(config: HerschelConfig, lead: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of a batch of a run.

    Parameters
    ----------
    config : HerschelConfig
        Crop.
    lead : tuple of int
        Axes before y and x.
    """
    side, none = config.crop, np.zeros(0, np.float32)
    image = np.zeros((side, side, 1), np.float32)
    empty = Region("", image.repeat(3, 2), image, image > 0, none, none, none, both=False)
    return numbered.shapes_of(to_example(empty, least_mjy=1.0), lead)


def _listing(folder: str) -> str:
    """Names and sizes of the files, a line each."""
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    return "".join(f"{path} {path.stat().st_size}\n" for path in files)
