"""One image denoised or super-resolved: arrays in, arrays out."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.aperture import counts_within
from xmm_jax.backprojection import conserve as back_projected
from xmm_jax.config import TASKS
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN, angle_map
from xmm_jax.losses.pixel import stated_width
from xmm_jax.model import Model, load_model
from xmm_jax.models.srflow import SRFlow
from xmm_jax.models.stretch import to_rate
from xmm_jax.nddata import Given, as_given, finer
from xmm_jax.onnx_backend import Backend, BackendName, find_backend
from xmm_jax.planes import DQ_CLIPPED, DQ_DEAD, DQ_SATURATED, Enhanced
from xmm_jax.sampling import Sampling, check_sampling, draw_noise, respond_to, together
from xmm_jax.support import check_support, dq_bits
from xmm_jax.tiling import STEP, by_parts

MEMORY_GB = 2.0
LEAST_SIDE = 32
# Rows of the input that are turned into rates at once: what is needed on the way for all of a large
# image would take more memory than the image.
ROWS = 512
ONE_IMAGE = Sampling()
# Dead pixels around the image (rows, columns), which make the pn frame the 416 x 416 of training.
MARGIN = ((2, 3), (6, 7))


def enhance(
    counts: Any,
    exposure: Any = None,
    *,
    model: Model | str | Path = "",
    task: str = "",
    valid: np.ndarray | None = None,
    background: np.ndarray | None = None,
    conserve: bool = False,
    support: bool = False,
    max_memory: float = MEMORY_GB,
    backend: BackendName = "jax",
    samples: int = 0,
    temperature: float = 0.8,
    seed: int = 0,
) -> Enhanced:
    """Denoise or super-resolve one image.

    Parameters
    ----------
    counts : array, NDData or CCDData
        Counts per pixel, ``[y, x]``, any size from 32 x 32.
    exposure : array, number or Quantity, optional
        Live time [s if it has no unit], 0 where dead; by default ``EXPOSURE`` of the meta of an
        NDData.
    model : Model or path
        From `xmm_jax.load_model`, or the folder to load it from; empty: the one that comes with the
        package for the task.
    task : str
        ``sr`` or ``dn``; empty: whatever the model is for.
    valid : array of bool, optional
        True = use the pixel; all with exposure by default.
    background : array, optional
        Counts of background expected in the image [count]: ``net`` of the result is without it, and
        it takes the place of the fitted one where `conserve` and `support` need one.
    conserve : bool
        Correct the result until it predicts the input within its noise.
    support : bool
        Also ask the photons about every feature of the result. Both need the frame of the camera,
        411 x 403.
    max_memory : float
        What the network may use at once [GB]; larger images are answered in parts, which changes
        nothing else (`xmm_jax.tiling`).
    backend : str
        Who runs the network (`xmm_jax.onnx_backend.find_backend`); JAX compiles once for a shape,
        onnxruntime starts anew with each call.
    samples : int
        Of a flow: the result is the mean of so many skies drawn from it, with their standard
        deviation; 0: its one image.
    temperature, seed : float, int
        Of the samples, see `xmm_jax.sampling.Sampling`.

    Returns
    -------
    Enhanced
        On a grid ``model.scale.upscale`` times finer, registered with the input.

    Raises
    ------
    InputError
        If the arrays do not fit each other or are no counts, there is no exposure, or the model is
        none or for another task.
    """
    model = open_model(model, task)
    given = as_given(counts, exposure, valid, background)
    drawn = Sampling(samples, temperature, seed)
    said = answer_alone(model, given, backend, max_memory=max_memory, sampling=drawn)
    return finish(model, given, said, conserve=conserve, support=support)


def answer_alone(
    model: Model,
    image: Given,
    backend: BackendName,
    *,
    max_memory: float = MEMORY_GB,
    sampling: Sampling = ONE_IMAGE,
) -> np.ndarray:
    """What a network says of one image; the memory of who runs it is given back.

    Parameters
    ----------
    model, max_memory, sampling
        As for `answer`.
    image : Given
        The image.
    backend : str
        As for `xmm_jax.onnx_backend.find_backend`.

    Returns
    -------
    ndarray
        ``[s*y, s*x, outputs]``.
    """
    check_sampling(sampling, model, backend)
    # Nobody holds the backend when this returns: onnxruntime would keep what it used.
    found = find_backend(model, backend)
    return answer(model, [image], backend=found, max_memory=max_memory, sampling=sampling)[0]


def answer(
    model: Model,
    images: Sequence[Given],
    *,
    backend: Backend | None = None,
    max_memory: float = MEMORY_GB,
    sampling: Sampling = ONE_IMAGE,
) -> list[np.ndarray]:
    """What a network says of images of one shape, in its own units.

    Parameters
    ----------
    model : Model
        The network.
    images : sequence of Given
        Of one shape; as many of them at once as the memory allows.
    backend : Backend, optional
        Who runs the network, from `xmm_jax.onnx_backend.find_backend`; JAX by default.
    max_memory : float
        What the network may use at once [GB].
    sampling : Sampling
        Samples to draw; checked by `xmm_jax.sampling.check_sampling`.

    Returns
    -------
    list of ndarray
        ``[s*y, s*x, outputs]`` of each image; ``[s*y, s*x, 1 + samples]`` where samples are drawn,
        the first being the image whose rate is the mean of theirs.

    Raises
    ------
    InputError
        If an image or the memory is too small, or a sample is not finite.
    """
    shape = images[0].counts.shape
    if min(shape) < LEAST_SIDE:
        raise InputError(f"an image of {shape} pixels: at least {LEAST_SIDE} x {LEAST_SIDE} needed")
    names = ("counts", "exposure", "valid")
    padded = {
        name: np.stack([np.pad(getattr(one, name), MARGIN) for one in images]) for name in names
    }
    if not sampling.samples:
        return _answers(model, padded, shape, backend or Backend(model.respond), max_memory)
    size, drawn = padded["counts"].shape, []
    respond = Backend(functools.partial(respond_to, model))
    for number in range(sampling.samples):
        key = jax.random.fold_in(jax.random.key(sampling.seed), number)
        noise = draw_noise(
            key, size[1:], upscale=model.scale.upscale, temperature=sampling.temperature
        )
        same = np.broadcast_to(noise, (size[0], *noise.shape))
        drawn.append(_answers(model, padded | {"noise": same}, shape, respond, max_memory))
    return [
        together(np.concatenate(each, axis=-1), sampling.temperature)
        for each in zip(*drawn, strict=True)
    ]


def _answers(
    model: Model,
    padded: dict[str, np.ndarray],
    shape: tuple[int, ...],
    backend: Backend,
    max_memory: float,
) -> list[np.ndarray]:
    """Answers to padded images, cut to the shape they had; in parts where memory demands it."""
    s, reach = model.scale.upscale, model.network.reach
    mirrors = 4 if model.symmetric else 1
    bytes_each = mirrors * model.network.bytes_per_pixel * backend.memory
    window = int(np.sqrt(1e9 * max_memory / bytes_each))
    if window < 4 * reach:
        raise InputError(
            f"--max_memory={max_memory:g} GB is too little: a part of {4 * reach} x {4 * reach} "
            f"pixels takes {16e-9 * reach**2 * bytes_each:.2g} GB; give more"
        )
    number = len(padded["counts"])
    at_once = max(1, window**2 // padded["counts"][0].size)
    rows, columns = (
        slice(s * low, s * (low + n)) for (low, _), n in zip(MARGIN, shape, strict=True)
    )
    found: list[np.ndarray] = []
    for first in range(0, number, at_once):
        said = by_parts(
            lambda part: np.asarray(backend.respond(_with_channel(part))),
            {name: stack[first : first + at_once] for name, stack in padded.items()},
            side=window - 2 * reach,
            reach=reach,
            upscale=s,
            step=max(STEP, getattr(model.network, "multiple", 1)),
        )
        found.extend(said[:, rows, columns])
    return found


def _with_channel(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images as a network takes them; noise has axes of its own."""
    return {k: v if k == "noise" else v[..., None] for k, v in part.items()}


def finish(
    model: Model, given: Given, said: np.ndarray, *, conserve: bool = False, support: bool = False
) -> Enhanced:
    """Make a result of what a network says of an image.

    Parameters
    ----------
    model : Model
        The network.
    given : Given
        The image.
    said : ndarray
        From `answer`.
    conserve, support : bool
        As for `enhance`.
    """
    counts, exposure, valid, wcs, known = given
    flow = isinstance(model.network, SRFlow)
    own, errors = _decoded(model, said, exposure)
    rate, drawn = own, _sampled(model, said[..., 1:], exposure) if flow else None
    with_background = TASKS[model.task].target_background
    sky = {"with_background": with_background, "background": known}
    if conserve:
        corrected = back_projected(own, counts, exposure, valid, **sky)
        rate = corrected.rate.astype(np.float32)
        # The interval is about the answer of the network; a correction moves it along.
        moved = np.divide(rate, own, out=np.ones_like(own), where=own > 0)
        errors *= moved
        drawn = None if drawn is None else drawn * moved
    dq = _quality(model, counts, exposure, valid, rate)
    checked = None
    if support:
        checked = check_support(rate, counts, exposure, valid, **sky)
        if model.apertures is not None:
            places = checked.features["x_out"], checked.features["y_out"]
            fluxes = counts_within(rate, exposure, valid, places, model.apertures)
            checked = dataclasses.replace(checked, features=checked.features | fluxes)
        dq |= dq_bits(checked)
    low, high = errors if len(errors) else (None, None)
    net = None
    if with_background and known is not None:
        net = rate - np.divide(known, exposure, out=np.zeros_like(rate), where=valid)
    fine = finer(wcs, model.scale.upscale)
    found = {} if drawn is None else {"std": drawn.std(0, ddof=1), "samples": drawn}
    return Enhanced(rate, dq, low, high, net=net, support=checked, wcs=fine, **found)


def open_model(model: Model | str | Path, task: str) -> Model:
    """Load a model where only its folder or its task is given, and check what it is for.

    Raises
    ------
    InputError
        If it is for another task, or no model, or neither folder nor task is given.
    """
    if model == "" and not task:
        raise InputError("say --task=sr (finer pixels, no background) or --task=dn (less noise)")
    model = task if model == "" else model
    loaded = model if isinstance(model, Model) else load_model(model)
    if task and task != loaded.task:
        name = "the model is" if isinstance(model, Model) else f"{model}:"
        raise InputError(
            f"{name} a model for {loaded.task}, not for --task={task}; choose another of either"
        )
    return loaded


def _decoded(model: Model, said: np.ndarray, exposure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rate [s*y, s*x], and its lower and upper error [2, s*y, s*x], or none; [count/s/pixel]."""
    s = model.scale.upscale
    angle = angle_map(PN, s) if exposure.shape == PN.shape else None
    rate = np.empty(said.shape[:2], np.float32)
    errors = np.empty((2 if model.intervals else 0, *rate.shape), np.float32)
    for first in range(0, len(exposure), ROWS):
        part, seconds = said[s * first :][: s * ROWS], exposure[first:][:ROWS]
        rows = slice(s * first, s * first + len(part))
        rate[rows] = own = _rates(model, part[..., 0], seconds)
        if model.intervals is not None:
            width, fine = np.asarray(stated_width(part[..., 1])), seconds.repeat(s, 0).repeat(s, 1)
            around = None if angle is None else angle[rows]
            low, high = model.intervals.bounds(part[..., 0], width, fine, around)
            errors[0, rows] = np.maximum(own - _rates(model, low, seconds), 0)
            errors[1, rows] = np.maximum(_rates(model, high, seconds) - own, 0)
    return rate, errors


def _sampled(model: Model, samples: np.ndarray, exposure: np.ndarray) -> np.ndarray | None:
    """Rates of samples in network units, ``[n, s*y, s*x]``, or None where there are none."""
    if not samples.shape[-1]:
        return None
    each = np.moveaxis(samples, -1, 0)
    return np.stack([_rates(model, one, exposure) for one in each]).astype(np.float32)


def _rates(model: Model, image: np.ndarray, exposure: np.ndarray) -> np.ndarray:
    """Rate of an image in network units [count/s/pixel], 0 where there is no exposure."""
    s = model.scale.upscale
    rates = to_rate(model.scale, jnp.asarray(image)[..., None], jnp.asarray(exposure)[..., None])
    return np.where(exposure.repeat(s, 0).repeat(s, 1) > 0, np.asarray(rates)[..., 0], 0.0)


def _quality(
    model: Model, counts: np.ndarray, exposure: np.ndarray, valid: np.ndarray, rate: np.ndarray
) -> np.ndarray:
    """Quality bits: dead, and where the units of the network end."""
    s = model.scale.upscale
    dq = np.where(valid, 0, DQ_DEAD).astype(np.uint8)
    dq = dq.repeat(s, 0).repeat(s, 1)
    if model.scale.clips:
        seen = np.divide(counts, exposure, out=np.zeros(counts.shape), where=valid)
        dq[(seen > model.scale.clip_rate).repeat(s, 0).repeat(s, 1)] |= DQ_CLIPPED
        dq[rate >= np.float32(model.scale.target_clip_rate) * (1 - 1e-6)] |= DQ_SATURATED
    return dq
