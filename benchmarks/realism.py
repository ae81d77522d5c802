"""Can a small network tell published SIXTE images from ours? ``python benchmarks/realism.py``.

Windows of 20 ks EPIC-pn frames: SIXTE components of three skies (Sweere et al. 2022) co-added and
masked, against the `reference` preset. Brightness gives nothing away: each window of SIXTE meets a
window of ours at the same place on the detector that is nearly as bright, and the brighter of the
two is thinned to exactly the counts of the other. The network is tested on the sky (extended
source, point sources and background) that it was not trained on, and on fields of ours that it has
not seen; three skies give three such folds. The error is that of a mean of three numbers
(Student's t, two degrees of freedom), which is large, because three skies are few. Two controls
show what the network can see: it is given ours against ours, and ours against ours with every
photon moved by 4 arcsec (one sigma along each axis).
"""

import argparse
import functools
import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from astropy.io import fits
from flax import linen as nn
from scipy import stats

from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask
from xmm_jax.simulator.agn import POPULATIONS
from xmm_jax.simulator.observe import (
    build_optics,
    detect,
    draw_pair,
    expected_background,
    expected_sources,
)
from xmm_jax.simulator.poisson import draw_counts
from xmm_jax.simulator.presets import PRESETS

SHARED = Path(__file__).resolve().parents[2] / "shared"
KINDS = {"all": ("img", "agn", "background"), "points": ("agn", "background")}
EXPOSURE_S = 20_000.0
WINDOW = 96  # [native pixel]
MOVED = 1.0  # [native pixel], of the control
NEAR = 1.25  # windows whose counts differ by more than this factor are no match


class Windows(NamedTuple):
    """Windows [n, y, x] in counts, and 1 where they are SIXTE's."""

    counts: np.ndarray
    sixte: np.ndarray


class Critic(nn.Module):
    """Strided convolutions on pixels and on blocks of 4, mean and maximum of each, one number."""

    @nn.compact
    def __call__(self, counts):
        """Logit [b] that windows of counts [b, y, x] are SIXTE's."""
        counts = counts[..., None]
        blocks = 16.0 * nn.avg_pool(counts, (4, 4), (4, 4))
        seen = []
        for image, widths in ((counts, (16, 32, 48)), (blocks, (32, 48, 64))):
            x = 2.0 * jnp.sqrt(image + 0.375) - 2.0
            for features in widths:
                x = nn.Conv(features, (3, 3), strides=2)(x)
                x = nn.relu(nn.GroupNorm(num_groups=8)(x))
            seen += [x.mean(axis=(1, 2)), x.max(axis=(1, 2))]
        return nn.Dense(1)(nn.relu(nn.Dense(32)(jnp.concatenate(seen, axis=-1))))[:, 0]


def read_sixte(rng, root: Path, fold: int, n: int, sky: str) -> np.ndarray:
    """Frames of one sky [n, y, x]: the 20 ks files, then 50 ks files thinned to 20 ks."""
    live = mask(PN)
    frames = []
    for number in range(n):
        ks = 20 if number == 0 else 50
        frame = np.zeros(PN.shape, np.int64)
        for kind in KINDS[sky]:
            path = sorted((root / f"{ks}ks" / kind / "1x").glob("*.fits*"))[fold]
            counts = fits.getdata(path).astype(np.int64)
            frame += counts if ks == 20 else rng.binomial(counts, 20 / 50)
        frames.append(np.where(live, frame, 0))
    return np.stack(frames)


def draw_ours(n: int, preset: str, seed: int, sky: str) -> np.ndarray:
    """Frames of ours [n, y, x]."""
    optics = jax.device_put(build_optics(preset, upscale=1))
    numbers = PRESETS[preset]

    def draw_points(key, optics):
        source_key, background_key, counts_key = jax.random.split(key, 3)
        points = POPULATIONS[preset](
            source_key,
            PN,
            slots=numbers.sources,
            ecf=numbers.ecf,
            absorption_max=numbers.absorption_max,
        )
        empty = jnp.zeros((2 * PN.canvas, 2 * PN.canvas))
        rate = expected_sources(empty, points, optics.counts, PN, numbers, 1)
        rate += expected_background(background_key, optics.counts, numbers, 1)
        rate = detect(rate, optics.counts, PN, numbers)
        return {"counts": draw_counts(counts_key, rate * EXPOSURE_S)[..., None]}

    options = {"preset": preset, "upscale": 1, "target_background": True}
    draw_all = functools.partial(draw_pair, exposure_s=EXPOSURE_S, **options)
    draw = jax.jit({"all": draw_all, "points": draw_points}[sky])
    keys = jax.random.split(jax.random.key(seed), n)
    return np.stack([np.asarray(draw(key, optics)["counts"])[..., 0] for key in keys])


def match(rng, theirs: np.ndarray, ours: np.ndarray, n: int) -> Windows:
    """Pairs of windows at one place with the same counts, `n` of each kind at most."""
    live = mask(PN)
    counts, sixte = [], []
    for _ in range(n):
        row, column = (rng.integers(0, size - WINDOW) for size in PN.shape)
        cut = np.s_[..., row : row + WINDOW, column : column + WINDOW]
        if live[cut].mean() < 0.7:
            continue
        one = theirs[rng.integers(len(theirs))][cut]
        totals = ours[cut].sum(axis=(1, 2))
        ratio = np.abs(np.log(np.maximum(totals, 1) / max(one.sum(), 1)))
        nearest = rng.choice(np.argsort(ratio)[:3])
        if ratio[nearest] > np.log(NEAR):
            continue
        pair = [one, ours[nearest][cut]]
        level = min(window.sum() for window in pair)
        counts += [thin(rng, window, level) for window in pair]
        sixte += [1, 0]
    if not counts:
        raise ValueError("no windows of ours are as bright as those of SIXTE; draw more fields")
    return Windows(np.stack(counts).astype(np.float32), np.array(sixte))


def thin(rng, counts: np.ndarray, total: int) -> np.ndarray:
    """Keep `total` of the photons of an image, chosen at random."""
    kept = rng.multivariate_hypergeometric(counts.ravel(), total, method="marginals")
    return kept.reshape(counts.shape)


def train(key, windows: Windows, *, steps: int, batch: int = 64):
    """Parameters of a critic fitted to windows, mirrored at random."""
    critic = Critic()
    init_key, key = jax.random.split(key)
    params = critic.init(init_key, windows.counts[:2])
    optimiser = optax.adamw(optax.cosine_decay_schedule(2e-3, steps), weight_decay=1e-2)
    state = optimiser.init(params)

    @jax.jit
    def step(params, state, counts, label):
        def loss(params):
            logit = critic.apply(params, counts)
            return optax.sigmoid_binary_cross_entropy(logit, label).mean()

        value, slope = jax.value_and_grad(loss)(params)
        update, state = optimiser.update(slope, state, params)
        return optax.apply_updates(params, update), state, value

    rng = np.random.default_rng(int(jax.random.randint(key, (), 0, 2**31 - 1)))
    for _ in range(steps):
        chosen = rng.integers(0, len(windows.sixte), batch)
        flips = rng.choice([-1, 1], size=2)
        counts = windows.counts[chosen][:, :: flips[0], :: flips[1]]
        params, state, _ = step(params, state, counts, windows.sixte[chosen].astype(np.float32))
    return params


def area_under_curve(score: np.ndarray, label: np.ndarray) -> float:
    """Chance that a window of SIXTE scores above one of ours (ties count half)."""
    first, second = score[label == 1], score[label == 0]
    rank = stats.mannwhitneyu(first, second).statistic
    return float(rank / (len(first) * len(second)))


def score(params, windows: Windows) -> float:
    """Area under the curve of a critic on windows."""
    apply = jax.jit(Critic().apply)
    parts = [apply(params, windows.counts[i : i + 128]) for i in range(0, len(windows.counts), 128)]
    return area_under_curve(np.concatenate(parts), windows.sixte)


def run(
    root: Path, *, preset: str, sky: str, fields: int, windows: int, steps: int, seed: int
) -> dict:
    """Area under the curve of each fold, their mean and its 95 % interval."""
    rng = np.random.default_rng(seed)
    ours = draw_ours(fields, preset, seed, sky)
    theirs = [read_sixte(rng, root, fold, 8, sky) for fold in range(3)]
    held_back = fields // 3
    result = {"preset": preset, "sky": sky, "fields": fields, "steps": steps, "seed": seed}
    result |= {"windows": [], "auc": [], "auc_seen": []}
    for fold in range(3):
        known = np.concatenate([theirs[i] for i in range(3) if i != fold])
        seen = match(rng, known, ours[held_back:], windows)
        unseen = match(rng, theirs[fold], ours[:held_back], windows // 2)
        params = train(jax.random.key(seed + fold), seen, steps=steps)
        result["windows"].append([len(seen.sixte), len(unseen.sixte)])
        result["auc"].append(score(params, unseen))
        result["auc_seen"].append(score(params, seen))
        print(f"fold {fold}: AUC {result['auc'][-1]:.3f}, trained on {result['auc_seen'][-1]:.3f}")
    mean, error = np.mean(result["auc"]), stats.sem(result["auc"])
    half = stats.t.ppf(0.975, 2) * error
    result |= {"mean": mean, "standard_error": error, "half_interval_95": half}
    # Controls: ours against ours, and ours against ours with every photon moved a little.
    half = fields // 2
    for name, shift in (("null", 0.0), ("moved_photons", MOVED)):
        changed = move_photons(rng, ours[:half], shift)
        parts = ((np.s_[held_back // 2 :], windows), (np.s_[: held_back // 2], windows // 2))
        seen, unseen = (match(rng, changed[cut], ours[half:][cut], n) for cut, n in parts)
        params = train(jax.random.key(seed + 9), seen, steps=steps)
        result[name] = score(params, unseen)
        print(f"control {name}: AUC {result[name]:.3f}")
    return result


def move_photons(rng, frames: np.ndarray, shift: float) -> np.ndarray:
    """Move every photon by a normal deviate of `shift` pixels along each axis."""
    if not shift:
        return frames
    moved = np.zeros_like(frames)
    for image, out in zip(frames, moved, strict=True):
        place = np.repeat(np.argwhere(image), image[image > 0], axis=0)
        place = np.round(place + rng.normal(scale=shift, size=place.shape)).astype(int)
        place = np.clip(place, 0, np.array(image.shape) - 1)
        np.add.at(out, tuple(place.T), 1)
    return np.where(mask(PN), moved, 0)


def main() -> None:
    """Print the result and keep it beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=SHARED / "data/sim")
    parser.add_argument("--preset", default="reference")
    parser.add_argument("--sky", choices=KINDS, default="all", help="points: no extended source")
    parser.add_argument("--fields", type=int, default=150)
    parser.add_argument("--windows", type=int, default=2500)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    flags = vars(parser.parse_args())
    out = flags.pop("out")
    result = run(flags.pop("root"), **flags)
    mean, half = result["mean"], result["half_interval_95"]
    print(f"AUC {mean:.3f} +- {half:.3f} (95 %, three skies)")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
