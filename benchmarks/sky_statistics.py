"""Shapes of drawn extended sources beside those of the published simulations.

    python benchmarks/sky_statistics.py --draws 1000 [--preset reference] [--seed 0]

Prints the median and the 16th and 84th percentile of N draws, seen through vignetting and PSF
without noise, and the band of six published simulations (Sweere et al. 2022).
"""

import argparse

import jax
import numpy as np

from xmm_jax.instrument import convolution
from xmm_jax.instrument.camera import PN, canvas_axes, crop_canvas, from_native
from xmm_jax.instrument.vignetting import vignetting_map
from xmm_jax.simulator import sky
from xmm_jax.simulator.families import FAMILIES
from xmm_jax.simulator.optics import build_optics
from xmm_jax.simulator.presets import PRESETS
from xmm_jax.simulator.statistics import Shape, measure_shape

# Band for the median of an ensemble, from six published 100 ks images.
BANDS = {
    "peak": (2.0, 9.0),
    "residual_rms": (0.35, 0.8),
    "residual_spectrum": (-3.5, -1.2),
    "slope_1": (-1.1, -0.1),
    "slope_5": (-3.6, -0.4),
}


def measure(draws: int, *, preset: str = "reference", seed: int = 0):
    """Shapes [draw, number] and families [draw] of that many sources."""
    optics = build_optics(preset, upscale=2)
    grid, constants = optics.target, PRESETS[preset]
    x, y = canvas_axes(PN, 2)
    factor = crop_canvas(PN, vignetting_map(PN, x, y), 2)

    @jax.jit
    def draw(key):
        rate, extended = sky.draw_extended(key, PN, constants, optics.sky_vignetting)
        seen = convolution.convolve(rate, grid.coefficients, grid.transforms)
        return crop_canvas(PN, seen, 2), extended

    rows, families = [], []
    for key in jax.random.split(jax.random.key(seed), draws):
        seen, extended = draw(key)
        centre = (float(from_native(extended.x, 2)), float(from_native(extended.y, 2)))
        shape = measure_shape(seen, factor, centre, pixel_arcsec=2.0, zoom=float(extended.zoom))
        rows.append(shape)
        families.append(int(extended.family))
    return np.array(rows), np.array(families)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="reference")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", action="store_true", help="also the medians of each family")
    options = parser.parse_args()
    rows, families = measure(options.draws, preset=options.preset, seed=options.seed)

    print(f"{'number':20} {'16 %':>8} {'median':>8} {'84 %':>8}   band of the median")
    for name, values in zip(Shape._fields, rows.T, strict=True):
        low, median, high = np.nanpercentile(values, [16, 50, 84])
        verdict = "-"
        if name in BANDS:
            bottom, top = BANDS[name]
            verdict = f"{bottom:g} .. {top:g} {'inside' if bottom <= median <= top else 'OUTSIDE'}"
        print(f"{name:20} {low:8.2f} {median:8.2f} {high:8.2f}   {verdict}")
    if options.families:
        for index, name in enumerate(FAMILIES):
            if (families == index).any():
                middle = np.nanmedian(rows[families == index], axis=0)
                print(
                    f"{name:12}",
                    *(
                        f"{key}={value:.2f}"
                        for key, value in zip(Shape._fields, middle, strict=True)
                    ),
                )


if __name__ == "__main__":
    main()
