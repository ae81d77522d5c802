"""Super-resolution and denoising of photon counts, as `train` sees them (`xmm_jax.line`)."""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp

from xmm_jax import provenance
from xmm_jax.alternate import sources_of
from xmm_jax.config import TASKS, Config
from xmm_jax.data.manifest import FILE as MANIFEST
from xmm_jax.data.schema import FIELDS
from xmm_jax.dataset import STREAM, about
from xmm_jax.dataset import find_data as find_data
from xmm_jax.dataset import keep_data as keep_data
from xmm_jax.dataset import training_batches as training_batches
from xmm_jax.dataset import validation_batches as validation_batches
from xmm_jax.fields import fingerprint
from xmm_jax.instrument.camera import PN
from xmm_jax.learners import LEARNERS
from xmm_jax.line import Learner
from xmm_jax.presets import parse as parse
from xmm_jax.presets import read_config as read_config
from xmm_jax.validation import table as table


def learn(config: Config, *, unroll: bool = False) -> Learner:
    """What a run learns with; arguments and errors as `xmm_jax.learners.image.learn`."""
    return LEARNERS[type(config)](config, unroll=unroll)


def data_digest(config: Config, data: str) -> str:
    """Digest of the pairs ``data``: of the manifest of records, of the settings of a stream."""
    return ",".join(
        fingerprint(about(config))
        if name == STREAM
        else provenance.file_digest(Path(name) / MANIFEST)
        for name in sources_of(config, data)
    )


def batch_shapes(config: Config, lead: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of a batch of a run.

    Parameters
    ----------
    config : Config
        Task and crop.
    lead : tuple of int
        Axes before y and x.
    """
    side = config.crop or PN.padded
    sides = {"y": side, "s*y": side * TASKS[config.task].upscale}
    shapes = {
        name: jax.ShapeDtypeStruct((*lead, sides[f.shape[0]], sides[f.shape[0]], 1), f.dtype)
        for name, f in FIELDS.items()
        if f.shape and f.shape[0] in sides and not f.optional
    }
    return shapes | {"weight": jax.ShapeDtypeStruct(lead, jnp.float32)}


def title(config: Config) -> str:
    """Task, network and side of an example."""
    side = config.crop or PN.padded
    return f"{config.task} {config.network.size}, {side} x {side}"


def closing(run: Path, means: Mapping[str, float]) -> tuple[str, str]:
    """How good the best step of a run is, by its means, and what to do with it."""
    gain = means["prediction/PSNR"] - means["input/PSNR"]
    return (
        f"validation PSNR {means['prediction/PSNR']:.2f} dB, "
        f"input {means['input/PSNR']:.2f} dB, gain {gain:+.2f} dB",
        f"xmm-jax enhance IMAGE.fits --model={run}",
    )
