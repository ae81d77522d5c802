"""A SLURM cluster of this machine (``start.sh``).

Where SLURM is not installed its tests are skipped, unless XMM_JAX_INSTALL_SLURM=1 lets them install
Debian's packages.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from slurm_cluster import slurm, wait_until

HERE = Path(__file__).parent
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")


@pytest.fixture(scope="package")
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
