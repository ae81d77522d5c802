"""Whatever ends a run, the same command goes on and learns the same to the last bit."""

import gc
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_records import FLAGS, write_small_records

from xmm_jax import train
from xmm_jax.errors import InputError
from xmm_jax.log import read_metrics
from xmm_jax.model import load_model
from xmm_jax.presets import parse

ROOT = Path(__file__).parents[2]
STEPS = 7  # validated and saved at 0, 3, 6 and 7


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_small_records(tmp_path_factory.mktemp("small") / "records")


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    """A run that was left alone."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train.main(flags(records, run))
    return run


def flags(records, run, *more):
    return [*FLAGS, f"--steps={STEPS}", f"--data={records}", f"--run={run}", *more]


def steps(run):
    """Of the checkpoints that are complete."""
    names = (path.name for path in (run / "checkpoints").iterdir())
    return sorted(int(name) for name in names if name.isdigit())


def digests(run):
    """Of step, weights and optimiser after the last step."""
    return json.loads((run / "checkpoints" / str(STEPS) / "meta/metadata").read_text())["digests"]


def same(run, whole):
    """The same weights, figures, and choice of the best step."""
    assert digests(run) == digests(whole)
    assert read_metrics(run / "metrics.jsonl") == read_metrics(whole / "metrics.jsonl")
    assert load_model(run).origin["step"] == load_model(whole).origin["step"]
    return True


def asked_at(call):
    """What `xmm_jax.signals.watch` yields when a signal comes before this call."""
    calls = iter(range(1, 10**6))
    return lambda: next(calls) >= call


@pytest.mark.slow
def test_asked_to_leave_at_any_moment(records, whole, tmp_path, capsys):
    config = parse(flags(records, tmp_path / "run"))
    train.open_run(train.check_run(config), config, str(records))
    # Of a start that was killed after it had validated step 0 and before step 0 was on disk.
    row = '{"step": 0, "split": "validation", "loss": 0.001}\n'
    (tmp_path / "run" / "metrics.jsonl").write_text(row)
    left = []
    # While step 0 is validated; after step 2; while step 3 is validated, and again; after step 4.
    for call in (1, 3, 1, 1, 2):
        with pytest.raises(SystemExit) as stopped:
            train.train(config, asked_at(call))
        assert stopped.value.code == 75
        left.append(steps(tmp_path / "run")[-1])
    assert left == [0, 2, 3, 3, 4]
    assert "saved at step 4; the same command goes on" in capsys.readouterr().out
    # A step that was never validated is kept to go on from, not as the best.
    assert load_model(tmp_path / "run").origin["step"] in (0, 3)
    train.train(config)
    assert same(tmp_path / "run", whole)


@pytest.fixture
def nothing_left():
    """Orbax leaves threads and coroutines behind when it fails; not to a later test, please."""
    yield
    gc.collect()


def left_by_orbax(test):
    test = pytest.mark.usefixtures("nothing_left")(test)
    names = ("PytestUnraisableExceptionWarning", "PytestUnhandledThreadExceptionWarning")
    for name in names:
        test = pytest.mark.filterwarnings(f"ignore::pytest.{name}")(test)
    return test


@left_by_orbax
def test_a_damaged_checkpoint_is_put_aside(records, whole, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in (run / f"checkpoints/{STEPS}").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-100])
    train.main(flags(records, run))
    said = capsys.readouterr().out
    assert f"warning: a damaged checkpoint was moved to {run}/damaged/{STEPS}" in said
    assert "going on from step 6" in said
    assert (run / f"damaged/{STEPS}/meta/metadata").exists()
    assert same(run, whole)


def test_a_start_that_was_cut_off_does_not_block_the_next(records, tmp_path):
    run = tmp_path / "run"
    config = parse(flags(records, run))
    # Killed while the settings were written; then before the manifest; then inside run.json.
    (tmp_path / ".run.new.partial").mkdir()
    (tmp_path / ".run.new.partial" / "config.json").write_text('{"task": "s')
    train.open_run(train.check_run(config), config, str(records))
    for name in ("manifest.json", "run.json"):
        (run / name).unlink()
    (run / "run.json.part").write_text("[")
    train.open_run(train.check_run(config), config, str(records))
    assert json.loads((run / "config.json").read_text())["task"] == "sr"
    assert len(json.loads((run / "run.json").read_text())) == 1
    assert (run / "manifest.json").exists()
    with pytest.raises(InputError, match="--seed: 0 -> 1"):
        train.check_run(parse(flags(records, run, "--seed=1")))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB, and how to make it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, check=True, capture_output=True)

    try:
        mount("size=1m")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system: {error}")
    try:
        yield folder, lambda: mount("remount,size=20m")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@left_by_orbax
def test_a_full_disk_costs_nothing_that_was_saved(records, whole, small_disk, capsys):
    folder, enlarge = small_disk
    run = folder / "run"
    with pytest.raises(SystemExit) as left:
        train.main(flags(records, run))
    assert left.value.code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match("xmm-jax train: error: .*No space left on device", line), line
    before = [step for step in (0, 3, 6) if (run / f"checkpoints/{step}").exists()]
    assert before
    enlarge()
    train.main(flags(records, run))
    assert f"going on from step {before[-1]}" in capsys.readouterr().out
    assert same(run, whole)


def start(arguments, *, devices=1, processes=1):
    """Training processes of their own, one device each unless told otherwise."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    level = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=1"
    started = []
    for process in range(processes):
        place = {"JAX_COORDINATOR_ADDRESS": at, "JAX_NUM_PROCESSES": str(processes)}
        place |= {"JAX_PROCESS_ID": str(process)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "xmm_jax.train", *arguments],
                env=os.environ
                | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": level}
                | (place if processes > 1 else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return started


def finish(started, code=0):
    """What processes said, killed if they do not end by themselves."""
    try:
        said = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [code] * len(started), said
    return said[0]


def wait_for(condition, started, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert all(process.poll() is None for process in started), finish(started)
        assert time.monotonic() < end
        time.sleep(0.05)


def weights(said):
    return re.search(r"^weights ([0-9a-f]{12})$", said, re.MULTILINE)[1]


@pytest.mark.slow
def test_fresh_processes_learn_the_same_bits(records, tmp_path):
    said = [
        finish(start(flags(records, tmp_path / name, *more)))
        for name, more in (("one", []), ("two", []), ("three", ["--deterministic"]))
    ]
    assert len({weights(text) for text in said}) == 1
    assert weights(said[0]) == digests(tmp_path / "one")["params"][:12]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_one_process_stops_all_at_one_step(records, tmp_path, number):
    run, long = tmp_path / "run", "--steps=2000"
    started = start(flags(records, run, long), processes=2)
    wait_for(lambda: (run / "checkpoints/3").exists(), started)
    started[1].send_signal(number)
    said = finish(started, code=75)
    step = int(re.search(r"saved at step (\d+)", said)[1])
    assert steps(run)[-1] == step
    # Another number of processes and of devices goes on from there.
    started = start(flags(records, run, long), devices=4)
    wait_for(lambda: steps(run)[-1] > step, started)
    started[0].send_signal(number)
    said = finish(started, code=75)
    assert f"going on from step {step}" in said
    rows = [row for row in read_metrics(run / "metrics.jsonl") if row["split"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, steps(run)[-1] + 1))


@pytest.mark.slow
def test_a_signal_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setenv("XMM_JAX_CACHE", str(tmp_path / "cache"))
    started = start([*FLAGS, f"--run={tmp_path / 'run'}"])
    wait_for(lambda: list(tmp_path.glob("cache/.*.partial")), started)  # simulating the records
    started[0].send_signal(signal.SIGTERM)
    finish(started, code=75)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "kills"), [("tiny", 6), ("adversarial", 3), ("flow", 3)])
def test_killed_at_random_moments(preset, kills):
    script = [sys.executable, str(ROOT / "benchmarks/kill_test.py")]
    script += [f"--preset={preset}", f"--kills={kills}"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sources_that_alternate_go_on_in_turn(records, tmp_path, capsys):
    """Two folders in turn, stopped after an odd step."""
    other = write_small_records(tmp_path / "other", first=100)
    both = f"{records},{other}"
    train.main(flags(both, tmp_path / "whole", "--alternate"))
    config = parse(flags(both, tmp_path / "run", "--alternate"))
    with pytest.raises(SystemExit):
        train.train(config, asked_at(3))
    assert 0 < steps(tmp_path / "run")[-1] < STEPS
    train.train(config)
    assert same(tmp_path / "run", tmp_path / "whole")
    assert (tmp_path / "run" / "data2" / "manifest.json").exists()
    with pytest.raises(SystemExit):
        train.main([*flags(records, tmp_path / "one"), "--alternate"])
    assert "name several, --data=A,B" in capsys.readouterr().err
