"""A sheet of random fields, input above noise-free truth: ``python benchmarks/simulator_sheet.py``.

Field i of a preset as the super-resolution task sees it: 20 ks counts (blocks of 3 pixels) above
the rate expected from the sources (no noise, no background), both at sqrt stretch from 0 to the
99.8th percentile of the field's own truth or input. Needs Pillow (matplotlib brings it).
"""

import argparse
import functools
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from xmm_jax.simulator.observe import build_optics, draw_pair

SHADES = 32  # few shades keep the file small
COLUMNS = 8


def draw_fields(n: int, preset: str, seed: int):
    """Counts and truth of n fields, one after the other, as arrays [y, x]."""
    optics = jax.device_put(build_optics(preset, upscale=2))
    options = {"preset": preset, "upscale": 2, "target_background": False}
    draw = jax.jit(functools.partial(draw_pair, **options))
    for number in range(n):
        pair = draw(jax.random.fold_in(jax.random.key(seed), number), optics)
        yield tuple(np.asarray(pair[name])[..., 0] for name in ("counts", "target"))


def shade(image: np.ndarray, block: int, level: float | None = None) -> np.ndarray:
    """Shades of an image at sqrt stretch, summed in blocks, row 0 at the bottom."""
    rows, columns = (size // block for size in image.shape)
    image = image[: rows * block, : columns * block].astype(float)
    image = image.reshape(rows, block, columns, block).sum(axis=(1, 3))[::-1]
    level = level or max(float(np.percentile(image, 99.8)), 1e-9)
    return np.round(np.sqrt(np.clip(image / level, 0, 1)) * (SHADES - 1)).astype(np.uint8)


def make_sheet(fields, *, block: int = 3) -> np.ndarray:
    """Shades of all panels, one field below the other in each column pair of rows."""
    pairs = [(shade(counts, block), shade(target, 2 * block)) for counts, target in fields]
    height, width = np.min([panel.shape for pair in pairs for panel in pair], axis=0)
    lines = []
    for first in range(0, len(pairs), COLUMNS):
        for which in (0, 1):
            row = [pair[which][:height, :width] for pair in pairs[first : first + COLUMNS]]
            row += [np.zeros((height, width), np.uint8)] * (COLUMNS - len(row))
            padded = [np.pad(panel, 1, constant_values=SHADES // 4) for panel in row]
            lines.append(np.concatenate(padded, axis=1))
    return np.concatenate(lines)


def colours() -> list[int]:
    """Black to dark blue to orange to white, one colour a shade."""
    stops = np.array([[0, 0, 0], [40, 20, 90], [190, 60, 60], [250, 170, 50], [255, 255, 255]])
    place = np.linspace(0, len(stops) - 1, SHADES)
    table = [np.interp(place, range(len(stops)), channel) for channel in stops.T]
    return np.stack(table, axis=1).round().astype(int).ravel().tolist()


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--preset", default="physical")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--block", type=int, default=3, help="input pixels per pixel of the sheet")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/simulator_sheet.png"))
    flags = parser.parse_args()
    sheet = make_sheet(draw_fields(flags.n, flags.preset, flags.seed), block=flags.block)
    image = Image.fromarray(sheet).convert("P")
    image.putpalette(colours())
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    image.save(flags.out, optimize=True, bits=5)
    print(
        f"{flags.out}: {sheet.shape[1]} x {sheet.shape[0]}, {flags.out.stat().st_size / 1e3:.0f} kB"
    )


if __name__ == "__main__":
    main()
