"""Whether an image is like those a network learned from, and what to say where it is not.

The reader refuses other cameras, modes, bands and grids (`xmm_jax.data.eligibility`). Here the
observation itself is held against the training set: exposure, brightness, live pixels, filter.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xmm_jax.data.observation import Observation
from xmm_jax.errors import InputError

# So far outside, an answer says more about the network than about the sky.
REFUSED_FACTOR = 10.0
# What a training set covers, it covers a little beyond its ends too.
SLACK = 1.25

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Domain:
    """What the inputs of a training set were like; None: not known.

    Attributes
    ----------
    exposure_s : tuple of float
        Least and greatest exposure [s].
    mean_rate : tuple of float or None
        Of the live pixels of a field, faintest and brightest field [count/s/pixel].
    peak_rate : float or None
        Brightest pixel [count/s].
    live_share : tuple of float or None
        Share of the pixels of the frame that are alive.
    filters : tuple of str
        Optical filters; empty: not known.
    """

    exposure_s: Range
    mean_rate: Range | None = None
    peak_rate: float | None = None
    live_share: Range | None = None
    filters: tuple[str, ...] = ()


def measure_domain(samples: Iterable[Mapping[str, Any]], exposure_s: Range) -> Domain:
    """Domain of a set of samples.

    Parameters
    ----------
    samples : iterable of mapping
        ``counts``, ``exposure``, ``valid`` and ``filter`` of `xmm_jax.data.schema`.
    exposure_s : tuple of float
        Exposures at which they are used [s].
    """
    means, peaks, shares, filters = [], [], [], set()
    for sample in samples:
        live = sample["valid"] & (sample["exposure"] > 0)
        rates = sample["counts"][live] / sample["exposure"][live]
        means.append(float(rates.mean()))
        peaks.append(float(rates.max()))
        shares.append(float(live.mean()))
        filters.add(str(sample["filter"]))
    return Domain(
        exposure_s,
        mean_rate=(min(means), max(means)),
        peak_rate=max(peaks),
        live_share=(min(shares), max(shares)),
        filters=tuple(sorted(filters)),
    )


def from_dict(values: Mapping[str, Any]) -> Domain:
    """Domain of the values of its JSON form, ``dataclasses.asdict``.

    Raises
    ------
    TypeError
        If it has other entries.
    """
    named: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Domain(**named)


def compare(observation: Observation, domain: Domain) -> tuple[str, ...]:
    """What an observation has that the training set had not.

    Parameters
    ----------
    observation : Observation
        The image.
    domain : Domain
        Of the model.

    Returns
    -------
    tuple of str
        A line for each; empty if there is nothing to say.

    Raises
    ------
    InputError
        If an answer would mean nothing: no photons, or an exposure or brightness ten times outside.
    """
    live = observation.valid & (observation.exposure > 0)
    photons = int(observation.counts[live].sum())
    if photons == 0:
        raise InputError("there are no photons in the live pixels; is this the right image?")
    seconds = float(observation.exposure[live].max())
    counts, exposure = observation.counts[live], observation.exposure[live]
    # One photon in a short exposure is a high rate, but no bright pixel.
    certain = (counts - 4 * np.sqrt(counts + 1)) / exposure
    mean, share = float((counts / exposure).mean()), float(live.mean())
    peaks = None if domain.peak_rate is None else (0.0, domain.peak_rate)
    checks = [
        ("exposure", seconds / 1e3, _scaled(domain.exposure_s, 1e-3), "ks", True),
        ("mean rate", 1e6 * mean, _scaled(domain.mean_rate, 1e6), "count/Ms/pixel", True),
        ("brightest pixel", max(0.0, float(certain.max())), peaks, "count/s", False),
        ("live share of the frame", share, domain.live_share, "", False),
    ]
    lines = [line for check in checks if (line := _outside(*check))]
    known = observation.filter.rstrip("12")  # thin1 and thin2 are the same foil
    if domain.filters and observation.filter != "unknown" and known not in domain.filters:
        trained = ", ".join(domain.filters)
        lines.append(f"filter {observation.filter}, but the model was trained with {trained}")
    return tuple(lines)


def _outside(name: str, value: float, span: Range | None, unit: str, refuse: bool) -> str:
    """A line if a value is outside of a range, which may be too far for an answer."""
    if span is None:
        return ""
    low, high = span
    if low / SLACK <= value <= high * SLACK:
        return ""
    trained = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    line = f"{name} {value:.3g} {unit}".rstrip() + f", but the model was trained at {trained}"
    if refuse and not low / REFUSED_FACTOR <= value <= high * REFUSED_FACTOR:
        raise InputError(f"{line}: too far for an answer; --force gives one all the same")
    return f"{line}; trust the result less"


def _scaled(span: Range | None, factor: float) -> Range | None:
    return span and (span[0] * factor, span[1] * factor)
