"""What Sweere et al. 2022 print in tables 4 and 5, and those tables beside ours in Markdown."""

import numpy as np

# Columns as in PAPER: L1, PSNR [dB], Poisson, SSIM, MS-SSIM, FSIM, HaarPSI.
PUBLISHED = {
    "dn": {  # Table 4
        "Input": "0.006528 39.349 0.07616 0.9484 0.9922 0.9688 0.8879",
        "Simulated Data": "0.005202 41.728 0.04782 0.9359 0.9910 0.9577 0.9006",
        "Real Data": "0.004628 42.227 0.04856 0.9512 0.9930 0.9745 0.9139",
        "Fine-Tuned (XMM-DeNoise)": "0.004408 42.693 0.04778 0.9567 0.9939 0.9783 0.9253",
    },
    "sr": {  # Table 5
        "Input": "0.01096 33.525 0.08285 0.8248 0.9499 0.8657 0.5312",
        "Predicted (XMM-SuperRes)": "0.006508 38.034 0.04997 0.907 0.9846 0.8688 0.697",
    },
}
# Input in the same convention by PyTorch and piq, before this script, on all published example
# fields; and carried from them to the published brightnesses of all fields: straight lines against
# the logarithm of the mean rate.
EARLIER = {
    "dn": {
        "Input, nine example fields": "0.01353 33.47 0.1774 0.9004 0.9829 0.9652 0.7902",
        "the three faintest of the nine": "0.00538 38.69 0.0657 0.9652 0.9954 0.9770 0.8701",
        "the nine, extrapolated": "0.00636 38.1 0.0726 0.952 0.9929 0.973 0.845",
    },
    "sr": {
        "Input, six example fields": "0.01175 33.03 0.0893 0.8344 0.9467 0.8842 0.5210",
        "the six, extrapolated": "0.01099 33.59 0.0836 0.8441 0.9504 0.8834 0.5305",
    },
}

# Row of the results -> what the page calls it.
LABELS = {
    "dn": {
        "input, reference": "Input",
        "shipped, reference": "shipped `dn`",
        "kept, reference": "0.4 Input + 0.6 shipped `dn`",
    },
    "sr": {
        "input, reference": "Input",
        "input, aligned": "Input, target not moved",
        "shipped, reference": "shipped `sr`",
        "shipped, aligned": "shipped `sr`, target not moved",
    },
}
# Rows to set beside the published ones, and field by field.
BY_FIELD = {"dn": tuple(LABELS["dn"]), "sr": ("input, reference", "shipped, aligned")}
SETS = {
    "dn published": "four fields",
    "sr published": "three fields",
    "sr drawn": "drawn fields",
}
FIELDS = {
    "0085110101": "A426",
    "0400620101": "NGC 1399",
    "0724270101": "W49B",
    "0781350101": "NGC 1404",
}
COLUMNS = ("L1", "PSNR [dB]", "Poisson", "SSIM", "MS-SSIM", "FSIM", "HaarPSI")
MEDIAN_RATE = 2.2e-5  # of the inputs of all 30,856 simulations [count/s/pixel of 416 x 416]
IN_PER_CENT = ("L1", "Poisson")


def _line(*cells):
    return "| " + " | ".join(cells) + " |"


def _table(first, rows):
    lines = [_line(first, *COLUMNS), _line(*["---"] * (1 + len(COLUMNS)))]
    return "\n".join(lines + [_line(label, *cells) for label, cells in rows])


def _cells(values):
    return [f"{value:#.4g}" for value in values]


def _means(result, task):
    """(set, row, mean figures) of what was measured."""
    return [
        (kind, row, np.mean(values, 0))
        for kind, one in result["measured"].items()
        if kind.startswith(task)
        for row, values in one["rows"].items()
    ]


def side_by_side(result, task):
    """All rows as they are: printed, measured earlier, ours."""
    rows = [
        (f"{start}: {who}", text.split())
        for start, kind in (("paper", "published"), ("earlier", "earlier"))
        for who, text in result[kind][task].items()
    ]
    rows += [
        (f"ours, {SETS[kind]}: {LABELS[task].get(row, row)}", _cells(values))
        for kind, row, values in _means(result, task)
    ]
    rows += _at_median(result, task)
    return _table({"dn": "Table 4", "sr": "Table 5"}[task], rows)


def _at_median(result, task):
    """Rows of the drawn fields at the published median brightness.

    Straight lines against the logarithm of the mean rate. L1 and Poisson are left out: what they
    are at the median is not their mean.
    """
    one, rows = result["measured"].get(f"{task} drawn"), []
    for row in BY_FIELD[task] if one else ():
        line = np.polyfit(np.log10(one["mean_rate"]), one["rows"][row], 1)
        cells = _cells(line[0] * np.log10(MEDIAN_RATE) + line[1])
        for name in IN_PER_CENT:
            cells[COLUMNS.index(name)] = "-"
        rows.append((f"ours, drawn, at the median rate: {LABELS[task].get(row, row)}", cells))
    return rows


def gains(result, task):
    """What networks add to the input of the same fields: L1 and Poisson in %, else differences."""
    paper = {who: np.array(row.split(), float) for who, row in result["published"][task].items()}
    own = {(kind, row): values for kind, row, values in _means(result, task)}
    rows = [
        (f"paper: {who}", _gain(values, paper["Input"]))
        for who, values in paper.items()
        if who != "Input"
    ]
    rows += [
        (
            f"ours, {SETS[kind]}: {LABELS[task].get(row, row)}",
            _gain(values, own[kind, "input, reference"]),
        )
        for (kind, row), values in own.items()
        if row in BY_FIELD[task] and not row.startswith("input")
    ]
    return _table("over the Input", rows)


def _gain(values, base):
    cells = []
    for name, value, of in zip(COLUMNS, values, base, strict=True):
        if name in IN_PER_CENT:
            cells.append(f"{100 * (value / of - 1):+.1f} %")
        else:
            digits = 2 if name.startswith("PSNR") else 4
            cells.append(f"{value - of:+.{digits}f}")
    return cells


def field_by_field(result, task):
    """Our rows on each published field."""
    one, rows = result["measured"][f"{task} published"], []
    for row in BY_FIELD[task]:
        for name, values in zip(one["fields"], one["rows"][row], strict=True):
            box, _, halo = name.partition("_1_z_99_subhalos_")
            label = FIELDS.get(name, f"{box} {halo.split('_')[0]}")
            rows.append((f"{label}: {LABELS[task][row]}", _cells(values)))
    return _table("field", rows)


def tables(result):
    """Everything that the page shows, in Markdown."""
    shown = (side_by_side, gains, field_by_field)
    return "\n\n".join(one(result, task) for task in ("dn", "sr") for one in shown)
