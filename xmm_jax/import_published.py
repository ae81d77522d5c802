"""Turn published weights into a model folder.

``python -m xmm_jax.import_published FILE --out=FOLDER`` reads the PyTorch checkpoints (.ckpt) and
ONNX files of Sweere et al. 2022. A checkpoint is never unpickled freely: only tensors and plain
containers are accepted.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tyro.conf import Positional

from xmm_jax import __version__
from xmm_jax.config import TASKS, NetworkConfig
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say
from xmm_jax.model import Model, save_model
from xmm_jax.models import NETWORKS
from xmm_jax.models.published import read_published
from xmm_jax.models.stretch import Scale


@dataclasses.dataclass(frozen=True)
class ImportConfig:
    """Which file to import."""

    file: Positional[str] = ""
    """Published .ckpt or .onnx file; needed."""
    out: str = ""
    """Model folder to write; empty: the file's name without its ending, in this folder."""
    stretch: str = "sqrt"
    """Stretch the network was trained with: linear, sqrt (published), asinh, log."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Import as the command line says."""
    config = parse_flags(
        ImportConfig(),
        argv,
        verb="import_published",
        description="Turn published weights (.ckpt, .onnx) into a model folder.",
    )
    if not config.file:
        raise InputError("a file is needed: xmm-jax import_published FILE.ckpt --out=FOLDER")
    path = Path(config.file)
    model = import_model(path, stretch=config.stretch)
    out = Path(config.out or path.stem)
    save_model(out, model)
    say(f"wrote {out}: task {model.task}, {model.scale.in_channels} input channels")


def import_model(path: Path, *, stretch: str = "sqrt") -> Model:
    """Model of a published file, with the clip rates of the paper.

    Parameters
    ----------
    path : Path
        ``.ckpt`` or ``.onnx``.
    stretch : str
        Stretch it was trained with; the file does not say.

    Raises
    ------
    InputError
        If the file is not a network of the published graph, or needs more than tensors.
    """
    settings, params = read_published(path)
    task = next(name for name, task in TASKS.items() if task.upscale == settings["upscale"])
    network = NETWORKS["rrdb"](
        settings["filters"], settings["blocks"], settings["upscale"], settings["in_channels"]
    )
    scale = Scale(
        stretch=stretch,
        clip_rate=NetworkConfig.clip_rate,
        target_clip_rate=TASKS[task].target_clip_rate,
        in_channels=settings["in_channels"],
        upscale=settings["upscale"],
    )
    return Model(task, network, params, scale, {"imported": path.name, "version": __version__})


if __name__ == "__main__":
    main()
