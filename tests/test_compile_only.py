"""Memory and work of a step, beside what can be counted by hand."""

import dataclasses
import os
import re
import subprocess
import sys

import jax
import pytest

from xmm_jax.compile_only import compile_only, cost, lower_step
from xmm_jax.config import NetworkConfig
from xmm_jax.errors import InputError
from xmm_jax.parallel import make_mesh
from xmm_jax.presets import PRESETS

CONFIG = dataclasses.replace(
    PRESETS["sr"]["tiny"],
    network=NetworkConfig(size="small"),  # two blocks: something to loop over
    loss="l1",
    crop=24,
    batch_size=8,
)
# Published networks of 16 filters have 326,129 weights with 3 blocks and 430,049 with 4.
WEIGHTS = {"small": 2 * 326_129 - 430_049}


def convolutions(filters, blocks, pixels):
    """Floating-point operations of the convolutions of a forward pass of super-resolution."""
    n = filters
    dense = sum(i * n * n for i in (1, 2, 3, 4, 5))
    inner = 2 * n + 3 * blocks * dense + n * n + 4 * n * n
    outer = n * n + n
    return 2 * 9 * pixels * (inner + 4 * outer)


def test_the_count_by_hand_is_that_of_the_published_network():
    # 603.5 GFLOP for 416 x 416, counted on the published PyTorch classes.
    assert convolutions(32, 4, 416**2) == pytest.approx(603.5e9, rel=1e-3)


def test_memory_of_arguments_and_work_are_those_counted_by_hand():
    mesh = make_mesh(4)
    _, found = cost(lower_step(CONFIG, mesh))
    state = 3 * 4 * WEIGHTS["small"]  # weights and two moments
    image = 24 * 24 * (4 + 4 + 1) + 48 * 48 * (4 + 4 + 1)
    assert found.arguments == pytest.approx(state + 2 * image, abs=100)  # counters, 1 weight
    assert found.outputs < 2000  # the state is given back in place
    # Backward: once more for the weights, once more for the images. Convolutions at the edge of
    # 24 x 24 pixels leave out 5 % of the products.
    expected = 3 * convolutions(16, 2, 2 * 24 * 24)
    assert flops(CONFIG, mesh) == pytest.approx(expected, rel=0.06)
    again = dataclasses.replace(CONFIG, network=NetworkConfig(size="small", remat=True))
    assert flops(again, mesh) == pytest.approx(4 / 3 * expected, rel=0.1)


def flops(config, mesh):
    return lower_step(config, mesh, unroll=True).cost_analysis()["flops"]


def figures(text):
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", text)]


def test_devices_that_are_not_there(tmp_path):
    """Eight virtual devices in a fresh process; nothing is written."""
    program = (
        "from xmm_jax.compile_only import compile_only\n"
        "from xmm_jax.presets import parse\n"
        "from xmm_jax.processes import start_processes\n"
        "import sys\n"
        "config = parse(sys.argv[1:])\n"
        "start_processes(config)\n"
        "print(compile_only(config))"
    )
    flags = ["--crop=24", "--loss=l1", "--batch_size=8", "--devices=8", "--parallel=shard_map"]
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    out = subprocess.run(
        [sys.executable, "-c", program, *flags],
        cwd=tmp_path,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert not list(tmp_path.iterdir())
    what, memory, work, _ = out.strip().splitlines()
    assert what.startswith("sr tiny, 24 x 24: batch of 8 over 8 x cpu")
    total, *parts = figures(memory)
    assert total == pytest.approx(sum(parts), abs=0.21)
    assert figures(work)[0] == pytest.approx(figures(work)[1])  # one example each


def test_impossible_devices_and_batches_are_refused():
    many = jax.device_count() + 1
    with pytest.raises(InputError, match=f"--devices={many}: there are {many - 1}"):
        compile_only(dataclasses.replace(CONFIG, devices=many))
    with pytest.raises(InputError, match="multiple of 4"):
        compile_only(dataclasses.replace(CONFIG, devices=4, batch_size=6))
