"""One field judged, and what many of them amount to."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from xmm_jax.config import TASKS
from xmm_jax.contenders import Contender
from xmm_jax.instrument.camera import PN
from xmm_jax.metrics.depth import at_purity, depth
from xmm_jax.metrics.detection import Table
from xmm_jax.metrics.photometry import signal_to_noise
from xmm_jax.metrics.psf_stack import shape
from xmm_jax.metrics.sources import (
    ANGLE_EDGES,
    COUNTS_EDGES,
    LISTED_COUNTS,
    by_bins,
    figures,
    summarise,
)
from xmm_jax.protocols import Field, counts_digest, join_digests
from xmm_jax.scores import (
    RINGS_ARCMIN,
    image_figures,
    noise_power,
    prepare_truth,
    source_tables,
    stack_points,
)

PURITY = 0.95
TRUTH = "truth"


class Judged(NamedTuple):
    """What is known of one field.

    Attributes
    ----------
    name, protocol, digest : str
        Of the field.
    figures : dict of str to dict of str to float
        Figures by contender.
    tables : dict of str to dict
        Source tables by contender; empty without catalogue.
    stacks : dict of str to ndarray
        Stacks of point sources by contender, and of the truth [count/s/pixel]; empty without
        catalogue.
    spectra : dict of str to (ndarray, ndarray)
        Frequency and power of the noise by contender, from `xmm_jax.metrics.noise`; empty where
        the target has noise.
    """

    name: str
    protocol: str
    digest: str
    figures: dict[str, dict[str, float]]
    tables: dict[str, dict[str, Table]]
    stacks: dict[str, np.ndarray]
    spectra: dict[str, tuple[np.ndarray, np.ndarray]]


def judge_field(
    field: Field, contenders: Sequence[Contender], task: str, *, padding: str = "aligned"
) -> Judged:
    """Judge every contender on one field.

    Parameters
    ----------
    field : Field
        The field.
    contenders : sequence of Contender
        Who is judged.
    task, padding : str
        See `xmm_jax.scores.image_figures`.
    """
    truth = prepare_truth(field, task)
    judged = Judged(field.name, field.protocol, counts_digest(field), {}, {}, {}, {})
    known = truth.catalogue is not None
    if known:
        judged.stacks[TRUTH] = stack_points(truth.rate, truth)
    for one in contenders:
        start = time.perf_counter()
        rate = one.estimate(field.sample)
        seconds = time.perf_counter() - start
        row, _ = image_figures(rate, truth, task, padding=padding)
        judged.figures[one.name] = row | {"seconds": seconds}
        if not truth.noisy:
            judged.spectra[one.name] = noise_power(rate, truth)
        if known:
            judged.tables[one.name] = source_tables(rate, truth)
            judged.stacks[one.name] = stack_points(rate, truth)
    return judged


def amount(judged: Sequence[Judged], task: str, *, seed: int = 0) -> dict[str, Any]:
    """Summary of many fields.

    Parameters
    ----------
    judged : sequence of Judged
        At least one.
    task : str
        Size of the pixels.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``set``; ``summary``: mean and standard error over fields of every figure of every
        contender; ``fields``: every figure; ``noise``: mean frequency and power of the noise. With
        catalogues also ``sources`` (figures of `xmm_jax.metrics.sources.figures`, completeness and
        depth at a purity of 95 %, signal to noise, with bootstrap errors), ``by_counts``,
        ``by_off_axis`` and ``shapes`` of stacked point sources in rings of off-axis angle.
    """
    names = list(judged[0].figures)
    fields = [
        {"name": one.name, "protocol": one.protocol, "figures": one.figures} for one in judged
    ]
    result: dict[str, Any] = {
        "set": {"fields": len(judged), "digest": join_digests(one.digest for one in judged)},
        "summary": {name: _means([one.figures[name] for one in judged]) for name in names},
        "fields": fields,
    }
    result["noise"] = {
        name: np.mean([one.spectra[name] for one in judged if one.spectra], axis=0).tolist()
        for name in (names if any(one.spectra for one in judged) else ())
    }
    known = [one for one in judged if one.tables]
    if not known:
        return result
    key = jax.random.key(seed)
    for part, statistic in (
        ("sources", _source_figures),
        ("by_counts", lambda t, f: by_bins(t, f, column="counts", edges=COUNTS_EDGES)),
        ("by_off_axis", lambda t, f: by_bins(t, f, column="off_axis", edges=ANGLE_EDGES)),
    ):
        result[part] = {
            name: _pairs(summarise(key, [one.tables[name] for one in known], statistic=statistic))
            for name in names
        }
    pixel = PN.pixel_arcsec / TASKS[task].upscale
    result["shapes"] = {
        name: [
            shape(stamp, pixel) | {"from_arcmin": low, "to_arcmin": high}
            for stamp, low, high in zip(
                np.sum([one.stacks[name] for one in known], axis=0),
                RINGS_ARCMIN,
                RINGS_ARCMIN[1:],
                strict=False,
            )
        ]
        for name in (*names, TRUTH)
    }
    return result


def _source_figures(truth: Table, found: Table) -> dict[str, float]:
    bright = truth["counts"] >= LISTED_COUNTS
    columns = (("flux", "forced"), ("error", "error"), ("background", "background"))
    snr = signal_to_noise({name: truth[column][bright] for name, column in columns})
    pure = {
        "completeness_at_95": at_purity(truth, found, PURITY),
        "depth_at_95": depth(truth, found, PURITY),
        "snr": snr,
    }
    return figures(truth, found) | pure


def _pairs(summary: dict[str, tuple]) -> dict[str, list]:
    return {
        name: [np.asarray(value).tolist(), np.asarray(error).tolist()]
        for name, (value, error) in summary.items()
    }


def _means(rows: Sequence[dict[str, float]]) -> dict[str, list[float | None]]:
    """Mean and standard error of every figure over the fields that have it."""
    means: dict[str, list[float | None]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = np.array([row[name] for row in rows if np.isfinite(row.get(name, np.nan))])
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        means[name] = [float(values.mean()) if len(values) else None, error]
    return means
