"""Turn a run into a model folder: ``python -m xmm_jax.export --run=RUN --out=FOLDER``.

The folder holds weights, settings, a card, and the whole network as StableHLO with free batch,
height and width, to run without this package: ``jax.export.deserialize(...).call(inputs)``.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export as jax_export

from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say
from xmm_jax.model import Model, load_model, save_model

STABLEHLO = "model.stablehlo"


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What to export where."""

    run: str = ""
    """Run folder (its best weights), or a model folder."""
    out: str = ""
    """Model folder to write; empty: <run>/export."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Export as the command line says."""
    config = parse_flags(
        ExportConfig(), argv, verb="export", description="Turn a run into a model folder."
    )
    if not config.run:
        raise InputError("--run=FOLDER is needed: the run to export")
    out = Path(config.out or Path(config.run) / "export")
    model = load_model(config.run)
    save_model(out, model, extra={STABLEHLO: stablehlo(model)})
    say(f"wrote {out}: settings.json, weights.npz, card.md, {STABLEHLO}")


def stablehlo(model: Model) -> bytes:
    """Serialise a network with its weights for CPU, CUDA and TPU.

    Parameters
    ----------
    model : Model
        Network and weights.

    Returns
    -------
    bytes
        A `jax.export.Exported` of ``inputs[b, y, x, c] -> outputs[b, s*y, s*x, 1]``, network units,
        float32, any b, y, x.
    """
    batch, height, width = jax_export.symbolic_shape("b, y, x")
    shape = (batch, height, width, model.scale.in_channels)
    exported = jax_export.export(jax.jit(model.apply), platforms=("cpu", "cuda", "tpu"))(
        jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    return bytes(exported.serialize())


if __name__ == "__main__":
    main()
