"""Is one network for 5 to 100 ks as good as one for each exposure? The same steps for everybody.

    python benchmarks/one_exposure.py --records=FOLDER --steps=1000 --out=one_exposure.json

FOLDER holds fields of 100 ks (``prepare --exposure_ks=100 --target_exposure_ks=100 --varied``, or
what ``train --preset=small`` made). They are thinned to 5, 10, 20, 50 and 100 ks, once; a network
is trained on each, by the recipe of ``--preset=small`` without thinning; one on all, with it. All
are judged on the whole validation fields at every exposure. ``--model`` adds others, the shipped
one for example. On two CPU cores denoising takes some 10 minutes for 1000 steps and a network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from xmm_jax import load_model
from xmm_jax.data.manifest import read_manifest
from xmm_jax.data.pairs import crop_frame
from xmm_jax.data.tfrecord import RecordSource, write_records
from xmm_jax.data.thinning import generator, thin
from xmm_jax.metrics.image import compare
from xmm_jax.models.stretch import rate

FULL_KS, EXPOSURES_KS = 100.0, (5.0, 10.0, 20.0, 50.0, 100.0)
IMAGES = ("counts", "exposure", "valid")
TARGETS = ("target", "target_exposure", "target_valid")


def thinned(source, kilosecond):
    """Examples of a split at another exposure; the same whoever asks."""
    for index in range(len(source)):
        sample, share = dict(source[index]), np.float32(kilosecond / FULL_KS)
        draw = generator(0, "one exposure", index, str(kilosecond))
        sample["counts"] = thin(draw, sample["counts"], share)
        sample["exposure"] = sample["exposure"] * share
        yield sample


def write_thinned(records, folder, kilosecond):
    """Records at another exposure, made once."""
    if not folder.exists():
        splits = {
            name: thinned(RecordSource(records, name), kilosecond)
            for name in ("train", "validation")
        }
        settings = read_manifest(records).settings | {"exposure_ks": f"{kilosecond:g}"}
        write_records(folder, splits, settings=settings)
    return folder


def train(task, records, run, steps, *flags):
    """Train by the recipe of the shipped models, or go on with it."""
    command = [sys.executable, "-m", "xmm_jax.train", f"--task={task}", "--preset=small"]
    command += [f"--data={records}", f"--run={run}", f"--steps={steps}", "--seed=1", *flags]
    subprocess.run(command, check=True)
    return run


def judge(path, source):
    """PSNR [dB] of every field of a split at every exposure, linear rates as in the paper."""
    model, found = load_model(path), {}
    for kilosecond in EXPOSURES_KS:
        values = found[f"{kilosecond:g}"] = []
        for sample in thinned(source, kilosecond):
            batch = {name: jnp.asarray(sample[name])[None] for name in (*IMAGES, *TARGETS)}
            valid = batch["target_valid"]
            truth = rate(batch["target"], batch["target_exposure"], valid)
            shown = jnp.where(valid, model.predict(batch), 0.0), truth
            pair = (crop_frame(image, model.scale.upscale) for image in shown)
            psnr = compare(*pair, clip_rate=model.scale.target_clip_rate, names=("PSNR",))["PSNR"]
            values.append(float(psnr[0]))
    return found


def main():
    """Thin, train, judge, write."""
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("--task", choices=("sr", "dn"), default="dn")
    flags.add_argument("--records", type=Path, required=True)
    flags.add_argument("--steps", type=int, default=1000)
    flags.add_argument("--model", nargs="*", default=[])
    flags.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "one_exposure")
    flags.add_argument("--out", type=Path, required=True)
    asked = flags.parse_args()
    own = {
        f"{ks:g} ks alone": train(
            asked.task,
            write_thinned(asked.records, asked.work / f"{asked.task}-{ks:g}", ks),
            asked.work / f"run-{asked.task}-{ks:g}",
            asked.steps,
            "--thin=0",
        )
        for ks in EXPOSURES_KS
    }
    all_together = asked.work / f"run-{asked.task}-all"
    own["5 to 100 ks"] = train(asked.task, asked.records, all_together, asked.steps)
    own |= {Path(path).name: path for path in asked.model}
    source = RecordSource(asked.records, "validation")
    found = {}
    for name, path in own.items():
        found[name] = judge(path, source)
        means = " ".join(f"{np.mean(values):8.2f}" for values in found[name].values())
        print(f"{name:16s}{means}", flush=True)
    asked.out.write_text(json.dumps({"steps": asked.steps, "PSNR": found}, indent=1) + "\n")
    for name in [name for name in found if "alone" not in name]:
        for ks in EXPOSURES_KS:
            alone = np.array(found[f"{ks:g} ks alone"][f"{ks:g}"])
            more = np.array(found[name][f"{ks:g}"]) - alone
            error = more.std(ddof=1) / np.sqrt(len(more))
            print(f"{name}, {ks:g} ks: {more.mean():+.2f} ± {error:.2f} dB against one for it")


if __name__ == "__main__":
    main()
