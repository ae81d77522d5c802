"""``run.json``: what made a run. One entry for every start, oldest first.

Together with ``config.json`` and ``manifest.json`` it says all that the weights depend on.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

import xmm_jax
from xmm_jax.data.folder import replace_file

RUN = "run.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def describe(config: dict[str, Any], *, data: str, data_digest: str) -> dict[str, Any]:
    """One start of a run, JSON types.

    Parameters
    ----------
    config : dict
        Settings, all of them.
    data : str
        Where the pairs come from.
    data_digest : str
        By which the same pairs are known.

    Returns
    -------
    dict
        Time, host, command line, versions, git revision, devices, data, settings.
    """
    device = jax.devices()[0]
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    own = {"python": platform.python_version(), "xmm_jax": xmm_jax.__version__}
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "command": sys.argv,
        "versions": own | versions,
        "git": revision(Path(xmm_jax.__file__)),
        "device": device.device_kind,
        "platform": device.client.platform_version,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("XLA_", "JAX_"))},
        "data": data,
        "data_digest": data_digest,
        "config": config,
    }


def add_start(run: Path, entry: dict[str, Any]) -> None:
    """Append an entry to ``run.json``."""
    path = run / RUN
    entries = json.loads(path.read_text()) if path.exists() else []
    replace_file(path, (json.dumps([*entries, entry], indent=1) + "\n").encode())


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def revision(file: Path) -> dict[str, Any] | None:
    """Git commit of the checkout a file is in, and whether anything tracked was changed since.

    Parameters
    ----------
    file : Path
        Only a file that git tracks counts: an installed package may lie in somebody else's
        checkout.

    Returns
    -------
    dict or None
        ``commit`` and ``dirty``; None outside a checkout, or where there is no git.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(file.parent), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None
