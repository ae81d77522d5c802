"""Every command of the README, run as it stands, with smaller numbers where it takes hours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import archive_server
import pytest
from pps import make_pps
from shell_commands import commands, verb_and_flags

from xmm_jax.simulate import SimulateConfig, simulate

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [command for command in commands(README) if "pip install" not in command]
FEW = "--steps=2 --eval_every=2 --eval_fields=1 --log_every=1"
SMALLER = {
    "train --task=sr": f"{FEW} --network.size=tiny --crop=104 --batch_size=2",
    "train --task=dn": f"{FEW} --simulated.fields=5 --batch_size=2",
    "train --task=astro_unet": f"{FEW} --fields=8 --side=128 --crop=64",
    "train --task=herschel": f"{FEW} --fields=8 --side=128 --crop=128 --batch_size=2",
    "evaluate": "--set= --n=1 --tune=0 --planted=0 --method=starlet",
    "prepare --task=sr": "--n=2",
}
OBSERVATION = "0852030101"


def words_of(command):
    """What to run for a line of the README."""
    verb, flags = verb_and_flags(command)
    for start, smaller in SMALLER.items():
        if " ".join([verb, *flags]).startswith(start):
            flags += smaller.split()
    return [sys.executable, "-m", f"xmm_jax.{verb}", *flags]


def run(command, place, **environment):
    """Run a command in a folder; what it printed."""
    done = subprocess.run(
        words_of(command),
        cwd=place,
        env=os.environ | {"XMM_JAX_CACHE": str(place / "cache"), "XLA_FLAGS": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the README speaks of, and an archive to fetch from."""
    folder = tmp_path_factory.mktemp("user")
    simulate(SimulateConfig(n=1, out=str(folder / "drawn"), preview="no"))
    image = next(file for file in (folder / "drawn").glob("*.gz") if "_t" not in file.name)
    (folder / "FOLDER").mkdir()
    for name in ("image.fits.gz", "FOLDER/one.fits.gz"):
        shutil.copy(image, folder / name)
    pps = make_pps(folder / "ARCHIVE" / OBSERVATION / "pps", obs_id=OBSERVATION, exposure_s=45e3)
    run("python -m xmm_jax.train --task=sr --preset=tiny --simulated.fields=5", folder)
    with archive_server.serving() as server:
        for kind, file in {"PIEVLI": pps.longest.events, "FBKTSR": pps.longest.light_curve}.items():
            server.replies[kind] = archive_server.reply(file.read_bytes(), name=file.name)
        yield folder, server.url


@pytest.mark.parametrize("command", COMMANDS)
def test_it_runs(command, place, request):
    folder, archive = place
    for name, data in {"SIXTE": "sim", "IMAGES": "real"}.items():
        if name in command.split() and not (folder / name).exists():
            (folder / name).symlink_to(request.getfixturevalue("shared") / "data" / data)
    said = run(command, folder, XMM_JAX_ARCHIVE_URL=archive)
    assert "wrote" in said
