"""Difference of what a fixed network sees in two images (Johnson, Alahi & Fei-Fei 2016).

Vojtekova et al. 2021 take "pre-trained networks for image classification" and name none. Here an
extractor is any function from images to features: VGG16 from a file up to relu2_2, the layer of
Johnson et al. for super-resolution, or random convolutions, which need no file.

Images in electrons/s span decades, and a network for photographs sees but one: both extractors are
given ``asinh(image / 0.01) / asinh(100 / 0.01)``, linear below the noise of a pixel, 1 at the
brightest pixels. That is our choice.
"""

import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.errors import InputError

Extractor = Callable[[jax.Array], tuple[jax.Array, ...]]
"""Images ``[b, y, x, 1]`` [electron/s] -> features, each ``[b, y', x', c]``."""

KNEE = 0.01
"""Where the stretch turns from linear to logarithmic [electron/s]: noise of a pixel in 500 s."""
BRIGHT = 100.0
"""What the stretch calls 1 [electron/s]: a full well of some 7e4 e- in some 700 s (WFC3/UVIS)."""

RANDOM_WIDTHS = (16, 32, 64)
"""Features of the three levels of random convolutions."""

VGG_LAYERS = (("features.0", "features.2"), ("features.5", "features.7"))
"""Convolutions of VGG16 up to relu2_2 as torchvision numbers them; a 2x2 maximum between."""
# Mean and width of the channels of ImageNet, as torchvision's documentation of its weights says.
IMAGENET_MEAN, IMAGENET_WIDTH = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def stretch(image: jax.Array) -> jax.Array:
    """``asinh(image / KNEE) / asinh(BRIGHT / KNEE)``, odd about 0; any shape, [electron/s]."""
    return jnp.asinh(image / KNEE) / math.asinh(BRIGHT / KNEE)


def perceptual(extractor: Extractor) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Loss from a feature extractor.

    Parameters
    ----------
    extractor : callable
        Of `random_extractor` or `vgg_extractor`, or any other.

    Returns
    -------
    callable
        From prediction and target ``[b, y, x, 1]`` [electron/s] to ``[b]``: mean squared
        difference of the features, the mean over levels of the mean over each.
    """

    def loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
        pairs = zip(extractor(prediction), extractor(target), strict=True)
        levels = [jnp.mean(jnp.square(a - b), axis=(1, 2, 3)) for a, b in pairs]
        return jnp.mean(jnp.stack(levels), axis=0)

    return loss


def random_extractor(key: jax.Array) -> Extractor:
    """Random convolutions: three levels of a 3x3 convolution, ReLU and the mean of 2x2 pixels.

    Weights are normal with variance 2 / (9 inputs), which keeps the size of what goes through (He
    et al. 2015, arXiv:1502.01852, equation 10); no biases.

    Parameters
    ----------
    key : array
        Random key: the same key gives the same features.

    Returns
    -------
    Extractor
        Three levels, at halves, quarters and eighths of the sides, rounded down; sides of 8 pixels
        or more.
    """
    inputs = (1, *RANDOM_WIDTHS[:-1])
    kernels = [
        jax.random.normal(one, (3, 3, n, m)) * math.sqrt(2 / (9 * n))
        for one, n, m in zip(jax.random.split(key, len(inputs)), inputs, RANDOM_WIDTHS, strict=True)
    ]

    def extractor(image: jax.Array) -> tuple[jax.Array, ...]:
        y, features = stretch(image), []
        for kernel in kernels:
            y = _pool(jax.nn.relu(_conv(y, kernel)), jax.lax.add) / 4
            features.append(y)
        return tuple(features)

    return extractor


def vgg_extractor(path: str | Path) -> Extractor:
    """First layers of VGG16 (Simonyan & Zisserman 2015), up to relu2_2.

    Parameters
    ----------
    path : path
        File .npz of ``features.0.weight`` [out, in, 3, 3], ``features.0.bias`` [out] and so on for
        2, 5 and 7, as in the state of torchvision's ``vgg16``.

    Returns
    -------
    Extractor
        One level, at half of the sides. The image is repeated for the three colours and brought
        to their mean and width in ImageNet.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a layer, or layers do not fit together.
    """
    blocks = _read(Path(path))

    def extractor(image: jax.Array) -> tuple[jax.Array, ...]:
        mean, width = (jnp.asarray(x)[None, None, None, :] for x in (IMAGENET_MEAN, IMAGENET_WIDTH))
        y = (jnp.repeat(stretch(image), 3, axis=-1) - mean) / width
        for place, block in enumerate(blocks):
            y = _pool(y, jax.lax.max) if place else y
            for kernel, bias in block:
                y = jax.nn.relu(_conv(y, jnp.asarray(kernel)) + bias[None, None, None, :])
        return (y,)

    return extractor


def _read(path: Path) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Kernels [3, 3, in, out] and biases of the blocks of VGG."""
    names = [f"{layer}.{kind}" for block in VGG_LAYERS for layer in block
             for kind in ("weight", "bias")]  # fmt: skip
    remedy = f"make an .npz with {names[0]} to {names[-1]} of torchvision's vgg16"
    try:
        with np.load(path) as file:
            found = {name: file[name].astype(np.float32) for name in names if name in file}
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise InputError(
            f"{path}: cannot be read as weights of VGG16 ({error}); {remedy}"
        ) from None
    if missing := [name for name in names if name not in found]:
        raise InputError(f"{path}: {missing[0]} is missing; {remedy}")
    channels, blocks = 3, []
    for block in VGG_LAYERS:
        blocks.append([])
        for layer in block:
            kernel, bias = found[f"{layer}.weight"], found[f"{layer}.bias"]
            if kernel.shape != (len(bias), channels, 3, 3):
                raise InputError(
                    f"{path}: {layer}.weight is {kernel.shape}, not {(len(bias), channels, 3, 3)}; "
                    f"{remedy}"
                )
            blocks[-1].append((kernel.transpose(2, 3, 1, 0), bias))
            channels = len(bias)
    return blocks


def _conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _pool(x: jax.Array, operation: Callable) -> jax.Array:
    """Sum or maximum of squares of 2 x 2; an odd row or column at the end is left out."""
    first = 0.0 if operation is jax.lax.add else -jnp.inf
    return jax.lax.reduce_window(x, first, operation, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
