"""What networks make of a field of background alone: ``python benchmarks/background_sheet.py``.

    python benchmarks/background_sheet.py --model sr runs/sr-adversarial-seed0 --out=background.png

All that can be seen in the images is invented. `evaluate --planted=N` counts it.
"""

import argparse
from pathlib import Path

import jax
import matplotlib
import numpy as np

from xmm_jax.config import TASKS
from xmm_jax.model import load_model
from xmm_jax.simulator.observe import build_optics
from xmm_jax.trials import PRESET, observe_background

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["sr"], help="model or run folders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=200, help="of the middle to draw [pixel]")
    parser.add_argument("--out", type=Path, default=Path("background.png"))
    options = parser.parse_args()
    models = [load_model(name) for name in options.model]
    task = models[0].task
    optics = jax.device_put(build_optics(PRESET, upscale=TASKS[task].upscale))
    sample = observe_background(jax.random.key(options.seed), optics, task)
    batch = {name: sample[name][None] for name in ("counts", "exposure", "valid")}
    shown = {"input [count]": (sample["counts"][..., 0], 4.0)}
    for name, model in zip(options.model, models, strict=True):
        # Square roots: faint features are to be seen.
        root = np.sqrt(np.asarray(model.predict(batch))[0, ..., 0] * 1e5)
        shown[f"{Path(name).name}: sqrt(count in 100 ks)"] = root, 1.5
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown), 4.3), squeeze=False)
    for axis, (title, (image, highest)) in zip(axes[0], shown.items(), strict=True):
        half = options.side * len(image) // 416 // 2
        middle = slice(len(image) // 2 - half, len(image) // 2 + half)
        axis.imshow(image[middle, middle], vmin=0, vmax=highest, cmap="magma", origin="lower")
        axis.set(title=title, xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(options.out, dpi=60)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
