"""The scripts of launch/: what they start, how, and what they do with exit codes."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from xmm_jax.presets import parse

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SCRIPTS = [LAUNCH / "local.sh", LAUNCH / "tpu_pod.sh", LAUNCH / "slurm.sbatch"]
SCRIPTS += [LAUNCH / "enhance_array.sbatch", ROOT / "tests" / "slurm" / "start.sh"]


@pytest.fixture
def programs(tmp_path):
    """An environment whose programs only say how they were called."""
    for name in ("python", "gcloud", "srun", "scontrol"):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@"\nexit ${{EXIT_{name}:-0}}\n')
        path.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}


def run(env, *command):
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(path):
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck")
    assert run(os.environ, "shellcheck", path).stdout == ""


def test_the_container_is_clean():
    if not shutil.which("hadolint"):
        pytest.skip("needs hadolint")
    done = run(os.environ, "hadolint", "--no-color", LAUNCH / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_local_passes_every_argument_on_as_it_is(programs):
    said = run(programs, LAUNCH / "local.sh", "--run=a b", "--task=sr").stdout.splitlines()
    assert said == ["python", "-m", "xmm_jax.train", "--run=a b", "--task=sr"]


def test_every_worker_of_a_pod_gets_the_same_command(programs):
    said = run(programs, LAUNCH / "tpu_pod.sh", "pod", "zone-a", "--run=a b'c").stdout.splitlines()
    assert said[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "pod"]
    assert {"--zone=zone-a", "--worker=all"} <= set(said)
    command = said[-1].removeprefix("--command=")
    # As the shell of the worker reads it.
    there = run(programs, "bash", "-c", command).stdout.splitlines()
    assert there == ["python", "-m", "xmm_jax.train", "--coordinator=auto", "--run=a b'c"]


@pytest.mark.parametrize(
    ("code", "restarts", "again"),
    [(0, 0, False), (2, 0, False), (75, 0, True), (75, 50, True), (137, 2, True), (137, 3, False)],
)
def test_a_job_goes_back_into_the_queue_when_that_helps(programs, code, restarts, again):
    env = programs | {"EXIT_srun": str(code), "SLURM_RESTART_COUNT": str(restarts)}
    done = run(env, "bash", LAUNCH / "slurm.sbatch", "--run=a b")
    assert done.returncode == code
    said = done.stdout.splitlines()
    assert said[:6] == ["srun", "--label", "python", "-m", "xmm_jax.train", "--run=a b"]
    assert (said[-3:] == ["scontrol", "requeue", "7"]) is again


@pytest.mark.parametrize("task", [1, 4, 6])
def test_a_task_of_an_array_takes_its_part(programs, task):
    first, last = (1, 6) if task != 4 else (4, 9)
    env = programs | {
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_MAX": str(last),
        "SLURM_ARRAY_TASK_COUNT": "6",
    }
    script = ("bash", LAUNCH / "enhance_array.sbatch", "a b", "--task=sr")
    said = run(env, *script).stdout.splitlines()
    part = f"--shard={task - first + 1}/6"
    assert said == ["python", "-m", "xmm_jax.enhance", "a b", "--task=sr", part]
    gaps = run(env | {"SLURM_ARRAY_TASK_COUNT": "3"}, *script)
    assert (gaps.returncode, gaps.stdout) == (2, "")
    assert "without gaps" in gaps.stderr
    alone = run(programs, *script)
    assert alone.returncode != 0
    assert "--array=1-N" in alone.stderr


@pytest.mark.parametrize("name", ["slurm.sbatch", "enhance_array.sbatch"])
def test_the_options_of_a_job_come_before_its_commands(name):
    # sbatch stops looking for options at the first command.
    lines = (LAUNCH / name).read_text().splitlines()
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    commands = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
    assert len(options) >= 5
    assert options[-1] < commands[0]


def test_commands_of_the_readme_have_flags_that_exist():
    commands = re.findall(r"`([^`]*--task=[^`]*)`", (LAUNCH / "README.md").read_text())
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command)
        flags = words[next(i for i, word in enumerate(words) if word.startswith("--task")) :]
        assert parse(flags).task == "sr"


def test_the_container_holds_what_the_package_is_built_from():
    text = (LAUNCH / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for word in line.split()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert copied == needed
    extras = set(re.search(r"'\.\[(.*)\]'", text).group(1).split(","))
    assert extras <= set(project["project"]["optional-dependencies"])
