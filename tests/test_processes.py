"""Several processes: the numbers of one, one writer, and none that outlives another."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
from small_records import FLAGS, write_small_records

from xmm_jax import train
from xmm_jax.errors import InputError
from xmm_jax.log import read_metrics
from xmm_jax.parallel import make_mesh
from xmm_jax.presets import parse
from xmm_jax.processes import find_place


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_small_records(tmp_path_factory.mktemp("records") / "small")


@pytest.fixture
def start(tmp_path):
    """Start a job of two processes of one device; what they say is in ``<number>.log``."""
    children = []

    def start(*flags, of_second=()):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        env = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_backend_optimization_level=1",
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
        }
        job = [f"--coordinator={coordinator}", "--processes=2"]
        for number, more in enumerate(((), of_second)):
            command = [sys.executable, "-m", "xmm_jax.train", *flags, *more, *job]
            with (tmp_path / f"{number}.log").open("w") as log:
                command += [f"--process={number}"]
                children.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
        return children[-2:]

    yield start
    for child in children:
        child.kill()
        child.wait()


def losses(run):
    rows = read_metrics(run / "metrics.jsonl")
    return {(row["step"], row["split"]): row["loss"] for row in rows}


@pytest.mark.slow
@pytest.mark.multidevice
def test_two_processes_are_as_good_as_one_and_one_goes_on_from_what_both_saved(
    start, records, tmp_path
):
    one, two = tmp_path / "one", tmp_path / "two"
    # Not the cosine of the preset, which ends with the last step.
    flags = [*FLAGS, f"--data={records}", "--optim.schedule=constant"]
    assert jax.device_count() > 2  # now, or --devices would leave two for the tests to come
    pair = start(*flags, "--steps=3", f"--run={two}")
    train.main([*flags, "--steps=6", "--devices=2", f"--run={one}"])
    assert [child.wait(300) for child in pair] == [0, 0]
    # Not the last bit: XLA:CPU has as many threads as virtual devices, and here are four.
    expected = {key: loss for key, loss in losses(one).items() if key[0] <= 3}
    assert losses(two) == pytest.approx(expected, rel=1e-6)
    # One writer: the second process says only that it waits, and writes no rows.
    assert len((two / "metrics.jsonl").read_text().splitlines()) == len(expected)
    assert len(json.loads((two / "run.json").read_text())) == 1
    assert "weights" in (tmp_path / "0.log").read_text()
    assert not re.search("weights|training|wrote", (tmp_path / "1.log").read_text())

    train.main([*flags, "--steps=6", "--devices=2", f"--run={two}"])
    assert losses(two) == pytest.approx(losses(one), rel=1e-6)


def wait_for_step(run, step, children):
    for _ in range(1500):
        if max((key[0] for key in losses(run)), default=-1) >= step:
            return
        assert all(child.poll() is None for child in children)
        time.sleep(0.2)
    raise TimeoutError


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_that_is_killed_ends_the_other_with_a_message(start, records, tmp_path, lost):
    run = tmp_path / "run"
    flags = [*FLAGS, f"--data={records}", f"--run={run}", "--steps=100000", "--eval_every=100000"]
    pair = start(*flags)
    wait_for_step(run, 5, pair)
    pair[lost].kill()
    # A process that only fell silent is given up after HEARTBEAT_S; a closed socket tells at once.
    assert pair[1 - lost].wait(100) not in (0, 2, 75)
    said = (tmp_path / f"{1 - lost}.log").read_text()
    assert "starting it again goes on" in said or "another task died" in said


@pytest.mark.slow
def test_a_fault_in_one_process_ends_both(start, records, tmp_path):
    flags = [*FLAGS, f"--run={tmp_path / 'run'}", "--steps=3", f"--data={records}"]
    pair = start(*flags, of_second=[f"--data={tmp_path / 'nothing'}"])
    assert pair[1].wait(200) == 2
    assert pair[0].wait(100) != 0
    assert str(tmp_path / "nothing") in (tmp_path / "1.log").read_text()


@pytest.mark.slow
def test_a_signal_to_one_process_makes_both_save_and_leave(start, records, tmp_path):
    run = tmp_path / "run"
    flags = [*FLAGS, f"--data={records}", f"--run={run}", "--steps=100000", "--eval_every=100000"]
    pair = start(*flags)
    wait_for_step(run, 5, pair)
    pair[1].send_signal(signal.SIGTERM)
    assert [child.wait(200) for child in pair] == [75, 75]
    step = int(re.search(r"saved at step (\d+)", (tmp_path / "0.log").read_text()).group(1))
    assert (run / "checkpoints" / str(step)).is_dir()


def place(*flags, **env):
    return find_place(parse(["--task=sr", *flags]), env)


def test_flags_and_environment_say_who_is_who():
    by_hand = ["--coordinator=node1:1234", "--processes=3"]
    slurm = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}
    variables = {"JAX_COORDINATOR_ADDRESS": "[::1]:99", "JAX_NUM_PROCESSES": "2"}
    ask_jax = (None, None, None)
    assert place() is None
    assert place(*by_hand, "--process=2") == ("node1:1234", 3, 2)
    assert place(*by_hand, "--process=2", **slurm) == ("node1:1234", 3, 2)
    assert place(**variables, JAX_PROCESS_ID="0") == ("[::1]:99", 2, 0)
    assert place("--coordinator=node1:1234", "--processes=1", "--process=0") is None
    assert place(**slurm) == ask_jax
    assert place(SLURM_NTASKS="4", SLURM_PROCID="0") is None  # the batch script itself
    assert place(TPU_WORKER_HOSTNAMES="one,two") == ask_jax
    assert place(TPU_WORKER_HOSTNAMES="one") is None
    assert place("--coordinator=auto") == ask_jax


@pytest.mark.parametrize(
    "flags",
    [
        ["--coordinator=node1:1234"],
        ["--processes=2", "--process=0"],
        ["--process=0"],
        ["--coordinator=node1", "--processes=2", "--process=0"],
        ["--coordinator=node1:x", "--processes=2", "--process=0"],
        ["--coordinator=node1:1234", "--processes=2", "--process=2"],
        ["--coordinator=auto", "--processes=2", "--process=0"],
    ],
)
def test_flags_that_do_not_fit_together_are_refused(flags):
    with pytest.raises(InputError, match=r"--coordinator=.* --processes=.* --process=.*:"):
        place(*flags)


def test_variables_that_are_missing_are_refused():
    with pytest.raises(InputError, match="JAX_NUM_PROCESSES= JAX_PROCESS_ID=:"):
        place(JAX_COORDINATOR_ADDRESS="node1:1234")


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(InputError, match=f"--devices=64: there are {jax.device_count()} "):
        make_mesh(64)
