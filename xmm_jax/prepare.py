"""Turn simulations or images into records: ``python -m xmm_jax.prepare --task=sr --out=FOLDER``.

``--from=simulator`` draws pairs, ``--from=sixte FOLDER`` co-adds published SIXTE components,
``--from=real FOLDER`` pairs real images. Splits go by what is on the sky.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from xmm_jax.config import SimulatedConfig, TaskName
from xmm_jax.data.manifest import Manifest
from xmm_jax.data.real import real_source
from xmm_jax.data.sixte_pairs import sixte_source
from xmm_jax.dataset import Source, simulated_source, write_source
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say


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
    unused = ("pairing",) if config.source == "simulator" else ("preset", "target_kind")
    for name in ("out", "overwrite", "paths", *unused):
        settings.pop(name)
    return write_source(
        Path(config.out),
        find_source(config, fractions),
        settings={"from": settings.pop("source")} | settings,
        seed=config.seed,
        fractions=fractions,
        overwrite=config.overwrite,
    )


def find_source(config: PrepareConfig, fractions: tuple[float, float, float]) -> Source:
    """Samples by source, not drawn yet.

    Raises
    ------
    InputError
        If folder, task and pairing do not go together.
    """
    if config.source == "simulator":
        if config.paths:
            raise InputError(f"{config.paths[0]}: --from=simulator reads no files")
        simulated = SimulatedConfig(config.n or 96, config.preset, config.target_kind)
        return simulated_source(config.task, simulated, seed=config.seed)
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
