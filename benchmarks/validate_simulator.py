"""Every check of the simulator as one table: ``python benchmarks/validate_simulator.py``.

Checks 1 to 8 need nothing, 9 to 16 the published files and real images (``--shared``, left out
where absent). Check 17 is `realism.py`. A check that stops gives a line with its error.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import checks_instrument
import checks_sixte
import checks_sky
from astropy.io import fits
from rows import Row, table

SHARED = Path(__file__).resolve().parents[2] / "shared"

HEAD = """# The simulator in numbers

Written by `python benchmarks/validate_simulator.py`. Numbers without a bound are only told. Checks
1 to 8 need no files but the mask, 9 to 13 compare with the published SIXTE files (Sweere et al.
2022), 14 to 16 with numbers of real images.

"""


def all_checks(shared: Path, draws: int = 1000) -> dict[str, Callable[[], Iterable[Row]]]:
    """Checks by name, those whose files are at hand."""
    checks: dict[str, Callable[[], Iterable[Row]]] = {
        "psf": checks_instrument.check_psf,
        "low rank": checks_instrument.check_low_rank,
        "vignetting": checks_instrument.check_vignetting,
        "poisson": checks_instrument.check_poisson,
        "brightness": checks_instrument.check_brightness,
        "determinism": checks_instrument.check_determinism,
        "light": checks_instrument.check_light,
    }
    data = shared / "data"
    if data.is_dir():
        folder, sim = data / "detector_mask", data / "sim"
        masks = {
            upscale: fits.getdata(folder / f"pn_mask_500_2000_detxy_{upscale}x.fits.gz") > 0
            for upscale in (1, 2)
        }
        checks = {"mask": lambda: checks_instrument.check_mask(masks)} | checks
        checks |= {
            "sixte background": lambda: checks_sixte.check_background(sim),
            "sixte points": lambda: checks_sixte.check_points(sim),
            "sixte extended": lambda: checks_sixte.check_extended(sim),
            "sixte thinning": lambda: checks_sixte.check_thinning(sim),
            "sixte histogram": lambda: checks_sixte.check_histogram(sim),
        }
    checks |= {
        "shapes": lambda: checks_sixte.check_shapes(draws),
        "blank fields": checks_sky.check_background,
        "source counts": checks_sky.check_source_counts,
    }
    if data.is_dir():
        checks["columns"] = lambda: checks_sky.check_columns(data / "real")
    return checks


def run(checks: dict[str, Callable[[], Iterable[Row]]]) -> tuple[list[Row], list[str]]:
    """Rows of all checks, and one line for each that stopped."""
    rows, stopped = [], []
    for name, check in checks.items():
        try:
            rows += list(check())
        except Exception as error:  # the rest of the table is still wanted
            stopped.append(f"check of {name} stopped: {type(error).__name__}: {error}")
    return rows, stopped


def main() -> None:
    """Print the table and keep it in a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--draws", type=int, default=1000, help="sources whose shape is measured")
    parser.add_argument("--only", help="words of the names of the checks to run")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    flags = parser.parse_args()
    checks = all_checks(flags.shared, flags.draws)
    if flags.only:
        checks = {name: check for name, check in checks.items() if flags.only in name}
    rows, stopped = run(checks)
    text = "\n".join([table(rows), "", *stopped])
    print(text)
    asked = [row.good for row in rows if row.good is not None]
    print(f"{sum(asked)} of {len(asked)} within what was asked for")
    if flags.out:
        flags.out.parent.mkdir(parents=True, exist_ok=True)
        flags.out.write_text(HEAD + text.rstrip() + "\n")


if __name__ == "__main__":
    main()
