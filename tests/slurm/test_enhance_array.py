"""A folder of images, enhanced by the tasks of an array of a real SLURM; one image is broken."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from slurm_cluster import slurm, wait_until

from xmm_jax.status import DONE, FAILED, THERE, read

SCRIPT = Path(__file__).parents[2] / "launch" / "enhance_array.sbatch"
GOOD = 5
pytestmark = pytest.mark.slow


def write_images(folder):
    folder.mkdir()
    for number in range(GOOD):
        counts = np.random.default_rng(number).poisson(0.3, (411, 403)).astype("i2")
        header = fits.Header({"EXPOSURE": 2e4, "INSTRUME": "EPN", "FILTER": "Thin1"})
        fits.PrimaryHDU(counts, header).writeto(folder / f"image {number}.fits")
    (folder / "broken.fits").write_text("no image")


def run_array(cluster, images, out, log):
    """Submit an array of two tasks, wait for its end, and return the exit codes by task."""
    options = ("--cpus-per-task=1", "--mem=0", "--no-requeue", f"--output={log}-%a.log")
    flags = ("--task=dn", "--no-support", f"--out={out}")
    job = slurm(
        cluster, "sbatch", "--parsable", "--array=3-4", *options, SCRIPT, str(images), *flags
    ).strip()
    wait_until(lambda: not slurm(cluster, "squeue", "--noheader").strip())
    said = slurm(cluster, "scontrol", "--oneliner", "show", "job", job)
    rows = [dict(w.split("=", 1) for w in row.split() if "=" in w) for row in said.splitlines()]
    return {row["ArrayTaskId"]: row["ExitCode"] for row in rows}


def test_the_tasks_of_an_array_share_a_folder(cluster, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    write_images(images)
    codes = run_array(cluster, images, out, tmp_path / "first")
    tables = [out / f"enhance_status_{part}_of_2.csv" for part in (1, 2)]
    rows = [row for table in tables for row in read(table).values()]
    assert sorted(row.status for row in rows) == [DONE] * GOOD + [FAILED]
    assert len({row.input for row in rows}) == GOOD + 1
    assert len(list(out.glob("*_DN.fits.gz"))) == GOOD
    # The task with the broken image says so, the other one does not.
    assert sorted(codes.values()) == ["0:0", "2:0"], (codes, tmp_path)
    # The same again: nothing is done twice.
    written = {path: path.stat().st_mtime_ns for path in out.glob("*_DN.fits.gz")}
    assert sorted(run_array(cluster, images, out, tmp_path / "again").values()) == ["0:0", "2:0"]
    assert written == {path: path.stat().st_mtime_ns for path in out.glob("*_DN.fits.gz")}
    said = "".join(path.read_text() for path in tmp_path.glob("again-*.log"))
    assert f"{THERE}" in said
