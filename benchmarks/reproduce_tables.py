"""Tables 4 and 5 of Sweere et al. 2022 beside ours, in their convention.

    python benchmarks/reproduce_tables.py --data=../shared/data --out=benchmarks/results

DATA holds the published example files: `real/{20ks,50ks}`, `sim/combined/{20ks,100ks}` and
`detector_mask`. What `evaluate` does otherwise, and why its rows are not these: it divides each CCD
by its own exposure, the paper all by one; its mask of the camera is not to the pixel the published
one; and it never moves the target against the input, where the published padding moves it by one
pixel of 2". ``--model dn=FOLDER`` adds networks, an imported published one for example. Prints the
tables of docs/reproducing.md and writes reproduce-tables.json; ``--tables=FILE`` prints those of a
file. Most of the time goes into the drawn fields.
"""

import argparse
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from published_tables import EARLIER, PUBLISHED, tables

from xmm_jax import __version__
from xmm_jax.config import TASKS, SimulatedConfig
from xmm_jax.contenders import Contender, classical, network
from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.observation import stated_exposure
from xmm_jax.data.pairs import make_sample, pad_frame
from xmm_jax.instrument.camera import PN
from xmm_jax.metrics.image import PAPER, compare
from xmm_jax.models.interpolation import count_rate
from xmm_jax.protocols import simulated_fields

NAME = "reproduce-tables.json"
PADDINGS = {"sr": ("reference", "aligned"), "dn": ("reference",)}  # at 1x both are the same
KEPT = 0.4  # share of the photons of a nested target that the input has: 20 of 50 ks
FILES = {  # folders of input and target, and where the name of the field ends
    "dn": ("real/20ks", "real/50ks", "_image_split_"),
    "sr": ("sim/combined/20ks", "sim/combined/100ks", "_mult_"),
}


def published_pairs(data, task):
    """Names and pairs of published files as the paper reads them.

    The published mask, and one exposure for all CCDs: that of the header, of the best exposed.
    """
    first, second, end = FILES[task]
    masks = [
        read_image(next((data / "detector_mask").rglob(f"*_{scale}x.fits*"))).data > 0
        for scale in (1, TASKS[task].upscale)
    ]
    for path in sorted((data / first).glob("*.fits*")):
        name = path.name.partition(end)[0]
        paths, images = (path, next((data / second).glob(f"{name}{end}*"))), []
        for one, mask in zip(paths, masks, strict=True):
            image = read_image(one)
            seconds = stated_exposure(image.header, one)
            images += [image.data, np.full(mask.shape, seconds), mask]
        yield name, make_sample(*images, source_id=name, obs_id=name, pairing="nested")


def drawn_pairs(n):
    """Pairs like those of the test set of table 5, of numbers that no training draws."""
    sky = SimulatedConfig(fields=n, sky="reference", target_kind="observed")
    for field in simulated_fields("sr", sky):
        yield field.name, field.sample


def contenders(task, models=()):
    """Input, our network, the same with the photons of a nested target kept, and others."""
    found = [classical("input", task), network(task, task, name="shipped")]
    if task == "dn":
        given, ours = found
        found.append(
            Contender("kept", lambda s: KEPT * given.estimate(s) + (1 - KEPT) * ours.estimate(s))
        )
    return found + [network(path, task) for path in models]


@functools.partial(jax.jit, static_argnames=("clip_rate",))
def _figures(rate, target, clip_rate):
    return compare(rate, target, clip_rate=clip_rate, names=PAPER)


def rate_of(sample, start=""):
    """Rate [count/s/pixel] of the input, or of the target (``start="target_"``), [y, x]."""
    counts = sample["target" if start else "counts"]
    return count_rate(counts, sample[f"{start}exposure"], sample[f"{start}valid"])[..., 0]


def figures(rate, sample, task, padding):
    """The seven measures of an image [count/s/pixel, s y, s x] on the padded frame.

    The image is padded registered with the input, the target as `padding` says: a published network
    has learned the one pixel between them, the input and our networks have not.
    """
    scale = TASKS[task]
    images = (
        jnp.asarray(pad_frame(image, scale.upscale, padding=one), jnp.float32)[None, ..., None]
        for image, one in ((rate, "aligned"), (rate_of(sample, "target_"), padding))
    )
    found = _figures(*images, clip_rate=scale.target_clip_rate)
    return [float(found[name][0]) for name in PAPER]


def measure(pairs, task, judged):
    """Names, mean rates and all figures of every contender under every padding, in order."""
    names, brightness, rows = [], [], {}
    for name, sample in pairs:
        names.append(name)
        brightness.append(float(rate_of(sample).sum() / PN.padded**2))
        for one in judged:
            rate = np.asarray(one.estimate(sample))
            for padding in PADDINGS[task]:
                row = figures(rate, sample, task, padding)
                rows.setdefault(f"{one.name}, {padding}", []).append(row)
    return {"fields": names, "mean_rate": brightness, "rows": rows}


def main():
    """Measure, write, print."""
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("--data", type=Path, default=Path("../shared/data"))
    flags.add_argument("--drawn", type=int, default=40, help="drawn fields like those of Table 5")
    flags.add_argument("--model", nargs="*", default=[], help="TASK=FOLDER of further networks")
    flags.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    flags.add_argument("--tables", type=Path, help="print the tables of this file, measure nothing")
    asked = flags.parse_args()
    if asked.tables:
        return print(tables(json.loads(asked.tables.read_text())))
    measured = {}
    for task in ("dn", "sr"):
        judged = contenders(task, [m.partition("=")[2] for m in asked.model if m[:2] == task])
        measured[f"{task} published"] = measure(published_pairs(asked.data, task), task, judged)
        if task == "sr" and asked.drawn:
            measured["sr drawn"] = measure(drawn_pairs(asked.drawn), task, judged)
    result = {
        "created_by": f"xmm_jax {__version__}, jax {jax.__version__}",
        "device": jax.devices()[0].device_kind,
        "columns": PAPER,
        "published": PUBLISHED,
        "earlier": EARLIER,
        "measured": measured,
    }
    (asked.out / NAME).write_text(json.dumps(result, indent=1) + "\n")
    print(tables(result))


if __name__ == "__main__":
    main()
