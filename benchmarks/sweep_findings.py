"""Do the findings of appendices C and D hold? ``python benchmarks/sweep_findings.py STUDY...``.

For every ranked study (``sweep rank``): correlation of each setting with the loss; score and mean
place in the measures of every value of a setting; and for sums of losses how each loss alone places
itself in every measure (1: best of all trials).
"""

import argparse
import json
from pathlib import Path

import numpy as np

from xmm_jax.sweeps.rank import is_higher


def parse():
    """Which studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ranking", nargs="+", help="ranking.json of a study")
    parser.add_argument("--out", default="", help="JSON file to write")
    return parser.parse_args()


def by_value(trials, setting):
    """Score and place of the trials with each value of a setting."""
    groups = {}
    for trial in trials:
        place = np.mean(list(places(trials, trial).values()))
        groups.setdefault(trial["point"][setting], []).append((trial["score"], place))
    found = {value: np.array(rows) for value, rows in groups.items()}
    return {
        value: {
            "trials": len(rows),
            "mean score": float(rows[:, 0].mean()),
            "median score": float(np.median(rows[:, 0])),
            "mean place": float(rows[:, 1].mean()),
            "error of the mean place": float(rows[:, 1].std(ddof=1) / np.sqrt(len(rows))),
        }
        for value, rows in found.items()
    }


def correlation(trials, setting):
    """Pearson's, of the logarithm of a setting, a number, with the loss."""
    values = np.log([float(trial["point"][setting]) for trial in trials])
    return float(np.corrcoef(values, [trial["loss"] for trial in trials])[0, 1])


def places(trials, chosen):
    """Place of one of the trials in every figure, 1 the best."""
    found = {}
    for name, own in chosen["figures"].items():
        sign = -1 if is_higher(name) else 1
        better = [trial for trial in trials if sign * trial["figures"][name] < sign * own]
        found[name] = 1 + len(better)
    return found


def findings(trials):
    """All of a study, as JSON types."""
    settings = [name for name in trials[0]["point"] if len({t["point"][name] for t in trials}) > 1]
    found = {"trials": len(trials), "values": {name: by_value(trials, name) for name in settings}}
    if "loss" in settings:
        named = {f"{t['point']['network.stretch']}, {t['point']['loss']}": t for t in trials}
        found["places alone"] = {
            name: places(trials, named[name]) for name in sorted(named) if "+" not in name
        }
    else:
        found["correlation with loss"] = {name: correlation(trials, name) for name in settings}
    return found


if __name__ == "__main__":
    options = parse()
    report = {name: findings(json.loads(Path(name).read_text())) for name in options.ranking}
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")
