"""Error bars of a trained network, calibrated on simulated fields and checked on others.

`calibrate` draws fields of 100 ks that neither training nor benchmarks see, thins them to shorter
exposures, and compares what the network says with the noise-free truth. All fields together give
the quantiles; how well such quantiles hold is measured a tenth of the fields at a time, with those
of the other nine tenths.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve

from xmm_jax.aperture import LIVE_SHARE, ROOT_SCATTER, disc
from xmm_jax.coverage import Points, measure
from xmm_jax.data.pairs import crop_frame, pad_sample
from xmm_jax.data.thinning import generator, thin
from xmm_jax.errors import InputError
from xmm_jax.fields import draw_samples
from xmm_jax.instrument.camera import PN, angle_map
from xmm_jax.log import progress
from xmm_jax.losses.pixel import stated_width
from xmm_jax.model import Model
from xmm_jax.models.intervals import Bins, Intervals, count_scores, fit
from xmm_jax.models.stretch import to_target
from xmm_jax.presets import PRESETS
from xmm_jax.protocols import FIRST
from xmm_jax.step import respond

# Behind the fields that methods are tuned on, before those that streams validate on.
FIRST_FIELD = FIRST["tuning"] + 2**28
# With background no pixel is faint but in a few fields at the shortest exposures.
BINS = {"sr": Bins(), "dn": Bins(counts=Bins().counts[2:])}
FOLDS = 10
CHECKED = 20_000  # pixels of a field at one exposure that are kept for the check; all calibrate
APERTURE_BINS = Bins(counts=(10.0, 30.0, 100.0, 300.0, 1000.0), angle_arcmin=(8.0,))

Sample = Mapping[str, Any]


class Calibrated(NamedTuple):
    """Error bars of a model.

    Attributes
    ----------
    pixels : Intervals
        Of a pixel: ``u`` and ``sigma`` as the network says.
    apertures : Intervals
        Of the counts N within 15" about a peak: ``u = sqrt(N)``, ``sigma = 1/2``.
    report : dict
        Coverage on fields that the error bars were not made from, `xmm_jax.coverage.measure`; JSON
        types.
    """

    pixels: Intervals
    apertures: Intervals
    report: dict[str, Any]


def calibrate(model: Model, *, fields: int = 800, seed: int = 0, exposures: int = 1) -> Calibrated:
    """Calibrate the error bars of a model on simulated fields, and say how well they hold.

    Parameters
    ----------
    model : Model
        Trained in square roots of counts, with a stated width.
    fields : int
        Fields to draw.
    seed : int
        Of the fields and of the thinning.
    exposures : int
        Exposures of each field, from 5 to 100 ks, in equal steps of the logarithm but for a random
        offset each.

    Raises
    ------
    InputError
        If the model states no width, or there are fewer than two fields.
    """
    return calibrate_on(
        model,
        draw_fields(model.task, fields, seed=seed),
        fields=fields,
        seed=seed,
        exposures=exposures,
    )


def calibrate_on(
    model: Model, samples: Iterable[Sample], *, fields: int, seed: int = 0, exposures: int = 1
) -> Calibrated:
    """Do the same on given fields.

    Parameters
    ----------
    model, seed, exposures
        As for `calibrate`.
    samples : iterable of mapping
        Pairs of `xmm_jax.data.schema` on the native frame, with noise-free targets.
    fields : int
        Number of them.

    Raises
    ------
    InputError
        As `calibrate`.
    """
    if model.scale.clips or getattr(model.network, "outputs", 1) != 2:
        raise InputError(
            f"this model for {model.task} states no width: error bars need one trained with "
            "--network.stretch=counts --network.spread --loss=...+spread"
        )
    if fields < 2 or exposures < 1:
        raise InputError(
            f"{fields} fields at {exposures} exposures: calibration needs at least 2 at 1"
        )
    drawn = progress(samples, total=fields, label="calibrating")
    kinds = {"pixels": BINS[model.task], "apertures": APERTURE_BINS}
    looks = (look(model, sample, seed=seed, exposures=exposures) for sample in drawn)
    law, report = calibrate_and_check(looks, kinds, folds=min(FOLDS, fields), seed=seed)
    report |= {"seed": seed, "exposures": exposures}
    return Calibrated(law["pixels"], law["apertures"], report)


def calibrate_and_check(
    looks: Iterable[dict[str, list[Points]]],
    kinds: Mapping[str, Bins],
    *,
    folds: int,
    seed: int,
) -> tuple[dict[str, Intervals], dict[str, Any]]:
    """Error bars from all fields, and how well those from the other fields hold on each.

    Parameters
    ----------
    looks : iterable of dict
        One of `look` for each field.
    kinds : mapping of str to Bins
        What points are alike, of each kind in `looks`.
    folds : int
        Parts of the fields; each is judged by the error bars of the other parts.
    seed : int
        Of the choice of points that are judged.

    Returns
    -------
    law : dict of str to Intervals
        From all fields.
    report : dict
        From `xmm_jax.coverage.measure`.
    """
    scores: dict[str, list[Any]] = {kind: [0] * folds for kind in kinds}
    reached: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    kept = []
    for number, points in enumerate(looks):
        for kind, bins in kinds.items():
            histogram = sum(count_scores(*one, bins=bins) for one in points[kind])
            scores[kind][number % folds] = scores[kind][number % folds] + histogram
            reached[kind].append(np.sum(histogram, axis=-1))
        draw = generator(seed, "check", number)
        kept.append({kind: [_some(one, draw) for one in points[kind]] for kind in kinds})

    def law(without: int | None = None) -> dict[str, Intervals]:
        parts = [part for part in range(folds) if part != without]
        used = [number for number in range(len(kept)) if number % folds != without]
        return {
            kind: fit(
                np.sum([scores[kind][part] for part in parts], axis=0),
                np.stack([reached[kind][number] for number in used]),
                bins=bins,
            )
            for kind, bins in kinds.items()
        }

    others = [law(without=part) for part in range(folds)]
    report = measure(kept, (others[number % folds] for number in range(len(kept))), kinds)
    return law(), report | {"folds": folds}


def _some(points: Points, draw: np.random.Generator) -> Points:
    """Points to judge, so that those of all fields fit into memory."""
    number = len(points.u)
    if number <= CHECKED:
        return points
    chosen = draw.choice(number, CHECKED, replace=False)
    return Points(*(values[chosen].astype(np.float32) for values in points))


def draw_fields(task: str, fields: int, *, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Fields of 100 ks with noise-free targets, as in training but out of its reach.

    Parameters
    ----------
    task : str
        Decides upscale and background.
    fields : int
        How many.
    seed : int
        Seed of the draws.
    """
    config = dataclasses.replace(PRESETS[task]["small"].simulated, fields=fields)
    names = [f"sim-{config.sky}-{seed}-{FIRST_FIELD + i}" for i in range(fields)]
    return draw_samples(names, task=task, config=config, seed=seed)


def look(model: Model, sample: Sample, *, seed: int, exposures: int) -> dict[str, list[Points]]:
    """What the network says of one field at several exposures, and the truth.

    Parameters
    ----------
    model, seed, exposures
        As for `calibrate`.
    sample : mapping
        The field.

    Returns
    -------
    dict of str to list of Points
        ``pixels`` and ``apertures``, one for each exposure.
    """
    s = model.scale.upscale
    padded = pad_sample(sample)
    points: dict[str, list[Points]] = {"pixels": [], "apertures": []}
    images = {name: array for name, array in padded.items() if np.ndim(array) == 3}
    for turn in range(exposures):
        draw = generator(seed, "calibrate", sample["source_id"], turn)
        share = PRESETS[model.task]["small"].thin ** ((turn + draw.random()) / exposures)
        thinned = images | {
            "counts": thin(draw, images["counts"], share),
            "exposure": images["exposure"] * np.float32(share),
        }
        batch = {name: array[None] for name, array in thinned.items()}
        both = _compare(model.network, model.scale, model.params, batch, symmetric=model.symmetric)
        outputs, truth = (np.asarray(crop_frame(image, s)[0]) for image in both)
        live, exposure = (
            sample[name][..., 0].repeat(s, 0).repeat(s, 1) for name in ("valid", "exposure")
        )
        live = live & sample["target_valid"][..., 0]
        sigma = np.asarray(stated_width(outputs[..., 1]))
        seen = Points(truth[..., 0], outputs[..., 0], sigma, exposure * share, angle_map(PN, s))
        # Neighbours err together: one pixel of the finer grid for each of the input is enough.
        row, column = draw.integers(0, s, 2)
        some = tuple(image[row::s, column::s][live[row::s, column::s]] for image in seen)
        points["pixels"].append(Points(*some))
        points["apertures"].append(apertures(seen, live, s))
    return points


def apertures(seen: Points, live: np.ndarray, upscale: int) -> Points:
    """Counts that the input should have within 15" about every peak of the prediction.

    Parameters
    ----------
    seen : Points
        Images [s*y, s*x].
    live : ndarray of bool
        Pixels that count, same shape; an aperture needs half of its pixels.
    upscale : int
        s.

    Returns
    -------
    Points
        Square roots of counts, background and all; the stated width is that of a Poisson count.
    """
    inside = disc(upscale).astype(float)
    counts = np.where(live, [seen.truth**2, seen.u**2, np.ones_like(seen.u)], 0.0)
    truth, said, area = fftconvolve(counts, inside[None], mode="same", axes=(1, 2))
    shown = np.where(live, seen.u, 0.0)
    # The very edge of a plateau is as good as its middle; there are none in practice.
    peak = live & (shown == maximum_filter(shown, size=len(inside)))
    peak &= area >= LIVE_SHARE * inside.sum()
    root, u = (np.sqrt(np.maximum(image[peak], 0.0)) / upscale for image in (truth, said))
    return Points(root, u, np.full(u.shape, ROOT_SCATTER), seen.exposure[peak], seen.angle[peak])


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames=("symmetric",))
def _compare(
    network: Any, scale: Any, params: Any, batch: Mapping[str, Any], *, symmetric: bool
) -> tuple[jax.Array, jax.Array]:
    """What the network says and what it should say, network units."""
    exposure, valid = batch["exposure"], batch["target_valid"]
    target = to_target(scale, batch["target"], batch["target_exposure"], valid, exposure)
    return respond(network, scale, params, batch, symmetric=symmetric), target
