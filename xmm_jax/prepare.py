"""Turn simulations or images into records: ``python -m xmm_jax.prepare --task=sr --out=FOLDER``.

``--from=simulator`` draws pairs, ``--from=sixte FOLDER`` co-adds published SIXTE components,
``--from=real FOLDER`` pairs real images. Splits go by what is on the sky.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from tyro.conf import Positional

from xmm_jax.config import SimulatedConfig, TaskName, check_simulated
from xmm_jax.data.manifest import Manifest
from xmm_jax.data.real import real_source
from xmm_jax.data.sixte_pairs import sixte_source
from xmm_jax.dataset import Source, write_simulated, write_source
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say

SIMULATOR_ONLY = (
    "preset",
    "target_kind",
    "exposure_ks",
    "target_exposure_ks",
    "filter",
    "varied",
    "blends",
    "sky",
)
FIELDS_OF_A_WORKER = 64


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """What to turn into records."""

    paths: Positional[tuple[str, ...]] = ()
    """Folder with the published layout (sixte: 20ks/img/1x/...; real: 20ks/*.fits, full/...)."""
    source: Annotated[Literal["simulator", "sixte", "real"], tyro.conf.arg(name="from")] = (
        "simulator"
    )
    """Where the pairs come from."""
    task: TaskName = "sr"
    """sr or dn; real images give dn only."""
    pairing: Literal["disjoint", "nested", "thinned"] = "disjoint"
    """disjoint: input and target share no photon. nested: as published, labelled so.
    thinned (real): the input is a random part of the image, the target the rest."""
    n: int = 0
    """simulator: number of fields (96). sixte: random combinations per image (1).
    real, thinned: random halvings per image (1)."""
    preset: Literal["physical", "reference"] = "physical"
    """simulator: measured sky, or the quirks of the published SIXTE files."""
    target_kind: Literal["expected", "observed"] = "expected"
    """simulator: noise-free targets, or with Poisson noise."""
    exposure_ks: float = 0.0
    """simulator: exposure of the input [ks], 1 to 1000; 0 = that of the task."""
    target_exposure_ks: float = 0.0
    """simulator: exposure of the target [ks], 1 to 1000; 0 = that of the task."""
    filter: Literal["thin", "medium"] = "thin"
    """simulator: optical blocking filter."""
    varied: bool = False
    """simulator: another detector in every field (dead and weak columns, exposures of the CCDs)."""
    blends: float = 0.0
    """simulator: share of the bright point sources with a companion within 12", 0 to 1."""
    sky: str = ""
    """simulator: folder of sky maps (FITS, npy) to use as extended sources; empty: drawn ones."""
    workers: int = 0
    """simulator: processes that draw; 0 = as many as pay. The records do not depend on it."""
    seed: int = 0
    """Seed of draws, combinations, thinning and splits."""
    validation: float = 0.1
    """Share of the sources kept for validation."""
    test: float = 0.1
    """Share of the sources kept for the final test."""
    out: str = ""
    """Folder of records to write."""
    overwrite: bool = False
    """Replace records that are there."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare as the command line says."""
    config = parse_flags(
        PrepareConfig(),
        argv,
        verb="prepare",
        description="Turn simulations or images into records.",
    )
    if not config.out:
        raise InputError("--out=FOLDER is needed: where to write the records")
    manifest = prepare(config)
    counts = ", ".join(f"{split.examples} {name}" for name, split in manifest.splits.items())
    size = sum(shard.bytes for split in manifest.splits.values() for shard in split.shards)
    say(f"wrote {config.out}: {counts} examples, {size / 2**20:.1f} MiB")


def prepare(config: PrepareConfig) -> Manifest:
    """Write the records that the settings describe.

    Raises
    ------
    InputError
        For a source that cannot give them.
    """
    fractions = (1 - config.validation - config.test, config.validation, config.test)
    settings: dict[str, Any] = dataclasses.asdict(config)
    unused = ("pairing",) if config.source == "simulator" else SIMULATOR_ONLY
    for name in ("out", "overwrite", "paths", "workers", *unused):
        settings.pop(name)
    to: dict[str, Any] = {
        "settings": {"from": settings.pop("source")} | settings,
        "seed": config.seed,
        "fractions": fractions,
        "overwrite": config.overwrite,
    }
    if config.source != "simulator":
        return write_source(Path(config.out), find_source(config, fractions), **to)
    simulated = find_simulated(config)
    workers = config.workers or find_workers(simulated.fields)
    return write_simulated(Path(config.out), config.task, simulated, workers=workers, **to)


def find_simulated(config: PrepareConfig) -> SimulatedConfig:
    """What to simulate.

    Raises
    ------
    InputError
        If it cannot be.
    """
    if config.paths:
        raise InputError(f"{config.paths[0]}: --from=simulator reads no files")
    for name in ("n", "workers"):
        if getattr(config, name) < 0:
            raise InputError(f"--{name} must not be negative, got {getattr(config, name)}")
    simulated = SimulatedConfig(
        fields=config.n or 96,
        maps=config.sky,
        sky=config.preset,
        **{name: getattr(config, name) for name in SIMULATOR_ONLY if name not in ("preset", "sky")},
    )
    check_simulated(simulated)
    return simulated


def find_workers(fields: int) -> int:
    """Processes that pay: one a core, each with enough to do to be worth its start.

    An accelerator is not shared: there the work is done in this process.
    """
    if jax.default_backend() != "cpu":
        return 1
    return max(1, min(os.cpu_count() or 1, fields // FIELDS_OF_A_WORKER))


def find_source(config: PrepareConfig, fractions: tuple[float, float, float]) -> Source:
    """Samples of files by source, not read yet.

    Raises
    ------
    InputError
        If folder, task and pairing do not go together.
    """
    if len(config.paths) != 1:
        raise InputError(f"--from={config.source} needs one folder, got {len(config.paths)}")
    root = config.paths[0]
    if config.source == "sixte":
        return sixte_source(
            root,
            task=config.task,
            n=config.n or 1,
            seed=config.seed,
            pairing=config.pairing,
            fractions=fractions,
        )
    if config.task != "dn":
        raise InputError("--from=real gives pairs for --task=dn only: there is no sharper camera")
    return real_source(root, pairing=config.pairing, n=config.n or 1, seed=config.seed)


if __name__ == "__main__":
    main()
