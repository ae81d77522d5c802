"""Four virtual CPU devices, quick compiles, and the files of other people where at hand."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before jax is imported anywhere: device count and the optimisation level of XLA:CPU are read once.
# Level 1 compiles several times faster than the default 3; results agree to rounding.
DEVICES = os.environ.get("XMM_JAX_TEST_DEVICES", "4")
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={DEVICES} --xla_backend_optimization_level=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
# What is compiled twice in a session is compiled once; name a folder to keep it between sessions.
OWN_CACHE = not os.environ.get("XMM_JAX_COMPILE_CACHE")
# The processes of pytest-xdist are started from here and share it.
CACHE = os.environ.get("XMM_JAX_COMPILE_CACHE") or tempfile.mkdtemp(prefix="xmm_jax-xla-")
os.environ["XMM_JAX_COMPILE_CACHE"] = CACHE
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Drop what a file compiled: Linux gives a process 65,530 pieces of memory, a program is some.

    Without it a session of 2600 tests ended in a segmentation fault.
    """
    yield
    jax.clear_caches()


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    if OWN_CACHE:
        shutil.rmtree(CACHE, ignore_errors=True)


# So that tests can `from pps import make_pps`.
sys.path.insert(0, str(Path(__file__).parent))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real data and golden files of other libraries; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs {SHARED}, which is not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def synthetic_pps(tmp_path_factory):
    """A PPS folder: flat field, three sources, 30 ks; see `pps.make_pps`. Leave it as it is."""
    from pps import Pointing, make_pps

    places = ((500.0, 2900.0), (5900.0, 8600.0), (-10300.0, -7000.0))  # away from gaps
    sources = [(*map(float, Pointing().sky_of_det(place)), 3000) for place in places]
    return make_pps(tmp_path_factory.mktemp("pps"), seed=1, sources=sources)
