"""Flags reach XLA in time or not at all; compiled programs are kept where that is safe."""

import os
import subprocess
import sys

import jax
import pytest

from xmm_jax.backend import DETERMINISTIC, keep_programs, use_deterministic_kernels
from xmm_jax.errors import InputError


def test_too_late_is_said(monkeypatch):
    jax.devices()
    with pytest.raises(InputError, match="fresh process"):
        use_deterministic_kernels()
    monkeypatch.setenv("XLA_FLAGS", " ".join(["--xla_dump_to=x", *DETERMINISTIC]))
    use_deterministic_kernels()  # whoever started the process has asked for it
    assert os.environ["XLA_FLAGS"].count("--xla_gpu_deterministic_ops") == 1


@pytest.mark.parametrize("more", ["", "--xla_no_such_flag=1"])
def test_xla_reads_the_flags(more):
    """An unknown flag ends the process: so the known ones were looked at too."""
    program = (
        "import os, jax\n"
        "from xmm_jax.backend import use_deterministic_kernels\n"
        f"os.environ['XLA_FLAGS'] = {more!r}\n"
        "use_deterministic_kernels()\n"
        "assert jax.numpy.ones(3).sum() == 3\n"
    )
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True)
    assert (done.returncode != 0) == bool(more), done.stderr
    assert (b"Unknown flag" in done.stderr) == bool(more)


CACHE = "jax_compilation_cache_dir"


@pytest.fixture
def no_cache():
    before = jax.config.values[CACHE]
    jax.config.update(CACHE, None)
    yield
    jax.config.update(CACHE, before)


def test_programs_of_an_accelerator_are_kept(tmp_path, monkeypatch, no_cache):
    keep_programs(tmp_path)
    assert jax.config.values[CACHE] is None  # this is a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    keep_programs(tmp_path)
    keep_programs(tmp_path / "other")  # the first, or the user, has chosen
    assert jax.config.values[CACHE] == str(tmp_path)
