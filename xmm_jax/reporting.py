"""From ``metrics.json`` to what people read: a table of text, and the page of `metrics.report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.contenders import Contender
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN
from xmm_jax.metrics.image import PAPER
from xmm_jax.metrics.overlay import draw_overlay
from xmm_jax.metrics.report import (
    Column,
    Page,
    Row,
    Shown,
    draw_strip,
    draw_svg,
    plot_curves,
)
from xmm_jax.metrics.sources import COUNTS_EDGES
from xmm_jax.models.interpolation import count_rate
from xmm_jax.protocols import Field
from xmm_jax.scores import image_figures, prepare_truth
from xmm_jax.tally import TRUTH

Metrics = dict[str, Any]

COLUMNS = {
    column.key: column
    for column in (
        Column("PSNR", "PSNR [dB]", "high", 2, "peak signal to noise, linear rates, as the paper"),
        Column("floor_PSNR", "PSNR - noise [dB]", "high", 2, "the noise of the target taken off"),
        Column("bits", "bits/photon", "high", 4, "log likelihood of photons the input lacks"),
        Column("L1", "L1", "low", 5),
        Column("Poisson", "Poisson", "low", 4),
        Column("SSIM", "SSIM", "high", 4),
        Column("MS_SSIM", "MS-SSIM", "high", 4),
        Column("FSIM", "FSIM", "high", 4),
        Column("HaarPSI", "HaarPSI", "high", 4),
        Column("VIFp", "VIFp", "high", 4),
        Column("GMSD", "GMSD", "low", 4),
        Column("MS_GMSD", "MS-GMSD", "low", 4),
        Column("MDSI", "MDSI", "low", 4),
        Column("mask/PSNR", "PSNR in mask", "high", 2, "live pixels only"),
        Column("sqrt/PSNR", "PSNR, sqrt", "high", 2, "square-root stretch"),
        Column("asinh/PSNR", "PSNR, asinh", "high", 2),
        Column("log/PSNR", "PSNR, log", "high", 2),
        Column("z", "z of C-stat", "", 1, "0: the image explains the counts; below: holds noise"),
        Column("blob_sigma", "worst blob [sigma]", "low", 1, "largest 3 x 3 residual of the input"),
        Column("exposure_ratio", "exposure ratio", "", 1, "background as steady as so much longer"),
        Column("background_rms", "background rms", "", 2, "cells of 16 arcsec, 1e-6 count/s/pixel"),
        Column("snr", "SNR", "", 1, "mean of forced flux over its noise, 30 counts or more"),
        Column("snr_f", "SNR_f", "", 2, "SNR over that of the input (Vojtekova et al. 2021)"),
        Column("completeness", "complete", "high", 3, "share of sources of 30 counts found"),
        Column("purity", "pure", "high", 3, "share of what is found that is there"),
        Column("f1", "F1", "high", 3),
        Column("completeness_at_95", "complete at 95 %", "high", 3, "at a purity of 95 %"),
        Column("depth_at_95", "depth [count]", "low", 1, "half are found, at a purity of 95 %"),
        Column(
            "profile_error", "profile", "low", 3, "mean error of rings about an extended source"
        ),
        Column("offset_median", "offset [″]", "low", 2, "median distance, 30 counts or more"),
        Column("own_bias", "flux bias", "", 3, "median, 100 counts or more, own detections"),
        Column("erased", "erased", "low", 4, "share of sure sources that are gone"),
        Column("unsupported", "unsupported", "low", 4, "found where the input has p > 0.05"),
        Column("invented", "invented", "low", 3, "sources a field on fields of background"),
        Column("d50", "d50 [″]", "low", 1, "separation at which half of equal pairs are parted"),
        Column("seconds", "s/image", "", 2, "run time on this machine"),
    )
}
SUMMARY = (
    "PSNR", "floor_PSNR", "bits", "SSIM", "MS_SSIM", "HaarPSI", "mask/PSNR", "sqrt/PSNR", "z",
    "blob_sigma", "exposure_ratio", "background_rms", "snr_f", "completeness", "purity",
    "completeness_at_95", "depth_at_95", "profile_error", "offset_median", "own_bias", "erased",
    "unsupported", "invented", "d50", "seconds",
)  # fmt: skip
TEXT = ("PSNR", "floor_PSNR", "bits", "SSIM", "HaarPSI", "completeness_at_95", "depth_at_95",
        "profile_error", "invented", "d50", "seconds")  # fmt: skip
PAPER_TABLE = {"sr": "Table 5", "dn": "Table 4"}
WORST, SHOWN, SHOWN_METHODS = 3, 5, 4
HOW = (
    "PSNR and its kin are those of the paper: count rate over the clip rate of the target, clamped "
    "to [0, 1], dead pixels and padding zero on both sides, which raises every score alike; 'in "
    "mask' leaves them out.",
    "Nested targets hold the photons of the input, so a method is rewarded for keeping its noise: "
    "0.4 of the input plus 0.6 of the truth is the best answer to 20 in 50 ks. Believe simulated "
    "and disjoint figures.",
    "Against a noisy target even the truth has errors. 'PSNR - noise' takes them off; the limit in "
    "the heading is what the truth itself would score.",
    "Bits per photon: how much better the image predicts photons that it was not made of than a "
    "flat field does. It is not clipped, so bright sources count.",
    "z compares the image, seen by the telescope once more, with the input. Far above 0 it "
    "contradicts the photons; far below 0 it has copied their noise.",
    "Sources are found by one detector with the same settings on every image, judged against the "
    "photon noise of the observation.",
)


def choose_shown(metrics: Metrics) -> list[int]:
    """Numbers of the fields to look at: the worst of the last contender, the middle, the best."""
    last = metrics["methods"][-1]["name"]
    order = np.argsort([field["figures"][last]["PSNR"] for field in metrics["fields"]])
    chosen = [*order[:WORST], order[len(order) // 2], order[-1]]
    return [int(number) for number in dict.fromkeys(chosen)][:SHOWN]


def choose_contenders(metrics: Metrics, contenders: Sequence[Contender]) -> list[Contender]:
    """Whose images are shown: all networks, and the best methods, or the page would grow large."""
    summary = metrics["summary"]
    methods = [one for one in contenders if not one.ours and one.name != "input"]
    best = sorted(methods, key=lambda one: -summary[one.name]["PSNR"][0])[:SHOWN_METHODS]
    return [one for one in contenders if one.ours or one in best or one.name == "input"]


def figures_of(metrics: Metrics, name: str) -> dict[str, tuple[float | None, float | None]]:
    """Figures of the contender of a name with their errors: of images, sources and trials."""
    found = {key: tuple(pair) for key, pair in metrics["summary"][name].items()}
    for key, pair in metrics.get("sources", {}).get(name, {}).items():
        found[key] = tuple(pair)
    snr = metrics.get("sources", {}).get("input", {}).get("snr", [None])[0]
    if snr and found.get("snr", (None,))[0]:
        found["snr_f"] = (found["snr"][0] / snr, None)
    if "invented" in metrics:
        found["invented"] = tuple(metrics["invented"][name])
    if "pairs" in metrics:
        found["d50"] = (metrics["pairs"][name]["1"]["d50_both"], None)
    return found


def table(metrics: Metrics) -> str:
    """Summary for a terminal."""
    rows = {one["name"]: figures_of(metrics, one["name"]) for one in metrics["methods"]}
    keys = [key for key in TEXT if any(key in row for row in rows.values())]
    wide = max(len(name) for name in rows)
    lines = [" " * wide + "".join(f"{COLUMNS[key].label:>19}" for key in keys)]
    for name, row in rows.items():
        cells = "".join(f"{_cell(row.get(key), COLUMNS[key].digits):>19}" for key in keys)
        lines.append(f"{name:<{wide}}{cells}")
    return "\n".join(lines)


def _cell(pair: tuple[float | None, float | None] | None, digits: int) -> str:
    if pair is None or pair[0] is None:
        return "-"
    error = f" ± {pair[1]:.{digits}f}" if pair[1] else ""
    return f"{pair[0]:.{digits}f}{error}"


def make_page(
    metrics: Metrics,
    shown: Sequence[Field],
    contenders: Sequence[Contender],
    *,
    beside: str = "",
) -> Page:
    """Content of the report.

    Parameters
    ----------
    metrics : dict
        What ``metrics.json`` holds.
    shown : sequence of Field
        Fields to look at, see `choose_shown`.
    contenders : sequence of Contender
        To make their images again.
    beside : str
        FITS image of another telescope, drawn beside the first of these fields that it lies in.

    Raises
    ------
    InputError
        For an image that cannot be used, or lies in none of the fields.
    """
    settings, found = metrics["settings"], metrics["set"]
    task = settings["task"]
    rows = [
        Row(
            one["name"],
            figures_of(metrics, one["name"]),
            contends=one["name"] != "input",
            ours=one["ours"],
            about=f"{one['name']}: {one['parameters']}",
        )
        for one in metrics["methods"]
    ]
    there = {key for row in rows for key in row.values}
    columns = [COLUMNS[key] for key in SUMMARY if key in there]
    drawn = choose_contenders(metrics, contenders)
    pictures = [show(field, drawn, task, settings["padding"]) for field in shown]
    overlay = find_overlay(beside, shown, pictures) if beside else []
    ceilings = [row.values["ceiling_PSNR"][0] for row in rows if "ceiling_PSNR" in row.values]
    return Page(
        title=f"xmm_jax {task}: {found['fields']} fields, {settings['protocol']}",
        verdict=verdict(metrics),
        limit=f"Limit set by the noise of the target: {ceilings[0]:.2f} dB." if ceilings else "",
        paper_note=f"Columns of {PAPER_TABLE[task]} of Sweere et al. 2022, in its convention "
        f"({settings['padding']} padding). Its fields were others.",
        facts=facts(metrics),
        summary=(columns, rows),
        paper=([COLUMNS[key] for key in PAPER], rows),
        fields=field_table(metrics),
        shown=pictures,
        frame=(PN.shape[1], PN.shape[0]),
        figures=draw_figures(metrics) + overlay,
        how=list(HOW),
    )


def facts(metrics: Metrics) -> list[tuple[str, str]]:
    """What was judged, how, by which version."""
    settings, found = metrics["settings"], metrics["set"]
    drawn = f"simulator, {settings['preset']}, seed {settings['seed']}"
    return [
        ("protocol", settings["protocol"]),
        ("fields", f"{found['fields']}, digest {found['digest']}"),
        ("data", settings["data"] or drawn),
        ("made by", metrics["created_by"]),
        ("on", metrics["device"]),
    ]


def find_overlay(
    beside: str, shown: Sequence[Field], pictures: Sequence[Shown]
) -> list[tuple[str, str, str]]:
    """Image of another telescope beside the first field that it lies in.

    Raises
    ------
    InputError
        For an image that cannot be used, or lies in none of the fields.
    """
    fault = InputError(f"{beside}: the fields have no sky coordinates; name real images by --data")
    for field, picture in zip(shown, pictures, strict=True):
        if field.wcs is None:
            continue
        images = {name: picture.images[name] for name in ("input", picture.right)}
        try:
            drawn = draw_overlay(images, field.wcs, beside)
        except InputError as error:
            fault = error
            continue
        note = f"{field.name}; contours of {picture.right} on every panel, square-root stretch."
        return [(f"Beside {Path(beside).name}", note, drawn)]
    raise fault


def verdict(metrics: Metrics) -> str:
    """One sentence: who is best, and how the last contender stands to it."""
    names = [one["name"] for one in metrics["methods"] if one["name"] != "input"]
    if not names:
        return "Only the input was judged."
    figure = "bits" if metrics["settings"]["protocol"] in ("disjoint", "thinned") else "PSNR"
    column = COLUMNS[figure]
    value = {name: metrics["summary"][name][figure][0] for name in ("input", *names)}
    best, last = max(names, key=lambda name: value[name]), names[-1]
    text = (
        f"By {column.label}, {best} is best: {value[best]:.{column.digits}f}, "
        f"{value[best] - value['input']:+.{column.digits}f} from the input."
    )
    if last == best:
        return text
    behind = value[best] - value[last]
    return f"{text} {last} stands {behind:.{column.digits}f} behind."


def field_table(metrics: Metrics) -> tuple[list[Column], list[Row]]:
    """PSNR of every contender on every field, the worst of the last contender first."""
    names = [one["name"] for one in metrics["methods"]]
    fields = sorted(metrics["fields"], key=lambda field: field["figures"][names[-1]]["PSNR"])
    rows = [
        Row(
            field["name"],
            {name: (field["figures"][name]["PSNR"], None) for name in names},
            contends=False,
        )
        for field in fields
    ]
    return [Column(name, name, "", 2) for name in names], rows


def show(field: Field, contenders: Sequence[Contender], task: str, padding: str) -> Shown:
    """Images of a field of a task, everybody's and the truth, residuals; padding as for PSNR."""
    truth = prepare_truth(field, task)
    images: dict[str, np.ndarray] = {}
    residuals: dict[str, np.ndarray] = {}
    decibel = 0.0
    upscale = truth.rate.shape[0] // truth.counts.shape[0]
    seen = count_rate(truth.counts, truth.exposure, truth.valid)
    images["input"] = seen / upscale**2  # on its own, larger pixels
    for one in contenders:
        rate = np.maximum(one.estimate(field.sample), 0.0)
        figures, found = image_figures(rate, truth, task, padding=padding)
        decibel = figures["PSNR"]
        if one.name != "input":
            images[one.name] = rate
            residuals[one.name] = found.residual
    images[TRUTH if not truth.noisy else "target"] = truth.rate
    last = contenders[-1].name
    fine = {"input": seen.repeat(upscale, 0).repeat(upscale, 1) / upscale**2} | {
        name: image for name, image in images.items() if name != "input"
    }
    row = round(PN.axis[1] * upscale)
    return Shown(
        label=f"{field.name}: {decibel:.2f} dB",
        name=field.name,
        images=images,
        residuals=residuals,
        strip=draw_strip(fine, row=row, pixel_arcsec=PN.pixel_arcsec / upscale),
        left="input",
        right=last,
    )


def draw_figures(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Curves: completeness, purity, close pairs, noise, width of points."""
    drawn = []
    if "by_counts" in metrics:
        middle = np.sqrt(COUNTS_EDGES[:-1] * np.minimum(COUNTS_EDGES[1:], 2000.0)).tolist()
        for figure, text in (
            ("completeness", "Share of true sources that are found"),
            ("purity", "Share of found sources that are there"),
        ):
            bins = metrics["by_counts"].items()
            curves = {name: (middle, *_gaps(one[figure])) for name, one in bins}
            labels = {"xscale": "log", "xlabel": "counts in the input", "ylabel": figure}
            note = f"{text}, by their counts in the input."
            drawn.append(_figure(figure.capitalize(), note, curves, **labels))
    for ratio in ("1", "2", "5") if "pairs" in metrics else ():
        pairs = {name: curve[ratio] for name, curve in metrics["pairs"].items()}
        curves = {
            name: (one["separation"], *_gaps([one["both"], one["error"]]))
            for name, one in pairs.items()
        }
        labels = {"xlabel": "separation [arcsec]", "ylabel": "pairs parted", "ylim": (-0.05, 1.05)}
        note = f"Pairs with rates of 1 : {ratio}, the fainter of 100 counts, both members found."
        drawn.append(_figure(f"Close pairs 1 : {ratio}", note, curves, **labels))
    if metrics.get("noise"):
        curves = {name: (*spectrum, None) for name, spectrum in metrics["noise"].items()}
        labels = {"xlabel": "cycle/pixel", "ylabel": "power", "yscale": "log"}
        note = "Noise by scale, in the faint parts: smoothing takes it from the right."
        drawn.append(_figure("Noise", note, curves, **labels))
    if "shapes" in metrics:
        curves = {
            name: (
                [(ring["from_arcmin"] + ring["to_arcmin"]) / 2 for ring in rings],
                *_gaps([[ring["fwhm"] for ring in rings], None]),
            )
            for name, rings in metrics["shapes"].items()
        }
        labels = {"xlabel": "off-axis angle [arcmin]", "ylabel": "FWHM [arcsec]"}
        note = "Stacks of isolated sources of 100 counts or more; below the truth: over-sharpened."
        drawn.append(_figure("Width of point sources", note, curves, **labels))
    return drawn


def _figure(title: str, note: str, curves: dict[str, Any], **labels: Any) -> tuple[str, str, str]:
    return title, note, draw_svg(lambda axes: plot_curves(axes, curves, **labels))


def _gaps(pair: Sequence[Any]) -> tuple[list[float], list[float] | None]:
    """Values and errors with NaN for what is not defined."""
    values, errors = (
        None if one is None else [np.nan if v is None else float(v) for v in one] for one in pair
    )
    return values or [], errors
