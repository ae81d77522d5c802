"""A job of two tasks on a real SLURM: killed, asked to leave, requeued; the weights do not change.

The cluster is this machine (``start.sh``). Where SLURM is not installed the test is skipped, unless
XMM_JAX_INSTALL_SLURM=1 lets it install Debian's packages. XMM_JAX_SLURM_LOG names a file for what
happened.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from small_records import FLAGS, write_small_records

from xmm_jax.log import read_metrics

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "launch" / "slurm.sbatch"
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
STEPS = 200
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Environment in which the commands of SLURM talk to a cluster of this machine."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to start the daemons of SLURM")
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        if os.environ.get("XMM_JAX_INSTALL_SLURM") != "1" or not shutil.which("apt-get"):
            pytest.skip(f"needs {', '.join(PACKAGES)} (XMM_JAX_INSTALL_SLURM=1 installs them)")
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", *words], env=quiet, check=True, stdout=subprocess.DEVNULL)
    folder = tmp_path_factory.mktemp("slurm")
    env = os.environ | {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "JAX_PLATFORMS": "cpu",
        # As in conftest.py: other code of XLA rounds differently.
        "XLA_FLAGS": "--xla_backend_optimization_level=1",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }
    with (folder / "daemons.log").open("w") as log:
        daemons = subprocess.Popen([HERE / "start.sh", folder], stdout=log, stderr=log)
    try:
        wait_until(lambda: "idle" in slurm(env, "sinfo", "--noheader"), 60)
        yield env
        slurm(env, "scancel", "--user=root")
    finally:
        daemons.send_signal(signal.SIGTERM)
        daemons.wait(60)


def slurm(env, *command):
    return subprocess.run(command, env=env, capture_output=True, text=True).stdout


def wait_until(happened, seconds=300):
    for _ in range(5 * seconds):
        if happened():
            return
        time.sleep(0.2)
    raise TimeoutError


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
