"""What enhancing an image takes: cold start to written file, peak memory, both backends.

    python benchmarks/bench_enhance.py --out=benchmarks/results/enhance-amd-epyc.json

Every run is a fresh process; ``again`` finds the programs that the one before compiled
(``JAX_COMPILATION_CACHE_DIR``). ``network`` is the network alone in one process, both backends by
turns, the median of some calls. ``large`` is an image of 4096 x 4096 pixels.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from xmm_jax import load_model
from xmm_jax.enhancement import answer
from xmm_jax.nddata import as_given
from xmm_jax.onnx_backend import find_backend

BACKENDS, TASKS = ("jax", "onnxruntime"), ("sr", "dn")
FRAME, LARGE = (411, 403), (4096, 4096)


def write_image(path, shape):
    """Counts of a flat sky."""
    hdu = fits.PrimaryHDU(np.random.default_rng(0).poisson(0.3, shape).astype("i2"))
    hdu.header["EXPOSURE"], hdu.header["INSTRUME"] = 2e4, "EPN"
    hdu.writeto(path)
    return path


def measured(*flags, **env):
    """Seconds and peak memory [GB] of one `enhance` in a process of its own."""
    start = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "xmm_jax.enhance", *flags],
        stdout=subprocess.DEVNULL,
        env=os.environ | env,
    )
    _, code, used = os.wait4(child.pid, 0)
    if code:
        raise SystemExit(f"enhance {' '.join(flags)}: exit code {os.waitstatus_to_exitcode(code)}")
    seconds = time.monotonic() - start
    return {"seconds": round(seconds, 2), "peak_GB": round(used.ru_maxrss * 1024 / 1e9, 2)}


def network(task, repeats):
    """Median seconds of the network for the frame of the camera, backends by turns."""
    model = load_model(task)
    given = as_given(np.random.default_rng(0).poisson(0.3, FRAME), 2e4)
    backends = {name: find_backend(model, name) for name in BACKENDS}
    taken, said = {name: [] for name in BACKENDS}, {}
    for turn in range(repeats + 1):
        for name in BACKENDS:
            start = time.monotonic()
            (said[name],) = answer(model, [given], backend=backends[name])
            if turn:
                taken[name].append(time.monotonic() - start)
    apart = float(np.abs(said["jax"] - said["onnxruntime"]).max())
    medians = {name: round(statistics.median(times), 3) for name, times in taken.items()}
    return medians | {"largest_difference": apart}


def main():
    """Measure all and write it down."""
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("--repeats", type=int, default=5)
    flags.add_argument("--large", action=argparse.BooleanOptionalAction, default=True)
    flags.add_argument("--out", type=Path, required=True)
    asked = flags.parse_args()
    found = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as scratch:
        frame = write_image(Path(scratch) / "frame.fits", FRAME)
        for task in TASKS:
            for backend in BACKENDS:
                common = (f"--task={task}", f"--backend={backend}", f"--out={scratch}/out")
                name = f"{task}, {backend}"
                found[f"{name}, cold start"] = measured(str(frame), *common)
                print(name, found[f"{name}, cold start"], flush=True)
            keep = {
                "JAX_COMPILATION_CACHE_DIR": f"{scratch}/programs",
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            common = (str(frame), f"--task={task}", "--backend=jax", f"--out={scratch}/out")
            for _ in range(2):
                again = measured(*common, **keep)
            found[f"{task}, jax, again"] = again
            print(task, "again", again, flush=True)
        if asked.large:
            large = write_image(Path(scratch) / "large.fits", LARGE)
            for task in TASKS:
                for backend in BACKENDS:
                    flags = (f"--task={task}", f"--backend={backend}", "--force")
                    name = f"{task}, {backend}, 4096 x 4096"
                    found[name] = measured(str(large), *flags, f"--out={scratch}/out")
                    print(name, found[name], flush=True)
    # Last, because a process is born with the peak memory of the one that starts it.
    for task in TASKS:
        found[f"{task}, network [s]"] = network(task, asked.repeats)
        print(task, found[f"{task}, network [s]"], flush=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
