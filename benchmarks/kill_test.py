"""Kill a training run with SIGKILL at random moments; it must learn what one left alone learns.

    python benchmarks/kill_test.py --kills=20 --log=benchmarks/results/kills.log
    python benchmarks/kill_test.py --preset=adversarial

Small network, small fields, CPU; minutes. A third of the kills falls anywhere in a start (before
the first checkpoint, in a restore), a third inside a save, a third anywhere between two steps. Each
time the next start must go on from the newest checkpoint that was complete, and in the end weights
and figures must equal those of the run left alone to the last bit; exit code 1 otherwise.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from small_records import FLAGS, write_small_records

STEPS, EVERY = 120, 3
# The experiments start from the weights that come with the package.
SMALL = ("--task=sr", "--crop=24", "--batch_size=4", "--log_every=1")
PRESETS = {
    "tiny": FLAGS,
    "adversarial": (*SMALL, "--preset=adversarial", "--adversarial.filters=4"),
    "flow": (*SMALL, "--preset=flow", "--network.steps=1", "--network.width=8"),
}


def start(records, run, output, preset):
    """A training run in a process of its own."""
    command = [sys.executable, "-m", "xmm_jax.train", *PRESETS[preset], f"--steps={STEPS}"]
    return subprocess.Popen(
        [*command, f"--eval_every={EVERY}", f"--data={records}", f"--run={run}"],
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def committed(run):
    """Steps whose checkpoints are complete."""
    marks = (run / "checkpoints").glob("*/commit_success.txt")
    return sorted(int(mark.parent.name) for mark in marks if mark.parent.name.isdigit())


def unfinished(run):
    """Folders of saves under way or cut short, by inode: the next save takes the name again."""
    found = {}
    for path in (run / "checkpoints").glob("*-tmp"):
        with contextlib.suppress(FileNotFoundError):  # just renamed: complete
            found[path.stat().st_ino] = path.name
    return found


def wait_until(condition, process, seconds=300):
    """Look every millisecond; give up when the run ends or the time is over."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)


def wait_for_the_moment(kind, run, process, rng, old, alone_s):
    """Return when the run shall be killed; `old` are the saves that an earlier kill cut short.

    ``alone_s`` is what a run left alone takes: fast machines must not be done before all kills.
    """
    if kind == "start":
        time.sleep(rng.uniform(0, alone_s / 4))
    elif kind == "save":
        wait_until(lambda: unfinished(run).keys() - old, process)
        time.sleep(rng.uniform(0, 0.02))
    else:
        before = committed(run)
        wait_until(lambda: committed(run) != before, process)
        time.sleep(rng.uniform(0, alone_s / 16))


def figures(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def said(log, words):
    """The last line of a log that holds some words, or nothing."""
    return next((line for line in reversed(log.read_text().splitlines()) if words in line), "")


def kill_runs(folder, kills, seed, say, preset):
    """The whole test; returns what is wrong, or nothing."""
    records, whole, run, log = (folder / name for name in ("records", "whole", "run", "log"))
    rng = random.Random(seed)
    write_small_records(records)
    began = time.monotonic()
    with log.open("w") as output:
        code = start(records, whole, output, preset).wait()
    alone_s = time.monotonic() - began
    if code:
        return f"the run left alone failed: {log.read_text()}"
    expected = said(log, "weights ").split()[-1]
    say(f"left alone: {STEPS} steps, a checkpoint every {EVERY}, weights {expected}")
    newest, done = None, 0
    while True:
        old = unfinished(run).keys()
        with log.open("w") as output:
            process = start(records, run, output, preset)
            kind = ("start", "save", "step")[done % 3] if done < kills else "none"
            if kind != "none":
                wait_for_the_moment(kind, run, process, rng, old, alone_s)
                process.kill()
            code = process.wait()
        went_on = said(log, "going on from step").split()
        # A start that was killed before it had restored says nothing.
        if went_on and int(went_on[-1]) != newest:
            return f"went on from step {went_on[-1]}, but {newest} was complete"
        if not went_on and newest is not None and "validation loss" in log.read_text():
            return f"began anew, but {newest} was complete"
        if code == 0:
            break
        if code != -9:
            return f"exit code {code}: {log.read_text()}"
        done, newest = done + 1, max(committed(run), default=None)
        cut = [name for inode, name in unfinished(run).items() if inode not in old]
        where = f"inside the save of {', '.join(cut)}" if cut else "outside"
        rows = len(figures(run)) if (run / "metrics.jsonl").exists() else 0
        say(f"kill {done:2d} ({kind}): {where}; newest complete step {newest}, {rows} rows")
    found = said(log, "weights ").split()[-1]
    say(f"killed {done} times: weights {found}")
    if done < kills:
        return f"the run was over after {done} of {kills} kills"
    if found != expected:
        return f"weights {found}, expected {expected}"
    if figures(run) != figures(whole):
        return "the figures in metrics.jsonl differ"
    say(f"equal weights and {len(figures(run))} equal rows of metrics.jsonl")
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    began, lines = time.monotonic(), []

    def say(line):
        lines.append(line)
        print(line, flush=True)

    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=1"  # compiles sooner
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/xla"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
        fault = kill_runs(Path(folder), args.kills, args.seed, say, args.preset)
    say(f"{args.preset}: {fault or 'passed'} ({time.monotonic() - began:.0f} s, seed {args.seed})")
    if args.log:
        args.log.write_text("\n".join(lines) + "\n")
    sys.exit(bool(fault))


if __name__ == "__main__":
    main()
