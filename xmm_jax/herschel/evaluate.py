"""``evaluate --task=herschel``: sources that networks find beside those of classical methods."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from xmm_jax import __version__
from xmm_jax.alternate import sources_of
from xmm_jax.data.folder import replacing
from xmm_jax.errors import InputError
from xmm_jax.flags import parse_flags
from xmm_jax.herschel.config import HerschelConfig
from xmm_jax.herschel.contenders import METHODS, Contender, Tuning
from xmm_jax.herschel.images import draw_region, training_rows
from xmm_jax.herschel.judge import (
    CURVES,
    TUNED_FIELDS,
    Shown,
    curve,
    judge_region,
    network,
    summary,
    tuned,
)
from xmm_jax.herschel.model import HerschelModel, load_run
from xmm_jax.herschel.plots import write_curves, write_maps
from xmm_jax.herschel.region import Region, read_region
from xmm_jax.log import plain, progress, say
from xmm_jax.metrics.submm import Rule, Table
from xmm_jax.metrics.submm_figures import pool
from xmm_jax.metrics.submm_sources import Sources
from xmm_jax.numbered import FIRST

FIGURES, CURVES_PICTURE, MAPS_PICTURE = "metrics.json", "curves.png", "field.png"
NOTES = (
    "a source is real if a true one within 12 arcsec has a third of its flux; galaxies closer than "
    "the beam are one peak, so even the row of the target has neither 100 % nor flux 1",
    "the slides: completeness 95 % above 15 mJy, purity not below 87 %",
)


@dataclasses.dataclass(frozen=True)
class HerschelEvaluateConfig:
    """Who is judged, and on what."""

    task: Literal["herschel"] = HerschelConfig.task
    """herschel: maps of SPIRE; sr and dn, of XMM-Newton, and astro_unet have flags of their own."""
    model: tuple[str, ...] = ()
    """Run folders of `train --task=herschel`."""
    method: tuple[Literal["rescaled", "deconvolution", "detection_250", "none"], ...] = (
        "rescaled",
        "deconvolution",
        "detection_250",
    )
    """Classical methods; what they learn is taken from drawn training fields."""
    data: str = ""
    """Folder of real maps, of which the one at 450 um is the truth; empty: drawn fields."""
    n: int = 50
    """Number of drawn fields."""
    side: int = 256
    """Side of a drawn field [pixel of 2"]."""
    clustering: float = 0.3
    """Scatter of the logarithm of the density of drawn galaxies; 0: even places."""
    picture: bool = False
    """Also draw curves.png and the first field, field.png (extra `plot`)."""
    out: str = ""
    """Folder to write; needed."""
    overwrite: bool = False
    """Replace an evaluation that is there."""


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the command line says.

    Raises
    ------
    InputError
        If settings, models and data do not go together.
    """
    config = parse_flags(
        HerschelEvaluateConfig(),
        argv,
        verb="evaluate",
        description="Judge networks for Herschel maps beside classical methods.",
    )
    if not config.out:
        raise InputError("--out=FOLDER is needed: where to write metrics.json")
    if config.n < 1 or config.side < 64:
        raise InputError("--n must be at least 1, --side at least 64")
    models = [load_run(path) for path in config.model]
    folder = Path(config.out).absolute()
    with replacing(folder, overwrite=config.overwrite, ours=FIGURES) as partial:
        found, region, shown = judge(config, models)
        (partial / FIGURES).write_text(json.dumps(found, indent=1) + "\n")
        files = FIGURES
        if config.picture:
            write_curves(partial / CURVES_PICTURE, found["figures"])
            truth = Sources(region.x, region.y, region.flux)
            write_maps(partial / MAPS_PICTURE, region.bands, shown, truth)
            files += f", {CURVES_PICTURE}, {MAPS_PICTURE}"
    for which in CURVES:
        say(curve(found["figures"], which))
    say(summary(found["figures"]))
    for line in NOTES:
        say(f"note: {line}")
    say(f"wrote {config.out}: {files}")


def find_regions(
    config: HerschelEvaluateConfig, models: Sequence[HerschelModel], rule: Rule
) -> list[Callable[[], Region]]:
    """What gives each region when it is called: fields of the test split, or a folder."""
    if config.data:
        region = read_region(config.data, least_mjy=rule.threshold_mjy)
        return [lambda: unseen(region, config.data, models)]
    drawn = HerschelConfig(side=config.side, clustering=config.clustering)
    first = FIRST["test"]
    return [functools.partial(draw_region, first + i, drawn) for i in range(config.n)]


def unseen(region: Region, folder: str, models: Sequence[HerschelModel]) -> Region:
    """The rows of the maps of a folder that none of the models has trained on."""
    here = Path(folder).resolve()
    first = 0
    for model in models:
        sources = [Path(name).resolve() for name in sources_of(model.config, model.config.data)]
        if here in sources:
            first = max(first, training_rows(region, model.config))
            say(f"{model.name} was trained on {folder}: judged on the rows it has not seen")
    return region.window(slice(first, None), slice(0, region.target.shape[1]))


def learn_methods(config: HerschelEvaluateConfig) -> tuple[Tuning, dict[str, Contender]]:
    """Classical methods that were asked for, tuned on drawn fields of the training split."""
    drawn = HerschelConfig(side=config.side, clustering=config.clustering)
    say("tuning classical methods on training fields")
    tuning, methods = tuned(draw_region(FIRST["train"] + i, drawn) for i in range(TUNED_FIELDS))
    return tuning, {name: methods[name] for name in METHODS if name in config.method}


def judge(
    config: HerschelEvaluateConfig, models: Sequence[HerschelModel]
) -> tuple[dict[str, Any], Region, Shown]:
    """Every figure of every contender, the first region and its maps."""
    rule = Rule()
    tuning, methods = learn_methods(config)
    contenders = methods | {model.name: network(model) for model in models}
    regions = find_regions(config, models, rule)
    tables: dict[str, list[Table]] = {}
    first = None
    for get in progress(regions, total=len(regions), label="fields"):
        region = get()
        judged, shown = judge_region(region, contenders, tuning, rule=rule)
        for name, table in judged.items():
            tables.setdefault(name, []).append(table)
        first = first or (region, shown)
    assert first is not None  # there is at least one region
    found = {
        "created_by": f"xmm_jax {__version__}, jax {jax.__version__}",
        "device": jax.devices()[0].device_kind,
        "settings": dataclasses.asdict(config),
        "rule": dataclasses.asdict(rule),
        "tuning": tuning._asdict(),
        "notes": NOTES,
        "figures": {name: pool(rows) for name, rows in tables.items()},
    }
    return plain(found), *first
