"""Enhance a folder of hundreds of images, kill it with SIGKILL, go on: each good file done once.

    python benchmarks/kill_enhance.py --good=500 --kills=2 --log=benchmarks/results/kill-enhance.log

Good images are of three shapes, in folders; 20 broken ones of ten kinds are among them. A result
that was there when the run was killed must never be written again, the table must name every
broken file with its reason, and memory must not grow with the number of images. Then the time for
an image against a plain loop (read, network, write, one after the other). Exit code 1 otherwise.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from xmm_jax import load_model
from xmm_jax.data.fitsfile import write_fits
from xmm_jax.data.observation import read_observation
from xmm_jax.enhancement import enhance
from xmm_jax.planes import to_hdus
from xmm_jax.status import DONE, FAILED, read

SHAPES = (411, 403), (411, 400), (320, 390)
# Memory may grow by so much between the first and the last quarter of the images.
GROWTH = 1.15


def image(number, shape):
    """Counts of a flat sky with some sources."""
    draw = np.random.default_rng(number)
    y, x = np.indices(shape)
    sky = np.full(shape, 0.2)
    for row, column, power in draw.uniform((0, 0, 0), (*shape, 2), (12, 3)):
        sky += 10**power / 25 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 8)
    hdu = fits.PrimaryHDU(draw.poisson(sky).astype("i2"))
    hdu.header["EXPOSURE"], hdu.header["INSTRUME"] = 2e4, "EPN"
    return hdu


def spoil(folder):
    """Twenty files of ten kinds that nothing can be made of."""
    whole = image(0, SHAPES[0])
    plain = folder / "whole.fits"
    whole.writeto(plain)
    content = plain.read_bytes()
    plain.unlink()
    bad = {
        "half": content[: len(content) // 2],
        "header only": content[:2880],
        "empty": b"",
        "text": b"no FITS file",
        "zeros": bytes(5760),
    }
    for name, replaced in {
        "nan": np.full(SHAPES[0], np.nan),
        "negative": np.full(SHAPES[0], -1.0),
        "rate": np.full(SHAPES[0], 0.3),
        "cube": np.ones((3, *SHAPES[0])),
        "tiny": np.ones((8, 8)),
    }.items():
        fits.PrimaryHDU(replaced, fits.Header({"EXPOSURE": 2e4})).writeto(plain)
        bad[name] = plain.read_bytes()
        plain.unlink()
    for name, content in bad.items():
        for place in (folder, folder / "deep"):
            (place / f"bad {name}.fits").write_bytes(content)
    return 2 * len(bad)


def make_folder(folder, good):
    """Images to enhance; returns the number of broken ones."""
    (folder / "deep" / "Ærø").mkdir(parents=True)
    for number in range(good):
        place = folder / ("", "deep", "deep/Ærø")[number % 3]
        ending = ("fits", "fits.gz")[number % 2]
        image(number, SHAPES[number % 3]).writeto(place / f"image {number:03d}.{ending}")
    (folder / "notes.txt").write_text("nothing to do with it")
    return spoil(folder)


def results(folder):
    """What is written, and when."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*_DN.fits.gz")}


class Watched:
    """A run in a process of its own whose memory is looked at twice a second [MiB]."""

    def __init__(self, folder, log):
        """Start it."""
        command = [sys.executable, "-m", "xmm_jax.enhance", str(folder), "--task=dn", "--force"]
        self.process = subprocess.Popen(
            [*command, "--no-support"], stdout=log, stderr=subprocess.STDOUT
        )
        self.memory = []
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self):
        while self.process.poll() is None:
            try:
                text = Path(f"/proc/{self.process.pid}/status").read_text()
            except OSError:
                return
            found = [line for line in text.splitlines() if line.startswith("VmRSS")]
            if found:
                self.memory.append(int(found[0].split()[1]) / 1024)
            time.sleep(0.5)


def plain_loop(paths):
    """Seconds per image of reading, network and writing one after the other."""
    model = load_model("dn")
    for path in paths[:3]:  # compile for each shape
        one_image(path, model)
    start = time.monotonic()
    for path in paths:
        one_image(path, model)
    return (time.monotonic() - start) / len(paths)


def one_image(path, model):
    """What the command does for an image."""
    seen = read_observation(path, force=True)
    result = enhance(seen.counts, seen.exposure, model=model, valid=seen.valid)
    with tempfile.TemporaryDirectory() as folder:
        write_fits(Path(folder) / "out.fits.gz", to_hdus(seen, result, model, []))


def main():
    """Make, kill, go on, compare."""
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("--good", type=int, default=500)
    flags.add_argument("--kills", type=int, default=2)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--loop", type=int, default=30, help="images of the plain loop; 0: none")
    flags.add_argument("--log", type=Path, required=True)
    asked = flags.parse_args()
    draw, lines = random.Random(asked.seed), []

    def say(text):
        print(text, flush=True)
        lines.append(text)

    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch) / "archive", Path(scratch) / "run.log"
        folder.mkdir()
        bad = make_folder(folder, asked.good)
        say(f"{asked.good} good images of {len(SHAPES)} shapes, {bad} broken files")
        ends = sorted(draw.sample(range(asked.good // 10, asked.good), asked.kills))
        before, again, began = {}, 0, time.monotonic()
        with log.open("w") as output:
            for number in [*ends, None]:
                run = Watched(folder, output)
                if number is None:
                    code = run.process.wait()
                else:
                    while run.process.poll() is None and len(results(folder)) < number:
                        time.sleep(0.01)
                    run.process.kill()
                    run.process.wait()
                now = results(folder)
                again += sum(now[path] != when for path, when in before.items())
                say(f"{'killed' if number else f'ended with {code}'} at {len(now)} results")
                before = now
        seconds = time.monotonic() - began
        rows = read(folder / "enhance_status.csv")
        failed = [row for row in rows.values() if row.status == FAILED]
        done = [row for row in rows.values() if row.status == DONE]
        left = [path.name for path in folder.rglob(".*")]
        quarter = max(1, len(run.memory) // 4)
        first, last = max(run.memory[quarter : 2 * quarter]), max(run.memory[-quarter:])
        say(f"written again: {again}; half-written files left: {len(left)}")
        say(f"table: {len(done)} done, {len(failed)} failed; exit code {code}")
        for row in failed:
            say(f"  {row.reason.replace(str(folder), '')[:150]}")
        say(
            f"memory of the last run: {first:.0f} MiB in its second quarter, {last:.0f} in its last"
        )
        say(f"{asked.good / seconds:.2f} images/s, starts and kills included")
        ok = len(before) == asked.good and again == 0 and code == 2 and last < GROWTH * first
        ok &= len(failed) == bad and all(row.reason for row in failed)
        if asked.loop:
            good = [path for path in sorted(folder.rglob("image*")) if "_DN" not in path.name]
            loop, begun = plain_loop(good[: asked.loop]), time.monotonic()
            command = [sys.executable, "-m", "xmm_jax.enhance", *map(str, good[: asked.loop])]
            command += ["--task=dn", "--force", "--no-support", f"--out={scratch}/again"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            whole = (time.monotonic() - begun) / asked.loop
            say(
                f"{asked.loop} images: loop {loop:.2f} s each, command {whole:.2f} s with its start"
            )
    say(f"{os.cpu_count()} CPU cores: {'passed' if ok else 'FAILED'}")
    asked.log.write_text("\n".join(lines) + "\n")
    return not ok


if __name__ == "__main__":
    sys.exit(main())
