"""Do the findings of appendices C and D hold? ``python benchmarks/sweep_findings.py STUDY...``.

For every ranked study (``sweep rank``): correlation of each setting with loss and score, the mean
score of every value of a setting, and for sums of losses how each loss alone places itself in every
measure (1: best of all trials).
"""

import argparse
import json
from pathlib import Path

import numpy as np

HIGHER = ("PSNR", "SSIM", "MS_SSIM")


def parse():
    """Which studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ranking", nargs="+", help="ranking.json of a study")
    parser.add_argument("--out", default="", help="JSON file to write")
    return parser.parse_args()


def means(trials, setting, value_of):
    """Mean and standard error of a figure by the values of a setting, and how many there are."""
    groups = {}
    for trial in trials:
        groups.setdefault(trial["point"][setting], []).append(value_of(trial))
    return {
        value: [float(np.mean(found)), float(np.std(found) / np.sqrt(len(found))), len(found)]
        for value, found in groups.items()
    }


def correlation(trials, setting, value_of):
    """Pearson's, of the logarithm of a setting; NaN where it is no number."""
    try:
        values = np.log([float(trial["point"][setting]) for trial in trials])
    except ValueError:
        return float("nan")
    return float(np.corrcoef(values, [value_of(trial) for trial in trials])[0, 1])


def places(trials, point):
    """Place of a trial in every figure, 1 the best."""
    chosen = next((trial for trial in trials if trial["point"] == point), None)
    if chosen is None:
        return {}
    found = {}
    for name, own in chosen["figures"].items():
        sign = -1 if name.split("/")[1] in HIGHER else 1
        better = [trial for trial in trials if sign * trial["figures"][name] < sign * own]
        found[name] = 1 + len(better)
    return found


def findings(trials):
    """All of a study, as JSON types."""
    settings = [name for name in trials[0]["point"] if len({t["point"][name] for t in trials}) > 1]
    score = {name: means(trials, name, lambda trial: trial["score"]) for name in settings}
    found = {"trials": len(trials), "mean score": score}
    if "loss" in settings:
        alone = sorted({t["point"]["loss"] for t in trials if "+" not in t["point"]["loss"]})
        stretches = sorted({trial["point"]["network.stretch"] for trial in trials})
        found["places alone"] = {
            f"{stretch}, {loss}": places(trials, {"network.stretch": stretch, "loss": loss})
            for stretch in stretches
            for loss in alone
        }
    else:
        found["correlation with loss"] = {
            name: correlation(trials, name, lambda trial: trial["loss"]) for name in settings
        }
    return found


if __name__ == "__main__":
    options = parse()
    report = {name: findings(json.loads(Path(name).read_text())) for name in options.ranking}
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")
