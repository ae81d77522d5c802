"""The eleven experiments of Astro U-net, each trained for a short time from two seeds.

    python benchmarks/astro_experiments.py --out=FOLDER [--steps=300] [--seeds=2]
                                           [--names=exp01,exp02] [--form=plain]

Same drawn fields, same steps, same crops for all: 128 x 128 pixels, batches of 4, 16 filters, Adam
at 1e-3 with a cosine, live noise, the long exposure as the target. The network corrects its input
(--network.form=residual): in so few steps the plain one is still busy with learning the image
itself, which hides what an experiment changes (exp01, published noise: RFE 10 %, residual 3.5 %).
Judged at ratio 2 on 16 fields that no run has seen, each weighted by its stars, beside Table 1 of
Vojtekova et al. 2021 (MNRAS 503, 3204). Not published noise, under which half of what the detector
finds in the input is no star (precision 0.51; live noise 0.97). Stopped, the same command goes on;
at its end it writes FOLDER/astro-experiments.json.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path

import numpy as np

from xmm_jax.astro_unet.contenders import METHODS, network
from xmm_jax.astro_unet.images import draw_image
from xmm_jax.astro_unet.judge import REFERENCE, judge_image
from xmm_jax.astro_unet.model import load_run
from xmm_jax.astro_unet.presets import EXPERIMENTS, PRESETS
from xmm_jax.config import OptimConfig
from xmm_jax.log import plain
from xmm_jax.numbered import FIRST
from xmm_jax.train import train

FIELDS, SIDE, RATIO = 16, 512, 2
FIGURES = ("RFE", "RFE_common", "TPR", "F", "SNR_f", "SNR_f_common", "PSNR", "SSIM", "KL")
# RFE %, TPR %, F, SNR_f, PSNR, SSIM, KL of Table 1.
PUBLISHED = {
    "exp01": (2.43, 95.7, 0.84, 1.64, 13.4, 0.63, 0.0074),
    "exp02": (4.87, 94.5, 0.89, 1.58, 4.6, 0.60, 0.0130),
    "exp03": (2.39, 96.0, 0.84, 1.64, 11.6, 0.64, 0.0069),
    "exp04": (2.18, 95.9, 0.85, 1.63, 14.0, 0.64, 0.0068),
    "exp05": (2.66, 96.3, 0.87, 1.62, 11.6, 0.64, 0.0070),
    "exp06": (2.39, 96.0, 0.84, 1.62, 12.7, 0.64, 0.0075),
    "exp07": (8.52, 95.0, 0.91, 1.58, 12.4, 0.61, 0.0085),
    "exp08": (2.58, 95.9, 0.85, 1.62, 13.5, 0.64, 0.0071),
    "exp09": (2.51, 96.0, 0.85, 1.64, 13.3, 0.63, 0.0072),
    "exp10": (2.60, 95.9, 0.84, 1.63, 13.7, 0.63, 0.0070),
    "exp11": (2.20, 95.7, 0.86, 1.61, 11.6, 0.65, 0.0073),
}
COLUMNS = ("RFE", "TPR", "F", "SNR_f", "PSNR", "SSIM", "KL")


def scaled(name, seed, args):
    """Settings of one short run."""
    preset = PRESETS[name]
    return dataclasses.replace(
        preset,
        seed=seed,
        steps=args.steps,
        run=str(args.out / f"{name}-seed{seed}"),
        batch_size=4,
        crop=128,
        noise="live",
        side=SIDE,
        fields=48,
        flips=True,
        eval_every=args.steps,
        eval_fields=2,
        log_every=20,
        optim=OptimConfig(learning_rate=1e-3, schedule="cosine", warmup_steps=20, clip_norm=1.0),
        network=dataclasses.replace(preset.network, filters=16, form=args.form),
    )


def judge(run, images):
    """Figures of a run on all images, and those of the input."""
    file = run / "judged.json"
    if not file.exists():
        contenders = {REFERENCE: METHODS[REFERENCE]}
        contenders["network"] = network(load_run(run), published=False)
        rows = [
            judge_image(image, contenders, RATIO, noise="live", seed=i)[0]
            for i, image in enumerate(images)
        ]
        file.write_text(json.dumps(plain(weighted(rows))))
    return json.loads(file.read_text())


def weighted(rows):
    """Means over images, each with the weight of the stars of its target."""
    stars = np.array([row["target"]["stars"] for row in rows])
    found = {}
    for name in (REFERENCE, "network"):
        found[name] = {}
        for figure in FIGURES:
            values = np.array([row[name][figure] for row in rows])
            known = np.isfinite(values)
            found[name][figure] = float(np.average(values[known], weights=stars[known]))
    return found


def spread(values):
    """Mean and half of the distance of two seeds, or the scatter of more."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": statistics.fmean(known), "seeds": known}


def table(found):
    """Rows of figures; behind each its published value."""
    lines = [f"{'':<8}" + "".join(f"{name:>22}" for name in COLUMNS)]
    for name, row in found["experiments"].items():
        cells = []
        for column, published in zip(COLUMNS, PUBLISHED[name], strict=True):
            seeds = row[column]["seeds"] if row[column] else []
            cells.append(f"{' '.join(f'{v:.3g}' for v in seeds)} ({published:g})")
        lines.append(f"{name:<8}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--names", default=",".join(EXPERIMENTS))
    parser.add_argument("--form", choices=("residual", "plain"), default="residual")
    args = parser.parse_args()
    names = args.names.split(",")
    images = [draw_image(FIRST["test"] + i, SIDE) for i in range(FIELDS)]
    figures = {}
    for seed in range(args.seeds):  # the first seed of all comes first, for an early look
        for name in names:
            run = train(scaled(name, seed, args))
            judged = judge(run, images)
            figures[name, seed] = judged["network"]
            print(name, seed, judged["network"], flush=True)
    found = {
        "steps": args.steps,
        "form": args.form,
        "fields": FIELDS,
        "input": judged[REFERENCE],
        "experiments": {
            name: {
                k: spread([figures[name, seed][k] for seed in range(args.seeds)]) for k in FIGURES
            }
            for name in names
        },
    }
    (args.out / "astro-experiments.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
