"""Classical opponents on the public fields: PSNR and run time of every method.

    python benchmarks/baselines.py --tune --out benchmarks/results/baselines.json
    python benchmarks/baselines.py --out benchmarks/results/baselines.json --methods gaussian bm3d

Fields: three SIXTE simulations (20 ks, 4", against 100 ks, 2", without background) and four real
observations, each against the rest of its observation (disjoint) and against its 50 ks image as
published (nested; two of the four share only half of the photons, or none). PSNR is the paper's:
linear rate over the clip rate of the target, clamped, padded frame of 416 (832) pixels. `--tune`
chooses the parameters on simulated validation fields, none of which is a public one; without it
those recorded in the file `--out` are used, and its rows of other methods stay. Seconds are CPU
seconds of all threads, which other people's jobs disturb little.
"""

import argparse
import functools
import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from xmm_jax.config import TASKS, SimulatedConfig
from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.observation import read_observation
from xmm_jax.data.pairs import make_sample, pad_frame, pad_sample
from xmm_jax.fields import draw_samples, names_of
from xmm_jax.instrument.blur import build_blur
from xmm_jax.instrument.camera import PN, frame_axes
from xmm_jax.instrument.detector import mask
from xmm_jax.instrument.vignetting import vignetting_map
from xmm_jax.metrics.image import compare
from xmm_jax.models.baselines import METHODS, missing, run, subtract_background, tune

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SLOW_FIELDS = 3  # to tune what takes seconds a field
PROTOCOLS = {"simulated": "sr", "disjoint": "dn", "nested": "dn"}


def flat(sample):
    """Padded sample with images [y, x] instead of [y, x, 1]."""
    return {
        name: value[..., 0] if np.ndim(value) == 3 else value
        for name, value in pad_sample(sample).items()
    }


def sixte_fields():
    """The three published simulations, input with and target without background."""
    folder = SHARED / "sim" / "combined"
    live = [mask(PN, upscale) for upscale in (1, 2)]
    for path in sorted((folder / "20ks").iterdir()):
        name = path.name.partition("_m_proj")[0]
        target = next((folder / "100ks").glob(f"{name}_*"))
        images = [read_image(one).data for one in (path, target)]
        seconds = [np.full(on.shape, s) for on, s in zip(live, (20e3, 100e3), strict=True)]
        arrays = (images[0], seconds[0], live[0], images[1], seconds[1], live[1])
        name = name.replace("_1_z_99_subhalos_", "-")
        yield flat(make_sample(*arrays, source_id=name, obs_id=name, pairing="simulated"))


def real_fields(pairing):
    """The four real observations."""
    folder = {"disjoint": "full", "nested": "50ks"}[pairing]
    for path in sorted((SHARED / "real" / "20ks").iterdir()):
        obs_id = path.name[:10]
        short = read_observation(path)
        long = read_observation(next((SHARED / "real" / folder).glob(f"{obs_id}*")))
        target, seconds = long.counts, long.exposure
        if pairing == "disjoint":
            target, seconds = target - short.counts, seconds - short.exposure
            seconds = np.where(seconds < 1, 0, seconds)  # rounding of the on times
        arrays = (short.counts, short.exposure, short.valid, target, seconds, long.valid)
        yield flat(make_sample(*arrays, source_id=obs_id, obs_id=obs_id, pairing=pairing))


def validation_fields(protocol, number, seed=5):
    """Simulated fields to tune on: noise-free targets, but nested ones share photons."""
    config = SimulatedConfig(fields=number, sky="physical")
    samples = draw_samples(
        names_of(config, seed=seed), task=PROTOCOLS[protocol], config=config, seed=seed
    )
    for sample in samples:
        if protocol == "nested":
            later = np.random.default_rng(int(sample["seed"])).poisson(0.6 * sample["target"])
            sample = sample | {"target": (sample["counts"] + later).astype(np.float32)}
        yield flat(sample)


@functools.cache
def shapes():
    """Shapes of the background: flat, and dimmed towards the edge; zero on the padding."""
    x, y = frame_axes(PN, 1)
    return [pad_frame(one, 1) for one in (np.ones(PN.shape), vignetting_map(PN, x, y))]


def psnr(rate, field):
    """PSNR [dB] in the paper's convention; a target of 2" pixels has no background."""
    upscale = field["target"].shape[0] // field["counts"].shape[0]
    if upscale == 2:
        rate = subtract_background(rate, field["exposure"], field["valid"], shapes=shapes())
    live = field["target_valid"]
    truth = np.where(live, field["target"], 0) / np.where(live, field["target_exposure"], 1)
    images = [jnp.asarray(one, jnp.float32)[None, ..., None] for one in (rate * live, truth)]
    clip_rate = TASKS["sr" if upscale == 2 else "dn"].target_clip_rate
    return float(compare(*images, clip_rate=clip_rate, names=("PSNR",))["PSNR"][0])


def blurs(task):
    """Blur of the observation, its adjoint, and the blur of the target."""
    upscale = TASKS[task].upscale
    forward, adjoint = build_blur(PN, upscale)
    restore, _ = build_blur(PN, upscale, width=1 / upscale)
    return {"forward": forward, "adjoint": adjoint, "restore": restore}


def measure(name, protocol, fields, parameters, given):
    """One row: PSNR of every field, and seconds a field."""
    seconds, scores = [], {}
    for field in fields:
        start = time.process_time()
        inputs = (field[part] for part in ("counts", "exposure", "valid"))
        upscale = field["target"].shape[0] // field["counts"].shape[0]
        rate = run(name, *inputs, upscale=upscale, **(parameters | given))
        seconds.append(time.process_time() - start)
        scores[field["obs_id"]] = psnr(rate, field)
    return {
        "protocol": protocol,
        "method": name,
        "parameters": METHODS[name].parameters | parameters,
        "psnr": scores,
        "mean_psnr": float(np.mean(list(scores.values()))),
        "seconds": float(np.median(seconds)),
    }


def table(rows):
    """Markdown table of one protocol."""
    names = list(rows[0]["psnr"])
    lines = [["method", "parameters", *names, "mean", "over input", "CPU s / field"]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        said = ", ".join(f"{key} {value}" for key, value in row["parameters"].items() if value)
        gain = row["mean_psnr"] - rows[0]["mean_psnr"]
        numbers = [f"{row['psnr'][name]:.2f}" for name in names]
        numbers += [f"{row['mean_psnr']:.2f}", f"{gain:+.2f}", f"{row['seconds']:.2f}"]
        lines.append([row["method"], said, *numbers])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--protocols", nargs="*", default=list(PROTOCOLS))
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--validation-fields", type=int, default=8)
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    recorded = json.loads(flags.out.read_text()) if flags.out and flags.out.exists() else []
    results = {(row["protocol"], row["method"]): row for row in recorded}
    for protocol in flags.protocols:
        task = PROTOCOLS[protocol]
        fields = list(sixte_fields() if protocol == "simulated" else real_fields(protocol))
        validation = list(validation_fields(protocol, flags.validation_fields * flags.tune))
        for name in flags.methods:
            if reason := missing(name):
                print(reason)
                continue
            given = blurs(task) if METHODS[name].given else {}
            parameters = results.get((protocol, name), {}).get("parameters", {})
            if flags.tune:
                slow = "bm3d" in METHODS[name].needs
                few = validation[:SLOW_FIELDS] if slow else validation
                parameters = tune(name, few, psnr, **given)
            results[protocol, name] = measure(name, protocol, fields, parameters, given)
            if flags.out:
                flags.out.write_text(json.dumps(list(results.values()), indent=1) + "\n")
        rows = [results[protocol, name] for name in METHODS if (protocol, name) in results]
        print(f"\n{protocol}\n\n{table(rows)}\n", flush=True)


if __name__ == "__main__":
    main()
