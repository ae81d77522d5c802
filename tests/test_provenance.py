"""What made a run: the revision of a checkout, and one entry for every start."""

import hashlib
import json
import shutil
import subprocess

import jax
import pytest

from xmm_jax.provenance import add_start, describe, file_digest, revision


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git")

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-q", "-m", "one")
    return tmp_path, git


def test_the_revision_is_that_of_git(checkout):
    folder, git = checkout
    commit = git("rev-parse", "HEAD")
    (folder / "installed.py").write_text("2")
    assert revision(folder / "code.py") == {"commit": commit, "dirty": False}
    (folder / "code.py").write_text("3")
    assert revision(folder / "code.py") == {"commit": commit, "dirty": True}
    # A package installed inside of somebody's checkout is not of that revision.
    assert revision(folder / "installed.py") is None


def test_every_start_is_remembered(tmp_path):
    (tmp_path / "data").write_bytes(b"pairs")
    mark = file_digest(tmp_path / "data")
    assert mark == hashlib.sha256(b"pairs").hexdigest()
    for seed in (1, 2):
        entry = describe({"seed": seed}, data="somewhere", data_digest=mark)
        add_start(tmp_path, entry)
    first, second = json.loads((tmp_path / "run.json").read_text())
    assert (first["config"], second["config"]) == ({"seed": 1}, {"seed": 2})
    assert second["versions"]["jax"] == jax.__version__
    assert second["devices"] == jax.device_count()
    assert second["data_digest"] == mark
    assert "XLA_FLAGS" in second["environment"]
