"""Training pairs from the published SIXTE components: seeded random combinations.

Input and target show the same extended source and the same point sources. At 2x the target is an
independent simulation. At 1x the parts of one simulation may share photons: parts that do not
overlap are taken where there are any; where the target contains the input, the input is subtracted
and every other component thinned to the exposure that is left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.config import TASKS
from xmm_jax.data.pairs import make_sample
from xmm_jax.data.sixte import Component, coadd, find_components, read_component, read_mask
from xmm_jax.data.sources import Source
from xmm_jax.data.splits import FRACTIONS, SPLITS, split_sources
from xmm_jax.data.thinning import generator, thin
from xmm_jax.errors import InputError

PAIRINGS = ("disjoint", "nested")
Pairs = dict[str, list[tuple[Component, Component]]]


@dataclass(frozen=True)
class _Catalogue:
    """What may be combined for one task, and how."""

    task: str
    pairing: str
    images: Pairs
    pools: Mapping[str, Mapping[str, Pairs]]  # split, kind, key
    masks: tuple[np.ndarray, np.ndarray]


def sixte_source(
    root: str | Path,
    *,
    task: str,
    n: int = 1,
    seed: int = 0,
    pairing: str = "disjoint",
    fractions: tuple[float, float, float] = FRACTIONS,
    masks: tuple[np.ndarray, np.ndarray] | None = None,
) -> Source:
    """Pairs of every sub-halo in a folder of published SIXTE components.

    Point-source fields and backgrounds are divided between the splits like the sub-halos (as far
    as there are enough), so that a test field shares none with the training fields.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``20ks``, ``50ks``, ``100ks`` and, if at hand, ``detector_mask``.
    task : str
        ``sr``: 20 ks at 1x with background to 100 ks at 2x without. ``dn``: 20 to 50 ks at 1x.
    n : int
        Combinations per image of an extended source.
    seed : int
        Seed of the combinations and of the split of point sources and backgrounds.
    pairing : str
        For ``dn``: ``disjoint`` never shares photons between input and target; ``nested`` takes
        any parts, as published, and is labelled so.
    fractions : tuple of float
        Shares of train, validation and test.
    masks : pair of ndarray, optional
        Detector masks of input and target grid, non-zero where alive.

    Returns
    -------
    Source
        An item for each sub-halo.

    Raises
    ------
    InputError
        Missing folders, no image with both exposures, or an unknown pairing.
    """
    if pairing not in PAIRINGS:
        raise InputError(f"pairing {pairing}: SIXTE pairs are {' or '.join(PAIRINGS)}")
    goal = TASKS[task]
    images = _match(root, "img", task)
    pools: dict[str, dict[str, Pairs]] = {split: {} for split in SPLITS}
    for kind in ("agn", "background"):
        matched = _match(root, kind, task)
        place = split_sources(matched, seed=seed, fractions=fractions)
        for split in SPLITS:
            mine = {key: pairs for key, pairs in matched.items() if place[key] == split}
            pools[split][kind] = mine or matched
    if masks is None:
        masks = (read_mask(root, 1), read_mask(root, goal.upscale))
    catalogue = _Catalogue(task, pairing, images, pools, masks)
    keys: dict[str, list[str]] = {}
    for key, pairs in images.items():
        keys.setdefault(pairs[0][0].source, []).append(key)
    split_of = split_sources(keys, seed=seed, fractions=fractions)

    draws = {
        source: partial(_draw, catalogue, mine, split_of[source], seed=seed, n=n)
        for source, mine in keys.items()
    }
    return Source(draws, {source: source for source in keys}, pairs=n)


def _draw(
    catalogue: _Catalogue, keys: Sequence[str], split: str, *, seed: int, n: int
) -> Iterator[dict[str, Any]]:
    """Every combination of one sub-halo."""
    for key in keys:
        for number in range(n):
            yield _combine(catalogue, key, split, seed=seed, number=number)


def _match(root: str | Path, kind: str, task: str) -> Pairs:
    """Input and target parts of each key that has both; backgrounds are matched all with all."""
    goal = TASKS[task]
    exposure, target_exposure = (
        round(seconds / 1000) for seconds in (goal.exposure_s, goal.target_exposure_s)
    )
    inputs = find_components(root, kind, exposure_ks=exposure, upscale=1)
    if kind == "background":
        # Named by the time they were made: nothing ties those of different exposures together.
        if not goal.target_background:
            return {key: [(part, part) for part in parts] for key, parts in inputs.items()}
        targets = find_components(root, kind, exposure_ks=target_exposure, upscale=goal.upscale)
        order = sorted(targets)
        return {
            key: [(part, other) for part in parts for other in targets[order[i % len(order)]]]
            for i, (key, parts) in enumerate(sorted(inputs.items()))
        }
    targets = find_components(root, kind, exposure_ks=target_exposure, upscale=goal.upscale)
    both = sorted(set(inputs) & set(targets))
    if not both:
        raise InputError(
            f"{root}: no {kind} image has both {exposure} ks at 1x and {target_exposure} ks at "
            f"{goal.upscale}x, which --task={task} needs; fetch both"
        )
    return {key: [(a, b) for a in inputs[key] for b in targets[key]] for key in both}


def _overlap(pair: tuple[Component, Component]) -> str:
    """How much of the input's stretch of time the target covers: none, part or all."""
    first, second = pair
    if first.upscale != second.upscale or first.part is None or second.part is None:
        return "none"
    start, stop = (first.exposure_ks * (first.part + end) for end in (0, 1))
    target_start, target_stop = (second.exposure_ks * (second.part + end) for end in (0, 1))
    if stop <= target_start or start >= target_stop:
        return "none"
    return "all" if target_start <= start and stop <= target_stop else "part"


def _choose(
    pairs: list[tuple[Component, Component]], pairing: str, draw: np.random.Generator
) -> tuple[Component, Component]:
    """One pair of parts, without common photons where the pairing asks for it."""
    if pairing == "disjoint":
        for wanted in ("none", "all"):
            if allowed := [pair for pair in pairs if _overlap(pair) == wanted]:
                return allowed[draw.integers(len(allowed))]
        raise InputError(
            f"{pairs[0][0].path}: every target shares some of its photons; use --pairing=nested"
        )
    return pairs[draw.integers(len(pairs))]


def _combine(
    catalogue: _Catalogue, key: str, split: str, *, seed: int, number: int
) -> dict[str, Any]:
    """Draw one combination of extended source, point sources and background."""
    goal = TASKS[catalogue.task]
    draw = generator(seed, key, number)
    chosen = {"img": _choose(catalogue.images[key], catalogue.pairing, draw)}
    for kind, pool in catalogue.pools[split].items():
        other = sorted(pool)[draw.integers(len(pool))]
        chosen[kind] = _choose(pool[other], catalogue.pairing, draw)
    read = {kind: read_component(pair[0]) for kind, pair in chosen.items()}
    inputs = {kind: counts for kind, (counts, _) in read.items()}
    if not goal.target_background:
        del chosen["background"]
    read_targets = {kind: read_component(pair[1]) for kind, pair in chosen.items()}
    targets = {kind: counts for kind, (counts, _) in read_targets.items()}
    exposure_s, target_exposure_s = read["img"][1], read_targets["img"][1]
    shared = {kind for kind in chosen if _shares(chosen[kind], inputs[kind], targets[kind])}
    pairing = "nested" if shared else "simulated"
    if shared and catalogue.pairing == "disjoint":
        pairing = "disjoint"
        left = 1 - exposure_s / target_exposure_s
        target_exposure_s -= exposure_s
        for kind, counts in targets.items():
            targets[kind] = counts - inputs[kind] if kind in shared else thin(draw, counts, left)
    mask, target_mask = catalogue.masks
    return make_sample(
        coadd(inputs.values(), mask),
        np.full(mask.shape, exposure_s),
        mask,
        coadd(targets.values(), target_mask),
        np.full(target_mask.shape, target_exposure_s),
        target_mask,
        source_id=chosen["img"][0].source,
        obs_id=f"{key}#{number}",
        pairing=pairing,
        filter="thin1",
        seed=seed,
    )


def _shares(pair: tuple[Component, Component], counts: np.ndarray, target: np.ndarray) -> bool:
    """Whether a target component holds photons of the input component.

    Names tell for the parts of one simulation. Backgrounds are cuts of event lists that the names
    do not identify: one that holds another one has no pixel with fewer counts.
    """
    if pair[0].upscale != pair[1].upscale:
        return False
    contained = bool((counts <= target).all())
    if pair[0].part is None:
        return contained
    overlap = _overlap(pair)
    if overlap == "all" and not contained:
        raise InputError(
            f"{pair[1].path}: does not contain {pair[0].path.name} although their names say so; "
            "fetch both again"
        )
    return overlap != "none"
