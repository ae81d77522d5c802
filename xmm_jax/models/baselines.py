"""Classical opponents by name; to add one: one function, one line of `METHODS`.

A method is ``function(counts, exposure, valid, *, upscale, **parameters)`` on numpy images [y, x]:
counts [count], live time [s], True = use. It returns the rate [count/s/pixel of the result],
float32 [s y, s x], background included, 0 where dead, with the total rate of the live pixels.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.models import denoisers
from xmm_jax.models.background import subtract_background
from xmm_jax.models.interpolation import interpolate
from xmm_jax.models.richardson_lucy import richardson_lucy, richardson_lucy_variant
from xmm_jax.models.smoothing import adaptive, gaussian, median
from xmm_jax.models.starlet import starlet

__all__ = ["METHODS", "Method", "blend", "missing", "run", "subtract_background", "tune"]

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """One classical method.

    Attributes
    ----------
    function : callable
        What it does.
    parameters : dict
        Its parameters, tuned with `tune` on simulated fields of 20 ks with the noise-free rate as
        target (docs/evaluation.md).
    grid : dict of str to tuple
        Values that `tune` tries.
    needs : tuple of str
        Libraries beyond the core dependencies, keys of `denoisers.EXTRAS`.
    given : tuple of str
        Parameters that depend on the instrument, so the caller must pass them.
    finer : dict
        What of them differs where the target has finer pixels and half the PSF.
    """

    function: Callable[..., np.ndarray]
    parameters: Parameters = field(default_factory=dict)
    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    finer: Parameters = field(default_factory=dict)


def run(
    name: str,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    **parameters: Any,
) -> np.ndarray:
    """Apply a method to an observation.

    Parameters
    ----------
    name : str
        Key of `METHODS`.
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side.
    **parameters
        Instead of those of the method.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x], background included.

    Raises
    ------
    InputError
        For an unknown method or parameter, or a library that is not installed.
    """
    method = find(name)
    known = {*method.parameters, *method.given}
    if unknown := sorted(parameters.keys() - known):
        raise InputError(
            f"method {name!r} has no parameter {unknown[0]!r}; it has {', '.join(sorted(known))}"
        )
    if absent := [wanted for wanted in method.given if wanted not in parameters]:
        raise InputError(f"method {name!r} needs to be given {', '.join(absent)}")
    own = method.parameters | (method.finer if upscale > 1 else {})
    return method.function(counts, exposure, valid, upscale=upscale, **(own | parameters))


def find(name: str) -> Method:
    """Method of a name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in METHODS:
        raise InputError(f"method {name!r} is unknown; choose one of {', '.join(METHODS)}")
    return METHODS[name]


def missing(name: str) -> str:
    """Why a method cannot run here, as one line; empty if it can."""
    try:
        for module in find(name).needs:
            denoisers.load(module)
    except InputError as error:
        return f"{name}: {error}"
    return ""


def blend(
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    upscale: int,
    weight: float,
    method: str,
    parameters: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Weight times the input plus the rest times another method.

    Where the target of exposure T holds the photons of the input of exposure t, the best guess is
    t / T of the input plus the rest of the rate: 0.4 for 20 in 50 ks.

    Parameters
    ----------
    counts, exposure, valid : ndarray
        Counts [count], live time [s], True = use; [y, x].
    upscale : int
        Pixels of the result per pixel and side.
    weight : float
        Share of the input, 0 to 1.
    method : str
        Key of `METHODS`.
    parameters : mapping, optional
        Of that method, instead of its own.

    Returns
    -------
    ndarray
        Rate [count/s/pixel of the result], float32 [s y, s x].
    """
    observed = interpolate(counts, exposure, valid, upscale=upscale)
    other = run(method, counts, exposure, valid, upscale=upscale, **(parameters or {}))
    return (weight * observed + (1.0 - weight) * other).astype(np.float32)


def tune(
    name: str,
    pairs: Sequence[Mapping[str, Any]],
    score: Callable[[np.ndarray, Mapping[str, Any]], float],
    **given: Any,
) -> Parameters:
    """Parameters of a method that score best on validation pairs, out of its grid.

    Parameters
    ----------
    name : str
        Key of `METHODS`.
    pairs : sequence of mapping
        Each with ``counts``, ``exposure``, ``valid`` [y, x] and ``target`` [s y, s x].
    score : callable
        ``score(rate, pair)``, the larger the better.
    **given
        Parameters that are not to be tuned.

    Returns
    -------
    dict
        Best parameters; for a method without a grid its own.

    Raises
    ------
    InputError
        For an unknown method, no pairs, or a library that is not installed.
    """
    method = find(name)
    if not pairs:
        raise InputError(f"tuning {name!r} needs at least one pair; name a validation set")

    def mean_score(parameters: Parameters) -> float:
        return float(
            np.mean([score(_rate(name, pair, parameters | given), pair) for pair in pairs])
        )

    grid = {key: values for key, values in method.grid.items() if key not in given}
    tried = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    best = max(tried, key=mean_score) if len(tried) > 1 else {}
    return method.parameters | best | {key: given[key] for key in given if key not in method.given}


def _rate(name: str, pair: Mapping[str, Any], parameters: Parameters) -> np.ndarray:
    counts, exposure, valid = (pair[part] for part in ("counts", "exposure", "valid"))
    upscale = pair["target"].shape[0] // counts.shape[0]
    return run(name, counts, exposure, valid, upscale=upscale, **parameters)


METHODS = {
    "input": Method(interpolate, {"kernel": "nearest"}),
    "bilinear": Method(interpolate, {"kernel": "bilinear"}),
    "bicubic": Method(interpolate, {"kernel": "bicubic"}),
    "lanczos": Method(interpolate, {"kernel": "lanczos"}),
    "gaussian": Method(
        gaussian,
        {"sigma": 1.2},
        {"sigma": (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)},
        finer={"sigma": 1.0},
    ),
    "median": Method(median, {"size": 3}, {"size": (3, 5, 7)}),
    "adaptive": Method(
        adaptive, {"snr": 8.0}, {"snr": (3.0, 5.0, 8.0, 12.0, 16.0)}, finer={"snr": 5.0}
    ),
    "wiener": Method(denoisers.wiener, {"size": 5}, {"size": (3, 5, 7, 9)}),
    "tv": Method(
        denoisers.total_variation,
        {"weight": 0.8},
        {"weight": (0.3, 0.45, 0.6, 0.8, 1.0, 1.25)},
        needs=("skimage.restoration",),
        finer={"weight": 0.45},
    ),
    "nlm": Method(
        denoisers.non_local_means,
        {"strength": 0.6},
        {"strength": (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)},
        needs=("skimage.restoration",),
        finer={"strength": 0.2},
    ),
    "bm3d": Method(denoisers.bm3d, {"sigma": 1.0}, {"sigma": (0.9, 1.0, 1.2)}, needs=("bm3d",)),
    "starlet": Method(
        starlet, {"threshold": 4.0, "scales": 5}, {"threshold": (2.5, 3.0, 3.5, 4.0, 5.0)}
    ),
    "rl": Method(
        richardson_lucy,
        {"iterations": 8},
        {"iterations": (2, 3, 5, 8, 12, 20)},
        finer={"iterations": 5},
    ),
    "rl_variant": Method(
        richardson_lucy_variant,
        {"iterations": 12},
        {"iterations": (2, 3, 5, 8, 12, 20)},
        given=("forward", "adjoint", "restore"),
        finer={"iterations": 5},
    ),
    "blend": Method(
        blend,
        {"weight": 0.4, "method": "bm3d", "parameters": None},
        {"weight": (0.0, 0.2, 0.4, 0.6)},
        needs=("bm3d",),
    ),
}
"""Classical methods by name."""
