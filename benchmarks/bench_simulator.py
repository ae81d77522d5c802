"""Speed of the simulator on this device: pairs a second, compile time, memory, time per stage.

    python benchmarks/bench_simulator.py --batches 1 4 --out benchmarks/results

Run it on an idle machine. The result goes to a file named after the device. The reference for a
GPU is the traffic that cannot be avoided: 0.5 GB a pair (a dozen transforms of 864 x 864 pixels).
"""

import argparse
import functools
import json
import os
import platform
import re
import resource
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import xmm_jax
from xmm_jax.config import SimulatedConfig
from xmm_jax.fields import draw_batch
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator.observe import (
    build_optics,
    detect,
    draw_pair,
    expected_background,
    expected_sources,
)
from xmm_jax.simulator.poisson import draw_counts
from xmm_jax.simulator.presets import find_preset
from xmm_jax.simulator.truth import draw_sky


def median_seconds(call, repeats):
    """Median time of a call that was made before, all of its result ready."""
    taken = []
    for number in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call(number))
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def compiled(function, *arguments):
    """Compiled program, seconds it took to compile, bytes of working memory it asks for."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    return program, seconds, getattr(memory, "temp_size_in_bytes", None)


def bench_pairs(optics, preset, batch, repeats):
    """One pair (batch 1: as records are drawn) or a batch under vmap."""
    fixed = {"preset": preset, "upscale": 2, "target_background": False}
    draw = functools.partial(draw_pair, **fixed)
    keys = jax.random.split(jax.random.key(0), batch)
    many = draw if batch == 1 else jax.vmap(draw, (0, None))
    keys = keys[0] if batch == 1 else keys
    program, seconds, memory = compiled(many, keys, optics)
    jax.block_until_ready(program(keys, optics))
    taken = median_seconds(lambda number: program(keys, optics), repeats)
    return {
        "batch": batch,
        "pairs_per_s": round(batch / taken, 3),
        "compile_s": round(seconds, 2),
        "working_memory_MiB": memory and round(memory / 2**20, 1),
    }


def bench_stream(preset, batch, repeats):
    """What a training run gets: padded batches by number, blocks and all."""
    draw = draw_batch("sr", SimulatedConfig(sky=preset))
    jax.block_until_ready(draw(np.arange(batch)))
    taken = median_seconds(lambda n: draw(np.arange((n + 1) * batch, (n + 2) * batch)), repeats)
    return {"batch": batch, "pairs_per_s": round(batch / taken, 3)}


def bench_stages(optics, preset, repeats):
    """Milliseconds of each stage of one pair, compiled by itself."""
    constants, key = find_preset(preset), jax.random.key(1)

    def sky(key):
        return draw_sky(key, PN, constants, optics.sky_vignetting)[:2]

    extended, points = jax.jit(sky)(key)
    rate = jnp.full(PN.shape, 1e-5)
    stages = {
        "sky": (sky, (key,)),
        "light on the input grid": (
            lambda e, p: expected_sources(e, p, optics.counts, PN, constants, 1),
            (extended, points),
        ),
        "light on the target grid": (
            lambda e, p: expected_sources(e, p, optics.target, PN, constants, 2),
            (extended, points),
        ),
        "background and detector": (
            lambda k, r: detect(
                r + expected_background(k, optics.counts, constants, 1),
                optics.counts,
                PN,
                constants,
            ),
            (key, rate),
        ),
        "counts": (draw_counts, (key, rate * 2e4)),
    }
    result = {}
    for name, (stage, arguments) in stages.items():
        program = jax.jit(stage)
        jax.block_until_ready(program(*arguments))
        taken = median_seconds(lambda n, p=program, a=arguments: p(*a), repeats)
        result[name] = round(1e3 * taken, 2)
    return result


def device_name():
    """Kind of the device; for a CPU its model."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found.group(1) if found else platform.processor() or platform.machine()


def measure(preset, batches, repeats):
    """Everything, as JSON types."""
    start = time.perf_counter()
    optics = jax.device_put(build_optics(preset, upscale=2))
    jax.block_until_ready(optics)
    built = time.perf_counter() - start
    result = {
        "device": device_name(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {"xmm_jax": xmm_jax.__version__, "jax": jax.__version__},
        "preset": preset,
        "repeats": repeats,
        "build_optics_s": round(built, 2),
        "pairs": [bench_pairs(optics, preset, batch, repeats) for batch in batches],
        "stream": bench_stream(preset, batches[-1], repeats),
        "stages_ms": bench_stages(optics, preset, repeats),
    }
    result["peak_host_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    device = jax.devices()[0].memory_stats()  # None on a CPU
    if device:
        result["peak_device_MiB"] = device["peak_bytes_in_use"] // 2**20
    return result


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="physical", choices=("physical", "reference"))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, help="folder for DEVICE.json; default: only print")
    options = parser.parse_args(argv)
    result = measure(options.preset, options.batches, options.repeats)
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", result["device"].lower()).strip("-")
        (options.out / f"simulator-{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
