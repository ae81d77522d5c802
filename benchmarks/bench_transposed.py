"""Forward and slope of transposed convolutions: ours beside `flax.linen.ConvTranspose`.

    python benchmarks/bench_transposed.py [--out=FILE.json]

Sizes are those of a step of --task=herschel --preset=tiny (side 4) and of astro_unet (side 2). Both
are timed in one run, by turns; the median of several repetitions counts.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import linen as nn

from xmm_jax.models.transposed import Doubled

# Kernel, side of the small image, channels, features; batches of 4.
SIZES = (
    (4, 4, 384, 192), (4, 8, 384, 96), (4, 16, 192, 48), (4, 32, 96, 24), (4, 64, 48, 1),
    (2, 8, 256, 128), (2, 16, 128, 64), (2, 32, 64, 32), (2, 64, 32, 16),
)  # fmt: skip
REPETITIONS = 9


def layers(side, features):
    start = nn.initializers.normal(0.02)
    padding = "SAME" if side == 4 else "VALID"
    return {
        "ours": Doubled(features, side=side, use_bias=False, kernel_init=start),
        "flax": nn.ConvTranspose(features, (side, side), strides=(2, 2), padding=padding,
            use_bias=False, kernel_init=start, transpose_kernel=True),
    }  # fmt: skip


def measure(side, size, channels, features):
    image = jax.random.normal(jax.random.key(0), (4, size, size, channels))
    steps = {}
    for name, layer in layers(side, features).items():
        params = layer.init(jax.random.key(1), image)

        def loss(params, image, layer=layer):
            return jnp.sum(jnp.square(layer.apply(params, image)))

        step = jax.jit(jax.value_and_grad(loss, (0, 1)))
        jax.block_until_ready(step(params, image))
        steps[name] = lambda step=step, params=params: step(params, image)
    seconds = {name: [] for name in steps}
    for _ in range(REPETITIONS):
        for name, step in steps.items():
            begin = time.perf_counter()
            jax.block_until_ready(step())
            seconds[name].append(time.perf_counter() - begin)
    found = {f"{name}_ms": 1e3 * statistics.median(taken) for name, taken in seconds.items()}
    return {"kernel": side, "size": size, "channels": channels, "features": features} | found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = [measure(*size) for size in SIZES]
    device = jax.devices()[0].device_kind
    for row in rows:
        ratio = row["flax_ms"] / row["ours_ms"]
        print(" ".join(f"{k}={v:.4g}" for k, v in row.items()), f"ratio={ratio:.1f}")
    if args.out:
        text = json.dumps({"device": device, "jax": jax.__version__, "rows": rows}, indent=1)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
