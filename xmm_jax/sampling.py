"""Samples of a flow for images of any size, and what they say together.

The noise of a sample is an image: as many numbers as the result has pixels, drawn for all of the
image at once. A window of it goes with a window of the input, so that an image in parts has no
seams (`xmm_jax.models.srflow.SRFlow.draw`).
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.model import NO_FLOW, Model
from xmm_jax.models.srflow import SRFlow
from xmm_jax.models.stretch import Scale, to_inputs
from xmm_jax.step import Batch


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How many samples to draw, and which.

    Attributes
    ----------
    samples : int
        Number of them; 0: none, the image at temperature 0.
    temperature : float
        Standard deviation of the latents, 0 to 1.
    seed : int
        Of the noise, which is the same for all images of one shape.
    """

    samples: int = 0
    temperature: float = 0.8
    seed: int = 0


def check_sampling(sampling: Sampling, model: Model, backend: str = "jax") -> None:
    """Refuse samples that cannot be drawn.

    Parameters
    ----------
    sampling : Sampling
        What is asked for.
    model : Model
        Who is asked.
    backend : str
        Who is to run the network.

    Raises
    ------
    InputError
        If the model is no flow, a number is impossible, or JAX is not to run the network.
    """
    if not sampling.samples:
        return
    if sampling.samples < 2:
        raise InputError(f"--samples={sampling.samples}: at least 2, or 0 for the one image")
    if not 0 <= sampling.temperature <= 1:
        raise InputError(f"--temperature={sampling.temperature:g}: 0 to 1; 0.8 is usual")
    if not isinstance(model.network, SRFlow):
        raise InputError(f"--samples={sampling.samples}: {NO_FLOW}")
    if backend == "onnxruntime":
        raise InputError("--samples with --backend=onnxruntime: only JAX runs a flow")


def draw_noise(
    key: jax.Array, shape: tuple[int, int], *, upscale: int, temperature: float
) -> np.ndarray:
    """Noise of one sample.

    Parameters
    ----------
    key : array
        Random key.
    shape : tuple of int
        Of the input (y, x).
    upscale : int
        Pixels of the result per pixel and side.
    temperature : float
        Standard deviation.

    Returns
    -------
    ndarray
        ``[y, x, s, s]``: of each pixel of the input that of its pixels of the result.
    """
    (y, x), s = shape, upscale
    return temperature * np.asarray(jax.random.normal(key, (y, x, s, s)))


def respond_to(model: Model, part: Batch) -> jax.Array:
    """As `Model.respond`, from noise as well.

    Parameters
    ----------
    model : Model
        A flow.
    part : mapping of str to array
        ``counts``, ``exposure`` and ``valid`` as there, and ``noise`` ``[b, y, x, s, s]``.
    """
    assert isinstance(model.network, SRFlow)
    return _respond(model.network, model.scale, model.params, part)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _respond(network: SRFlow, scale: Scale, params: Any, part: Batch) -> jax.Array:
    b, y, x, s, _ = part["noise"].shape
    noise = part["noise"].swapaxes(2, 3).reshape(b, s * y, s * x, 1)
    inputs = to_inputs(scale, part["counts"], part["exposure"], part["valid"])
    return network.draw(params, inputs, noise)


def together(samples: np.ndarray, temperature: float) -> np.ndarray:
    """Put before samples the image whose rate is the mean of theirs.

    Parameters
    ----------
    samples : ndarray
        Network units of the stretch ``counts``, ``[y, x, n]``.
    temperature : float
        To be named where it was too much.

    Returns
    -------
    ndarray
        ``[y, x, 1 + n]``.

    Raises
    ------
    InputError
        If a sample is not finite.
    """
    if not np.isfinite(samples).all():
        raise InputError(
            f"--temperature={temperature:g}: a sample is not finite, as happens where a flow "
            "cannot be undone; try a lower one"
        )
    # Rates are the squares of these units.
    mean = np.sqrt(np.mean(np.square(samples), axis=-1, keepdims=True, dtype=np.float64))
    return np.concatenate([mean.astype(np.float32), samples], axis=-1)
