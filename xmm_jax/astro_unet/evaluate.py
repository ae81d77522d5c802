"""``evaluate --task=astro_unet``: stars, fluxes and pixels of networks beside classical methods."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from xmm_jax import __version__
from xmm_jax.astro_unet.config import AstroConfig
from xmm_jax.astro_unet.contenders import METHODS, Contender, network
from xmm_jax.astro_unet.images import Image, draw_image, find_files, read_image
from xmm_jax.astro_unet.judge import REFERENCE, judge_image, summarise, table
from xmm_jax.astro_unet.model import load_run
from xmm_jax.astro_unet.picture import write_picture
from xmm_jax.data.folder import replacing
from xmm_jax.errors import InputError
from xmm_jax.flags import parse_flags
from xmm_jax.log import plain, progress, say
from xmm_jax.metrics.stars import CAVEAT
from xmm_jax.models.denoisers import load
from xmm_jax.numbered import FIRST

METRICS, PICTURE = "metrics.json", "field.png"


@dataclasses.dataclass(frozen=True)
class AstroEvaluateConfig:
    """Who is judged, and on what."""

    task: Literal["astro_unet"] = AstroConfig.task
    """astro_unet: images of HST; sr and dn, of XMM-Newton, and herschel have flags of their own."""
    model: tuple[str, ...] = ()
    """Run folders of `train --task=astro_unet`."""
    method: tuple[Literal["gaussian", "bm3d", "none"], ...] = ("gaussian", "bm3d")
    """Classical methods beside the input, which is always judged."""
    data: str = ""
    """Folder of drizzled images (FITS); empty: drawn fields."""
    n: int = 8
    """Number of drawn fields."""
    side: int = 512
    """Side of a drawn field [pixel]."""
    seed: int = 0
    """Seed of the noise of the short exposures."""
    ratios: tuple[int, ...] = (2,)
    """Long exposures over the short one."""
    noise: Literal["live", "published"] = "live"
    """As in training (`train --task=astro_unet --help`)."""
    windows: Literal["parts", "published"] = "parts"
    """parts: without seams.
    published: the mean of windows of 256 pixels every 32 pixels, which is 64 times the work."""
    picture: bool = False
    """Also draw the first field, field.png (extra `plot`)."""
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
        AstroEvaluateConfig(),
        argv,
        verb="evaluate",
        description="Judge networks for HST images beside classical methods.",
    )
    if not config.out:
        raise InputError("--out=FOLDER is needed: where to write metrics.json")
    if config.n < 1 or not config.ratios or min(config.ratios) < 1:
        raise InputError("--n must be at least 1, and so must be the --ratios")
    contenders = find_contenders(config)
    folder = Path(config.out).absolute()
    with replacing(folder, overwrite=config.overwrite, ours=METRICS) as partial:
        found, first = judge(config, contenders)
        (partial / METRICS).write_text(json.dumps(found, indent=1) + "\n")
        files = METRICS
        if config.picture:
            write_picture(partial / PICTURE, *first)
            files += f", {PICTURE}"
    for ratio, part in found["ratios"].items():
        say(table(part["summary"], ratio=float(ratio)))
    for line in CAVEAT:
        say(f"note: {line}")
    say(f"wrote {config.out}: {files}")


def find_contenders(config: AstroEvaluateConfig) -> dict[str, Contender]:
    """Input, classical methods, networks.

    Raises
    ------
    InputError
        If a folder is no run of this task.
    """
    found = {REFERENCE: METHODS[REFERENCE]}
    for name in config.method:
        if name == "none":
            continue
        try:
            if name == "bm3d":
                load("bm3d")
            found[name] = METHODS[name]
        except InputError as error:
            say(f"left out: {name}: {error}")
    for path in config.model:
        model = load_run(path)
        found[model.name] = network(model, published=config.windows == "published")
    return found


def find_images(config: AstroEvaluateConfig) -> list[Any]:
    """What gives each image when it is called: fields of the test split, or files."""
    if config.data:
        read = functools.partial(read_image, cosmic_rays=False)
        return [functools.partial(read, path) for path in find_files(config.data)]
    first = FIRST["test"]
    return [functools.partial(draw_image, first + i, config.side) for i in range(config.n)]


def judge(
    config: AstroEvaluateConfig, contenders: Mapping[str, Contender]
) -> tuple[dict[str, Any], tuple[Image, dict[str, np.ndarray]]]:
    """Every figure of every image and ratio, their summary; of the first, images to show.

    These are [electron/s/pixel], [y, x].
    """
    images = find_images(config)
    cases = [(ratio, i) for ratio in config.ratios for i in range(len(images))]
    judged: dict[int, list[Any]] = {ratio: [] for ratio in config.ratios}
    names, first = [], None
    for ratio, i in progress(cases, total=len(cases), label="images"):
        image = images[i]()
        how: dict[str, Any] = {"noise": config.noise, "seed": config.seed + i}
        figures, shown = judge_image(image, contenders, ratio, **how)
        judged[ratio].append(figures)
        names.append(image.name)
        first = first or (image, shown)
    assert first is not None  # there is at least one image
    found = {
        "created_by": f"xmm_jax {__version__}, jax {jax.__version__}",
        "device": jax.devices()[0].device_kind,
        "settings": dataclasses.asdict(config),
        "images": names[: len(images)],
        "notes": CAVEAT,
        "ratios": {
            str(ratio): {"summary": summarise(rows), "images": rows}
            for ratio, rows in judged.items()
        },
    }
    return plain(found), first
