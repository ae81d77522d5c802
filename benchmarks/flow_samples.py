"""Are the samples of a flow worth having? ``python benchmarks/flow_samples.py --model=RUN``.

Samples of simulated validation fields against their noise-free truth:

- correlation of the standard deviation of samples with the error of their mean, over pixels where
  the truth stands out, and over all live pixels;
- coverage: how often the truth lies between the quantiles of the samples that should hold 68 and
  95 % of it;
- sharpness: width that holds half of the light about bright pixels of the truth [pixel], and power
  at high frequencies over that of the truth (1: as sharp as the truth, more: noise);
- PSNR of the mean of samples, of the image at temperature 0, of one sample;
- total rate over that of the truth.

``--sheet`` draws the first field (extra `plot`). Records of the validation split are read from
``--data``, or fields like those of ``--preset=flow`` are simulated; photons are thinned to
``--exposure_ks``.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np

from xmm_jax.data.tfrecord import RecordSource
from xmm_jax.fields import draw_samples, names_of
from xmm_jax.model import load_model
from xmm_jax.presets import PRESETS

HIGH = 0.25  # of frequencies above this [1/pixel] power is summed
BOX = 8  # about a bright pixel [pixel]
NAMES = ("counts", "exposure", "valid")
TARGET = ("target", "target_exposure", "target_valid")


def parse():
    """What to draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="run or model folder of a flow")
    parser.add_argument("--data", default="", help="folder of records; empty: simulate")
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--sharp", type=float, default=0.9, help="temperature of sharpness")
    parser.add_argument("--exposure_ks", type=float, default=20.0)
    parser.add_argument("--crop", type=int, default=160, help="side of the input; 0: all of it")
    parser.add_argument("--level", type=float, default=1e-5, help="truth that stands out [ct/s/px]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="", help="JSON file to write")
    parser.add_argument("--sheet", default="", help="PNG file to draw")
    return parser.parse_args()


def examples(options, task):
    """Samples of `xmm_jax.data.schema`."""
    if options.data:
        source = RecordSource(options.data, "validation")
        return [source[number] for number in range(min(options.fields, len(source)))]
    config = PRESETS[task]["flow"].simulated
    names = names_of(config)[: options.fields]
    return list(draw_samples(names, task=task, config=config, seed=options.seed + 1))


def prepare(options, example, rng, upscale):
    """Batch of one thinned example, truth [count/s/pixel], and where both are alive."""
    example = {name: _image(example[name]) for name in (*NAMES, *TARGET)}
    shape = example["counts"].shape
    side = options.crop or min(shape) // 8 * 8
    low = [(length - side) // 8 * 4 for length in shape]
    coarse = tuple(slice(first, first + side) for first in low)
    fine = tuple(slice(upscale * first, upscale * (first + side)) for first in low)
    counts, exposure, valid = (example[name][coarse] for name in NAMES)
    share = min(1.0, 1e3 * options.exposure_ks / exposure.max())
    batch = {
        "counts": rng.binomial(counts.astype(int), share).astype(np.int32),
        "exposure": np.float32(share * exposure),
        "valid": valid,
    }
    target, seconds, live = (example[name][fine] for name in TARGET)
    live = live & (seconds > 0) & valid.repeat(upscale, 0).repeat(upscale, 1)
    truth = np.where(live, target / np.where(live, seconds, 1.0), 0.0)
    return {name: image[None, ..., None] for name, image in batch.items()}, truth, live


def _image(array):
    """Records have a last axis, fields that are simulated here have none."""
    return np.asarray(array).reshape(np.shape(array)[:2])


def psnr(image, truth, live, clip):
    """As in training [dB]."""
    error = np.clip(image, 0, clip) - np.clip(truth, 0, clip)
    return float(-10 * np.log10(np.mean(np.square(error[live] / clip))))


def high_power(image, live):
    """Power above `HIGH`; of the square root, or the brightest source would be all of it."""
    power = np.abs(np.fft.rfft2(np.sqrt(np.where(live, image, 0.0)))) ** 2
    y, x = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None]
    return float(power[np.hypot(y, x) > HIGH].sum())


def half_light(image, places):
    """Median radius that holds half of the light within `BOX` of places [pixel]."""
    y, x = np.mgrid[-BOX : BOX + 1, -BOX : BOX + 1]
    order = np.argsort(np.hypot(y, x).ravel())
    radii, found = np.hypot(y, x).ravel()[order], []
    for row, column in places:
        box = image[row - BOX : row + BOX + 1, column - BOX : column + BOX + 1]
        light = np.cumsum((box - np.median(box)).clip(0).ravel()[order])
        if light[-1] > 0:
            found.append(radii[np.searchsorted(light, light[-1] / 2)])
    return float(np.median(found)) if found else float("nan")


def bright_places(truth, count=10):
    """The brightest pixels of the truth, no two of them near each other."""
    left, places = truth.copy(), []
    left[:BOX] = left[-BOX:] = left[:, :BOX] = left[:, -BOX:] = 0
    while len(places) < count and left.max() > 0:
        row, column = np.unravel_index(left.argmax(), left.shape)
        places.append((row, column))
        left[max(row - BOX, 0) : row + BOX + 1, max(column - BOX, 0) : column + BOX + 1] = 0
    return places


def correlation(one, other, where):
    """Of Pearson, and of ranks, which a few bright pixels do not rule."""
    from scipy.stats import spearmanr

    pearson = np.corrcoef(one[where], other[where])[0, 1]
    return float(pearson), float(spearmanr(one[where], other[where]).statistic)


def coverage(samples, truth, where):
    """Share of pixels whose truth lies within the central 68 and 95 % of the samples."""
    shares = {}
    for percent in (68, 95):
        tail = (100 - percent) / 2
        low, high = np.percentile(samples[:, where], (tail, 100 - tail), axis=0)
        shares[f"within {percent} %"] = float(
            np.mean((truth[where] >= low) & (truth[where] <= high))
        )
    return shares


def figures(options, model, batch, truth, live):
    """All figures of one field, and its images."""
    draw = lambda number, temperature: np.asarray(  # noqa: E731
        model.sample(jax.random.key(options.seed + number), batch, temperature)
    )[0, ..., 0]
    still, sharp = draw(0, 0.0), draw(0, options.sharp)
    samples = np.stack([draw(n, options.temperature) for n in range(options.samples)])
    mean, std = samples.mean(0), samples.std(0, ddof=1)
    bright, error = live & (truth > options.level), np.abs(mean - truth)
    clip, power, places = (
        model.scale.target_clip_rate,
        high_power(truth, live),
        bright_places(truth),
    )
    row = {
        "correlation, all": correlation(std, error, live)[0],
        "correlation, bright": correlation(std, error, bright)[0],
        "rank correlation, all": correlation(std, error, live)[1],
        "rank correlation, bright": correlation(std, error, bright)[1],
        "PSNR mean": psnr(mean, truth, live, clip),
        "PSNR still": psnr(still, truth, live, clip),
        "PSNR one": psnr(samples[0], truth, live, clip),
        "power still": high_power(still, live) / power,
        "power sharp": high_power(sharp, live) / power,
        "power mean": high_power(mean, live) / power,
        "half-light truth": half_light(truth, places),
        "half-light still": half_light(still, places),
        "half-light sharp": half_light(sharp, places),
        "rate still": float(still[live].sum() / truth[live].sum()),
        "rate mean": float(mean[live].sum() / truth[live].sum()),
        "largest sample / largest truth": float(samples.max() / truth.max()),
    } | coverage(samples, truth, bright)
    images = {"truth": truth, "temperature 0": still, "mean": mean, "std": std, "|error|": error}
    return row, images | {f"sample {n + 1}": samples[n] for n in range(min(4, len(samples)))}


def draw_sheet(path, batch, images):
    """Input, truth, what was made of it; square roots, one scale for rates."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(17, 7.4), layout="constrained")
    top = np.sqrt(np.percentile(images["truth"], 99.8))
    shown = {"input [count]": batch["counts"][0, ..., 0]} | images
    for axis, (name, image) in zip(axes.flat, shown.items(), strict=False):
        rate = name not in ("input [count]", "std", "|error|")
        limit = top if rate else max(np.sqrt(np.percentile(image, 99.8)), 1e-9)
        axis.imshow(np.sqrt(image), origin="lower", vmin=0, vmax=limit, cmap="magma")
        axis.set_title(name)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=90)


def main():
    """Print the mean of every figure over the fields."""
    options = parse()
    model, rng, rows = load_model(options.model), np.random.default_rng(options.seed), []
    for number, example in enumerate(examples(options, model.task)):
        pair = prepare(options, example, rng, model.scale.upscale)
        row, images = figures(options, model, *pair)
        rows.append(row)
        if options.sheet and not number:
            draw_sheet(options.sheet, pair[0], images)
    means = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    for name, value in means.items():
        print(f"{name:>32} {value:10.4g}")
    if options.out:
        about = vars(options) | {"origin": model.origin}
        Path(options.out).write_text(json.dumps({"about": about, "means": means}, indent=1) + "\n")


if __name__ == "__main__":
    main()
