"""Turn simulations or images into records: ``python -m xmm_jax.prepare --task=sr --out=FOLDER``.

``--from=simulator`` draws pairs, ``--from=sixte FOLDER`` co-adds published SIXTE components,
``--from=real FOLDER`` pairs real images, ``--from=events FOLDER`` bins event lists and pairs those.
Splits go by what is on the sky.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from tyro.conf import Positional

from xmm_jax.config import TASKS, SimulatedConfig, TaskName, check_simulated
from xmm_jax.data.event_pairs import event_source
from xmm_jax.data.manifest import Manifest
from xmm_jax.data.real import real_source
from xmm_jax.data.sixte_pairs import sixte_source
from xmm_jax.data.sources import Source
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say
from xmm_jax.records import write_simulated, write_source

PAIRS_OF_A_WORKER = 64


@dataclasses.dataclass(frozen=True)
class SimulatorFlags:
    """What the simulator draws."""

    preset: Literal["physical", "reference"] = "physical"
    """Measured sky and camera, or the quirks of the published SIXTE files."""
    target_kind: Literal["expected", "observed"] = "expected"
    """Noise-free expected counts, or counts with Poisson noise."""
    target_exposure_ks: float = 0.0
    """Exposure of the target [ks], 1 to 1000; 0 = that of the task."""
    filter: Literal["thin", "medium"] = "thin"
    """Optical blocking filter (medium: physical preset only)."""
    varied: bool = False
    """Another detector in every field: dead and weak columns, bad pixels, exposures of the CCDs."""
    blends: float = 0.0
    """Share of the bright point sources that get a companion within 12", 0 to 1."""
    maps: str = ""
    """Folder of sky maps (FITS, npy) to use as extended sources; empty: drawn ones."""


@dataclasses.dataclass(frozen=True)
class EventFlags:
    """Which photons of an event list are used (docs/events.md)."""

    keep_corners: bool = False
    """Keep events outside the field of view."""
    min_gti: float = 0.0
    """Leave out quiet intervals shorter than this [s]."""
    unfiltered: bool = False
    """Keep the time of flares, and event lists without a light curve."""


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """What to turn into records."""

    paths: Positional[tuple[str, ...]] = ()
    """sixte: folder with the published layout (20ks/img/1x/...).
    real: images, or folders of them (``20ks/*.fits``, ``full/...``).
    events: event lists, PPS folders of observations, folders of these."""
    source: Annotated[
        Literal["simulator", "sixte", "real", "events"], tyro.conf.arg(name="from")
    ] = "simulator"
    """Where the pairs come from."""
    task: TaskName = "sr"
    """sr: finer pixels, half the PSF, no background. dn: less noise, the same pixels.
    Real images and events give dn only."""
    pairing: Literal["disjoint", "nested", "thinned"] = "disjoint"
    """disjoint: input and target share no photon. nested: as published, labelled so.
    thinned (real, events): the input is a random part of the photons, the target the rest."""
    exposure_ks: str = "0"
    """Exposure of the input [ks], 1 to 1000; 0 = that of the task.
    real, events: also a range such as 5-100;
    thinned draws from it, the others take every multiple of 10 ks in it."""
    n: int = 0
    """simulator: number of fields (0 = 96). sixte: random combinations per image (0 = 1).
    thinned: pairs per observation (0 = 1)."""
    workers: int = 0
    """Processes that draw; 0 = as many as pay. The records do not depend on it."""
    seed: int = 0
    """Seed of draws, combinations, thinning and splits."""
    validation: float = 0.1
    """Share of the sources kept for validation."""
    test: float = 0.1
    """Share of the sources kept for the final test."""
    out: str = ""
    """Folder of records to write; needed."""
    overwrite: bool = False
    """Replace records that are there."""
    simulator: Annotated[SimulatorFlags, tyro.conf.OmitArgPrefixes] = SimulatorFlags()
    events: Annotated[EventFlags, tyro.conf.OmitArgPrefixes] = EventFlags()


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
    for name in ("n", "workers"):
        if getattr(config, name) < 0:
            raise InputError(f"--{name} must not be negative, got {getattr(config, name)}")
    if not config.events.min_gti >= 0:
        raise InputError(f"--min_gti={config.events.min_gti:g}: give seconds, 0 or more")
    fractions = (1 - config.validation - config.test, config.validation, config.test)
    to: dict[str, Any] = {
        "settings": about(config),
        "seed": config.seed,
        "fractions": fractions,
        "overwrite": config.overwrite,
    }
    out = Path(config.out)
    if config.source == "simulator":
        simulated = find_simulated(config)
        workers = config.workers or find_workers(simulated.fields)
        return write_simulated(out, config.task, simulated, workers=workers, **to)
    source = find_source(config, fractions)
    workers = config.workers or find_workers(len(source.draws) * source.pairs)
    return write_source(out, source, paths=config.paths, workers=workers, **to)


def about(config: PrepareConfig) -> dict[str, Any]:
    """Settings that decide what is in the records, for their manifest."""
    unused = {"simulator": ("pairing",), "sixte": ("exposure_ks",)}.get(config.source, ())
    groups = {"simulator": config.simulator, "events": config.events}
    elsewhere = ("source", "out", "overwrite", "paths", "workers", *groups)
    settings = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in (*elsewhere, *unused)
    }
    group = groups.get(config.source)
    return {"from": config.source} | settings | (dataclasses.asdict(group) if group else {})


def find_simulated(config: PrepareConfig) -> SimulatedConfig:
    """What to simulate.

    Raises
    ------
    InputError
        If it cannot be.
    """
    if config.paths:
        raise InputError(
            f"{config.paths[0]}: --from=simulator reads no files; choose another --from"
        )
    low, high = find_exposure(config)
    if low != high:
        raise InputError(
            f"--exposure_ks={config.exposure_ks}: --from=simulator takes one exposure, such as 20"
        )
    flags = dataclasses.asdict(config.simulator)
    simulated = SimulatedConfig(
        fields=config.n or 96,
        sky=flags.pop("preset"),
        exposure_ks=low,
        **flags,
    )
    check_simulated(simulated)
    return simulated


def find_exposure(config: PrepareConfig) -> tuple[float, float]:
    """Shortest and longest exposure of the input [ks].

    Raises
    ------
    InputError
        If they are not numbers, in the wrong order, or none that an observation has.
    """
    try:
        low, *rest = map(float, config.exposure_ks.split("-"))
        (high,) = rest or [low]
    except ValueError:
        raise InputError(
            f"--exposure_ks={config.exposure_ks}: write 20, or a range as 5-100"
        ) from None
    if low == high == 0:
        low = high = TASKS[config.task].exposure_s / 1000
    if not 1 <= low <= high <= 1000:
        raise InputError(f"--exposure_ks={config.exposure_ks}: exposures are 1 to 1000 ks")
    return low, high


def find_workers(pairs: int) -> int:
    """Processes that pay: one a core, each with enough to do to be worth its start.

    An accelerator is not shared: there the work is done in this process.
    """
    if jax.default_backend() != "cpu":
        return 1
    return max(1, min(os.cpu_count() or 1, pairs // PAIRS_OF_A_WORKER))


def find_source(config: PrepareConfig, fractions: tuple[float, float, float]) -> Source:
    """Samples of files, not drawn yet, in splits of such fractions.

    Raises
    ------
    InputError
        If files, task and pairing do not go together.
    """
    options: dict[str, Any] = {"pairing": config.pairing, "seed": config.seed, "n": config.n or 1}
    if config.source == "sixte":
        if len(config.paths) != 1:
            raise InputError(f"--from=sixte needs one folder, got {len(config.paths)}")
        return sixte_source(config.paths[0], task=config.task, fractions=fractions, **options)
    if config.task != "dn":
        raise InputError(
            f"--from={config.source} gives pairs for --task=dn only: there is no sharper camera"
        )
    if not config.paths:
        raise InputError(f"--from={config.source} needs files or folders to read")
    options["exposure_ks"] = find_exposure(config)
    if config.source == "real":
        return real_source(config.paths, **options)
    return event_source(config.paths, **options, **dataclasses.asdict(config.events))


if __name__ == "__main__":
    main()
