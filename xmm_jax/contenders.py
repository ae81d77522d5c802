"""Whoever turns an observation into a better image, under one call: networks, classical methods."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.config import TASKS
from xmm_jax.data.pairs import crop_frame, pad_sample
from xmm_jax.errors import InputError
from xmm_jax.instrument.background import background_shapes
from xmm_jax.instrument.blur import build_blur
from xmm_jax.instrument.camera import PN
from xmm_jax.model import Model, load_model
from xmm_jax.models import baselines
from xmm_jax.models.background import subtract_background
from xmm_jax.models.interpolation import count_rate
from xmm_jax.simulator.presets import find_preset

Sample = Mapping[str, Any]
"""Pair of `xmm_jax.data.schema` on the native frame, images [y, x, 1]."""


@dataclass(frozen=True, eq=False)
class Contender:
    """One that takes part in an evaluation.

    Attributes
    ----------
    name : str
        What tables call it.
    estimate : callable
        Sample -> rate [count/s/pixel of the target], float32 [s y, s x], with background if and
        only if the target of the task has it. It looks at the input alone.
    parameters : dict
        What it was set to; JSON types.
    ours : bool
        Whether it is a network.
    """

    name: str
    estimate: Callable[[Sample], np.ndarray]
    parameters: dict[str, Any] = field(default_factory=dict)
    ours: bool = False


def network(path: str | Path, task: str, *, name: str = "") -> Contender:
    """A trained network.

    Parameters
    ----------
    path : str or Path
        Model or run folder.
    task : str
        What it must be for.
    name : str
        What tables call it; by default the name of the folder.

    Raises
    ------
    InputError
        If there is no model for the task.
    """
    model = load_model(path)
    if model.task != task:
        raise InputError(f"{path}: a model for {model.task}, not for --task={task}; choose another")
    size = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    about = {"parameters": size, "origin": model.origin}
    return Contender(
        name or Path(path).resolve().name, functools.partial(_apply, model), about, ours=True
    )


def _apply(model: Model, sample: Sample) -> np.ndarray:
    padded = pad_sample(sample)
    batch = {key: jnp.asarray(padded[key])[None] for key in ("counts", "exposure", "valid")}
    return np.asarray(crop_frame(model.predict(batch), model.scale.upscale))[0, ..., 0]


def classical(name: str, task: str, parameters: Mapping[str, Any] | None = None) -> Contender:
    """A classical method; where the target has no background, followed by taking it off.

    Parameters
    ----------
    name : str
        Key of `xmm_jax.models.baselines.METHODS`.
    task : str
        Decides upscale and background.
    parameters : mapping, optional
        Of the method, instead of its own.

    Raises
    ------
    InputError
        For an unknown method, or one whose library is missing.
    """
    method = baselines.find(name)
    if reason := baselines.missing(name):
        raise InputError(reason)
    chosen = method.parameters | dict(parameters or {})
    upscale = TASKS[task].upscale
    # The paper's row "input" keeps its background.
    keep = TASKS[task].target_background or name == "input"
    finish = _as_it_is if keep else _take_background

    def estimate(sample: Sample) -> np.ndarray:
        given: dict[str, Any] = dict(blurs(upscale)) if method.given else {}
        pair = {key: sample[key][..., 0] for key in ("counts", "exposure", "valid")}
        rate = baselines.run(name, *pair.values(), upscale=upscale, **chosen, **given)
        return finish(rate, pair)

    return Contender(name if keep else f"{name} - background", estimate, chosen)


def _as_it_is(rate: np.ndarray, pair: Sample) -> np.ndarray:
    return rate


def _take_background(rate: np.ndarray, pair: Sample) -> np.ndarray:
    shapes = background_shapes(PN)
    return subtract_background(rate, pair["exposure"], pair["valid"], shapes=shapes)


@functools.lru_cache(maxsize=2)
def blurs(upscale: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Blurs of the camera that change over the field, for deconvolution.

    Parameters
    ----------
    upscale : int
        Pixels of the target per pixel of the input and side.

    Returns
    -------
    dict of str to callable
        ``forward`` (PSF of the input), ``adjoint`` and ``restore`` (PSF of the target; that of the
        input where both have the same pixels), image [s y, s x] -> image [s y, s x].
    """
    preset = find_preset("physical")
    psf = {"half_width": preset.kernel_half_width, "core_scale": preset.core_scale}
    forward, adjoint = build_blur(PN, upscale, **psf)
    restore, _ = build_blur(PN, upscale, width=1 / upscale, **psf)
    return {"forward": forward, "adjoint": adjoint, "restore": restore}


def tuned(name: str, task: str, samples: Iterable[Sample]) -> Contender:
    """A classical method with the parameters that serve best on fields set aside for it.

    Best is the least squared error in the convention of the paper: rates clamped to the clip rate
    of the target, dead pixels zero.

    Parameters
    ----------
    name, task
        As for `classical`.
    samples : iterable of mapping
        Fields to tune on.
    """
    clip_rate = TASKS[task].target_clip_rate
    finish = _as_it_is if TASKS[task].target_background else _take_background

    def score(rate: np.ndarray, pair: Sample) -> float:
        return -float(np.mean((np.clip(finish(rate, pair), 0, clip_rate) - pair["target"]) ** 2))

    pairs = []
    for sample in samples:
        pair = {key: sample[key][..., 0] for key in ("counts", "exposure", "valid")}
        truth = count_rate(sample["target"], sample["target_exposure"], sample["target_valid"])
        pairs.append(pair | {"target": np.clip(truth[..., 0], 0, clip_rate)})
    given = blurs(TASKS[task].upscale) if baselines.find(name).given else {}
    return classical(name, task, baselines.tune(name, pairs, score, **given))
