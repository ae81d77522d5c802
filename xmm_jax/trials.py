"""Trials on planted fields: sources where there are none, pairs that are hard to tell apart."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from xmm_jax.config import TASKS
from xmm_jax.contenders import Contender
from xmm_jax.log import progress
from xmm_jax.metrics.deblending import RATIOS, curve, draw_pairs, score
from xmm_jax.metrics.detection import Table, detect
from xmm_jax.metrics.planted import observe_points
from xmm_jax.metrics.sources import invented
from xmm_jax.simulator.observe import build_optics

PAIR_COUNTS = 100.0  # of the fainter member: deblending is asked for from here on
PRESET = "physical"


def find_invented(
    contenders: Sequence[Contender], task: str, *, fields: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Sources that each contender shows on fields of background.

    Parameters
    ----------
    contenders : sequence of Contender
        Who is tried.
    task : str
        Upscale, exposures, background.
    fields : int
        Number of fields.
    seed : int
        Of the fields.

    Returns
    -------
    dict of str to (float, float)
        Sources a field and their error, by name.
    """
    found: dict[str, list[Table]] = {one.name: [] for one in contenders}
    optics = jax.device_put(build_optics(PRESET, upscale=TASKS[task].upscale))
    for key in progress(_keys(seed, 0, fields), total=fields, label="fields of background"):
        for one, table in _searched(contenders, observe_background(key, optics, task)):
            found[one.name].append(table)
    return {name: invented(tables) for name, tables in found.items()}


def observe_background(key: jax.Array, optics: Any, task: str) -> dict[str, Any]:
    """A field without a source.

    Parameters
    ----------
    key : array
        Random key.
    optics : Optics
        Of the camera, from `build_optics` for the upscale of the task.
    task : str
        Upscale, exposures, background.
    """
    nothing, goal = np.zeros(1, np.float32), TASKS[task]
    sample = observe_points(
        key, optics, nothing, nothing, nothing, upscale=goal.upscale,
        target_background=goal.target_background, preset=PRESET,
    )  # fmt: skip
    return jax.device_get(sample)


def part_pairs(
    contenders: Sequence[Contender], task: str, *, fields: int, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Share of close pairs that each contender tells apart.

    Parameters
    ----------
    contenders, task, fields, seed
        As for `find_invented`; a field holds some 150 pairs.

    Returns
    -------
    dict of str to dict
        By name and ratio of the rates (``"1"``, ``"2"``, ``"5"``): the curve of
        `xmm_jax.metrics.deblending.curve` as lists.
    """
    tables: dict[str, list[Table]] = {one.name: [] for one in contenders}
    goal = TASKS[task]
    optics = jax.device_put(build_optics(PRESET, upscale=goal.upscale))
    for key in progress(_keys(seed, 1, fields), total=fields, label="fields of pairs"):
        sample, pairs = draw_pairs(
            key, optics, counts=PAIR_COUNTS, upscale=goal.upscale,
            target_background=goal.target_background,
        )  # fmt: skip
        for one, found in _searched(contenders, sample):
            tables[one.name].append(score(found, pairs))
    joined = {
        name: {column: np.concatenate([one[column] for one in several]) for column in several[0]}
        for name, several in tables.items()
    }
    return {
        name: {
            f"{ratio:g}": {
                key: np.asarray(value).tolist() for key, value in curve(table, ratio).items()
            }
            for ratio in RATIOS
        }
        for name, table in joined.items()
    }


def _keys(seed: int, trial: int, fields: int) -> Iterator[jax.Array]:
    key = jax.random.fold_in(jax.random.key(seed), trial)
    return (jax.random.fold_in(key, number) for number in range(fields))


def _searched(
    contenders: Sequence[Contender], sample: dict[str, Any]
) -> Iterator[tuple[Contender, Table]]:
    """Contenders and the sources found on their images."""
    seen = [sample[name][..., 0] for name in ("counts", "exposure", "valid")]
    for one in contenders:
        yield one, detect(one.estimate(sample), *seen)
