"""Speed of the network on this device, beside PyTorch and onnxruntime, in turns in one process.

    python benchmarks/bench_step.py --crops 104 208 --out benchmarks/results

Parts: forward (network units in, network units out), step (forward, loss, backward, Adam), loss
(value and gradient), pipeline (records to batch, and a step fed by it beside one on a fixed batch).
Run it on an idle machine. PyTorch and onnxruntime are left out where they are not installed.
"""

import argparse
import dataclasses
import functools
import importlib.util
import itertools
import json
import os
import re
import statistics
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path

# PyTorch needs the rest of the memory of a GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")

import jax
import numpy as np
from alternate import Runner, alternate, ratios
from bench_simulator import device_name
from flax.traverse_util import flatten_dict
from jax.sharding import NamedSharding, PartitionSpec

import xmm_jax
from xmm_jax.compile_only import cost, lower_step
from xmm_jax.config import Config, parse_loss
from xmm_jax.dataset import training_batches
from xmm_jax.feed import feed
from xmm_jax.losses import combine
from xmm_jax.model import make_network
from xmm_jax.models import apply, init
from xmm_jax.models.stretch import to_inputs, to_target
from xmm_jax.optim import make_optimiser
from xmm_jax.parallel import AXIS, make_mesh, place_batch, place_state, spread
from xmm_jax.presets import PRESETS
from xmm_jax.processes import start_processes
from xmm_jax.step import init_state, train_step

CORES = len(os.sched_getaffinity(0))
# What the paper trained on: 50 epochs of 24,678 fields.
PAPER_IMAGES = 50 * 24_678
OURS = "ours"


class Case:
    """One size, crop and batch: weights and a batch to run everything on."""

    def __init__(self, options, size, crop, batch):
        base = PRESETS[options.task]["paper"]
        self.config = dataclasses.replace(
            base,
            network=dataclasses.replace(base.network, size=size),
            crop=crop,
            batch_size=batch,
            loss=options.loss,
            devices=options.devices,
        )
        self.network, self.scale = make_network(self.config.task, self.config.network)
        key = jax.random.key(0)
        self.params = init(key, self.network, self.config.network.in_channels)
        self.batch = fields(batch, crop, self.scale.upscale)
        b = self.batch
        self.inputs = to_inputs(self.scale, b["counts"], b["exposure"], b["valid"])
        self.target = to_target(
            self.scale, b["target"], b["target_exposure"], b["target_valid"], b["exposure"]
        )
        self.loss = combine(parse_loss(options.loss), stretch=self.config.network.stretch)

    def start(self, mesh):
        """State before the first step, a copy of its own."""
        optimiser = make_optimiser(self.config.optim, steps=self.config.steps)
        return place_state(init_state(jax.tree.map(np.array, self.params), optimiser), mesh)

    def place(self, batch, mesh):
        return place_batch(batch, mesh, kind=self.config.parallel)

    def variant(self, name):
        """Settings of ours, ours bfloat16, ours remat."""
        network = dataclasses.replace(
            self.config.network, bfloat16="bfloat16" in name, remat="remat" in name
        )
        return dataclasses.replace(self.config, network=network)


def fields(count, side, upscale):
    """A batch of fields with a gradient, a source and a dead row."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    rate = 1e-4 * (1 + x + 3 * np.exp(-((x - 0.2) ** 2 + (y - 0.6) ** 2) / 0.02))
    rate = rng.uniform(1, 10, (count, 1, 1, 1)) * rate[None, ..., None]
    valid = np.ones(rate.shape, bool)
    valid[:, 3] = False
    fine, live = (a.repeat(upscale, 1).repeat(upscale, 2) for a in (rate, valid))
    return {
        "counts": rng.poisson(rate * 2e4).astype(np.int32),
        "exposure": np.where(valid, np.float32(2e4), np.float32(0)),
        "valid": valid,
        "target": (fine / upscale**2 * 1e5).astype(np.float32),
        "target_exposure": np.where(live, np.float32(1e5), np.float32(0)),
        "target_valid": live,
        "weight": np.ones(count, np.float32),
    }


def forward_flops(params, upscale, pixels):
    """Products and sums of the convolutions of one forward pass over so many input pixels."""
    fine = ("HRconv", "conv_last") if upscale == 2 else ()
    kernels = {path: leaf for path, leaf in flatten_dict(params).items() if path[-1] == "kernel"}
    return sum(
        2 * leaf.size * pixels * (upscale**2 if path[0] in fine else 1)
        for path, leaf in kernels.items()
    )


def runner(name, lowered, call):
    """Ours: compile, then ``call(program)()`` is one unit of work."""
    program, found = cost(lowered)
    work = call(program)
    if jax.default_backend() == "cpu":  # which would run several calls at a time
        once = work

        def work():
            return jax.block_until_ready(once())

    about = {
        "compile_s": round(found.seconds, 2),
        "arguments_MiB": round(found.arguments / 2**20, 1),
        "temporaries_MiB": round(found.temporaries / 2**20, 1),
        "moved_GB": round(found.moved / 1e9, 3),
    }
    return Runner(name, work, jax.block_until_ready, about)


def our_forward(case, name):
    network, _ = make_network(case.config.task, case.variant(name).network)
    lowered = jax.jit(functools.partial(apply, network)).lower(case.params, case.inputs)
    return runner(name, lowered, lambda run: lambda: run(case.params, case.inputs))


def our_loss(case):
    def value(prediction, target):
        return case.loss(prediction, target).mean()

    prediction = 0.9 * case.target + 0.01
    lowered = jax.jit(jax.value_and_grad(value)).lower(prediction, case.target)
    return runner(OURS, lowered, lambda run: lambda: run(prediction, case.target))


def our_step(case, name):
    """A training step on one batch that stays on the device."""
    config, mesh = case.variant(name), make_mesh(case.config.devices)
    state, batch = case.start(mesh), case.place(case.batch, mesh)

    def call(run):
        current, placed = state, jax.device_put(batch, run.input_shardings[0][1])

        def work():
            nonlocal current
            current, out = run(current, placed)
            return out

        return work

    return runner(name, lower_step(config, mesh), call)


def bench_part(part, case, options):
    """Times, rates and ratios of everybody in one part, as JSON types."""
    names = [OURS, *(f"{OURS} {kind}" for kind in options.variants)]
    if part == "forward":
        runners = [our_forward(case, name) for name in names if "remat" not in name]
        runners += [import_module("onnx_rrdb").runner(case, CORES)] if options.onnx else []
    elif part == "step":
        runners = [our_step(case, name) for name in names]
    else:
        runners = [our_loss(case)]
    if options.torch:
        runners += import_module("torch_rrdb").runners(part, case, options.torch, CORES)
    first = {runner.name: result_of(part, runner) for runner in runners}
    rows = alternate(runners, options.rounds)
    work = {"forward": 1, "step": 3, "loss": 0}[part] * forward_flops(
        case.params, case.scale.upscale, case.config.batch_size * case.config.crop**2
    )
    for name, row in rows.items():
        row["ms_per_image"] = round(row["ms"] / case.config.batch_size, 3)
        if work:
            row["gflop_per_s"] = round(work / row["ms"] / 1e6, 1)
        if "moved_GB" in row:
            row["moved_GB_per_s"] = round(1e3 * row["moved_GB"] / row["ms"], 1)
        if part == "step":
            row["days_to_paper"] = round(row["ms_per_image"] * PAPER_IMAGES / 86.4e6, 2)
        row["off_by"] = float(f"{np.abs(first[name] - first[OURS]).max():.1e}")
    return {"floor_gflop": round(work / 1e9, 1), "rows": rows, "ratios": ratios(rows, OURS)}


def result_of(part, runner):
    """What the first call says, to compare: image, loss, or gradient of the loss."""
    out = runner.wait(runner.call())
    if part == "step":
        return np.asarray(float(out["loss"]))
    out = out[1] if isinstance(out, tuple) else out
    out = out.float().cpu() if hasattr(out, "cpu") else out
    return np.squeeze(np.asarray(out, np.float32))


def bench_pipeline(case, data, rounds):
    """Batches alone, and a step fed by them beside one on a fixed batch, as in a training run."""
    config, mesh = case.config, make_mesh(case.config.devices)
    place = functools.partial(case.place, mesh=mesh)
    optimiser = make_optimiser(config.optim, steps=config.steps)
    fixed = {"network": case.network, "scale": case.scale, "loss": case.loss}
    step = functools.partial(train_step, optimiser=optimiser, **fixed)
    update = spread(step, mesh, kind=config.parallel, donate=True)

    def runner(name, batches):
        state = case.start(mesh)

        def work():
            nonlocal state
            state, out = update(state, next(batches))
            return out

        return Runner(name, work, jax.block_until_ready)

    with closing(training_batches(config, data, start_step=0)) as batches:
        once = jax.device_put(place(next(batches)), NamedSharding(mesh, PartitionSpec(AXIS)))
        alone = Runner("batches", lambda: next(batches), jax.block_until_ready)
        rows = alternate([alone], rounds, calls=10)
    with (
        closing(training_batches(config, data, start_step=0)) as source,
        closing(feed(source, place)) as batches,
    ):
        both = [runner(OURS, itertools.repeat(once)), runner("fed", batches)]
        rows |= alternate(both, rounds, calls=10)
    over = statistics.median(
        b / a for a, b in zip(rows[OURS]["turns_ms"], rows["fed"]["turns_ms"], strict=True)
    )
    return {"rows": rows, "fed_over_fixed": round(over, 4)}


def versions():
    """Of ours and of those beside us, where installed."""
    found = {"xmm_jax": xmm_jax.__version__, "jax": jax.__version__}
    for name in ("torch", "onnxruntime"):
        if name in sys.modules:
            found[name] = sys.modules[name].__version__
    return found


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("torch", "onnx", "onnxruntime")
    have = {name: importlib.util.find_spec(name) is not None for name in names}
    parts = ("forward", "step", "loss", "pipeline")
    parser.add_argument("--task", choices=("sr", "dn"), default="sr")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts[:3])
    parser.add_argument("--sizes", nargs="+", default=["base"])
    parser.add_argument("--crops", nargs="+", type=int, default=[104])
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--devices", type=int, default=1, help="on a CPU virtual ones")
    parser.add_argument("--loss", default="psnr+ms_ssim")
    parser.add_argument("--variants", nargs="*", default=[], help="bfloat16, remat, bfloat16-remat")
    parser.add_argument("--torch", nargs="*", help="variants of torch_rrdb; default: by device")
    parser.add_argument("--onnx", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--data", nargs="+", default=[], help="for pipeline: records, stream")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="folder for step-DEVICE.json; default: only print")
    options = parser.parse_args(argv)
    if "pipeline" in options.parts and not options.data:
        parser.error("--parts pipeline needs --data")
    start_processes(Config(devices=options.devices))  # before the first question for a device
    if options.torch is None:
        options.torch = ["eager", "channels_last"]
        if jax.default_backend() != "cpu":
            options.torch.append("compile_bf16")
    options.torch = options.torch if have["torch"] else []
    options.onnx &= have["onnx"] and have["onnxruntime"] and jax.default_backend() == "cpu"
    return options


def main(argv=None):
    options = parse(argv)
    load = round(os.getloadavg()[0], 2)
    results = []
    for size, crop, batch in itertools.product(options.sizes, options.crops, options.batches):
        case = Case(options, size, crop, batch)
        result = {"size": size, "crop": crop, "batch": batch}
        for part in options.parts:
            if part == "pipeline":
                found = {data: bench_pipeline(case, data, options.rounds) for data in options.data}
            else:
                found = bench_part(part, case, options)
            result[part] = found
            say(size, crop, batch, part, found)
        results.append(result)
    about = {
        "device": device_name(),
        "cores": CORES,
        "load_before": load,
        "versions": versions(),
        "task": options.task,
        "loss": options.loss,
        "devices": options.devices,
        "rounds": options.rounds,
    }
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        name = [about["device"]] + ["dn"] * (options.task == "dn")
        name += [f"{options.devices} devices"] * (options.devices > 1)
        name = re.sub(r"[^a-z0-9]+", "-", " ".join(name).lower()).strip("-")
        (options.out / f"step-{name}.json").write_text(
            json.dumps(about | {"cases": results}, indent=1) + "\n"
        )


def say(size, crop, batch, part, found):
    """Print a part as a table."""
    for name, table in found.items() if part == "pipeline" else [(part, found)]:
        print(f"\n{name}: {size}, crop {crop}, batch {batch}", flush=True)
        for row, values in table["rows"].items():
            figures = {k: v for k, v in values.items() if k != "turns_ms" and v is not None}
            print(f"  {row:20}", *(f"{k} {v:g}" for k, v in figures.items()))
        rest = {k: v for k, v in table.items() if k != "rows"}
        print("  " + json.dumps(rest), flush=True)


if __name__ == "__main__":
    main()
