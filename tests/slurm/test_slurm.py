"""A job of two tasks on a real SLURM: killed, asked to leave, requeued; the weights do not change.

XMM_JAX_SLURM_LOG names a file for what happened.
"""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from slurm_cluster import slurm, wait_until
from small_records import FLAGS, write_small_records

from xmm_jax.log import read_metrics

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "launch" / "slurm.sbatch"
STEPS = 200
pytestmark = pytest.mark.slow


def tasks(job):
    """Process ids of the tasks of a job, by their number."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            words = (process / "environ").read_text().split("\0")
            python = (process / "comm").read_text().startswith("python")
        except (OSError, ValueError):
            continue
        env = dict(word.split("=", 1) for word in words if "=" in word)
        if python and env.get("SLURM_JOB_ID") == job and "SLURM_STEP_ID" in env:
            found[int(env["SLURM_PROCID"])] = int(process.name)
    return found


def last_step(run):
    rows = read_metrics(run / "metrics.jsonl")
    return max((row["step"] for row in rows if row["split"] == "train"), default=0)


def weights_of(said):
    """Digest that the first task says at the end."""
    return re.search(r"^0: (weights \w+)$", said, re.MULTILINE).group(1)


def test_a_job_that_is_killed_stopped_and_requeued_gives_the_same_weights(cluster, tmp_path):
    records, run, output, whole = (
        tmp_path / name for name in ("records", "run", "job.log", "uninterrupted.log")
    )
    write_small_records(records)
    flags = [*FLAGS, "--eval_every=20", f"--steps={STEPS}", f"--data={records}"]
    events = []

    def say(text):
        events.append(f"{time.strftime('%H:%M:%S')} {text}")

    def go_on():
        """Wait until the job is back in the queue, and do not let it wait there for two minutes."""
        wait_until(lambda: "BeginTime" in slurm(cluster, "squeue", "--noheader"))
        say(f"after step {last_step(run)}: {slurm(cluster, 'squeue', '--noheader').strip()}")
        # Within the second that revoked the credential of the old start, slurmd takes the new one
        # for revoked too and the job fails ("Killing non-startable batch").
        slurm(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now+3seconds")

    options = ("--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1")
    sbatch = ("sbatch", "--parsable", *options)
    job = slurm(cluster, *sbatch, f"--output={output}", SCRIPT, *flags, f"--run={run}").strip()
    say(f"{' '.join(sbatch)} launch/slurm.sbatch: job {job}")
    try:
        wait_until(lambda: last_step(run) >= 30)
        say(f"kill -9 of task 1 at step {last_step(run)}")
        os.kill(tasks(job)[1], signal.SIGKILL)
        go_on()
        wait_until(lambda: last_step(run) >= 70)
        say(f"SIGTERM to the tasks, as before the time limit, at step {last_step(run)}")
        slurm(cluster, "scancel", "--signal=TERM", job)
        go_on()
        wait_until(lambda: last_step(run) >= 110)
        say(f"scontrol requeue at step {last_step(run)}")
        slurm(cluster, "scontrol", "requeue", job)
        go_on()
        wait_until(lambda: not slurm(cluster, "squeue", "--noheader").strip())
        say("done; the same again, uninterrupted")
        uninterrupted = f"--run={tmp_path / 'uninterrupted'}"
        slurm(cluster, *sbatch, f"--output={whole}", SCRIPT, *flags, uninterrupted)
        wait_until(lambda: not slurm(cluster, "squeue", "--noheader").strip())
        say(f"interrupted: {weights_of(output.read_text())}")
        say(f"uninterrupted: {weights_of(whole.read_text())}")
    finally:
        for what in ("job", "node"):
            say(slurm(cluster, "scontrol", "show", what))
        slurm(cluster, "scancel", "--user=root")
        said = output.read_text() if output.exists() else ""
        said = re.sub(r"(?m)^\d: ( *@|\*\*\*).*\n", "", said)  # stacks of C++
        controller = Path(cluster["SLURM_CONF"]).with_name("slurmctld.log").read_text()
        parts = ("\n".join(events), "output of the job", said, "the controller", controller)
        happened = "\n\n".join(parts)
        print(happened)  # pytest shows it where the test fails
        if log := os.environ.get("XMM_JAX_SLURM_LOG"):
            Path(log).write_text(happened)

    assert weights_of(said) == weights_of(whole.read_text())
    # Killed: from the last checkpoint. Stopped and requeued: from the very step.
    first = [int(step) for step in re.findall(r"going on from step (\d+)", said)]
    assert len(first) == 3
    assert first[0] % 20 == 0
    assert first[1:] == [int(step) for step in re.findall(r"saved at step (\d+)", said)]
    assert "exit code 137: back into the queue" in said
    assert "exit code 75: back into the queue" in said
    steps = [r["step"] for r in read_metrics(run / "metrics.jsonl") if r["split"] == "train"]
    assert steps == list(range(1, STEPS + 1))
