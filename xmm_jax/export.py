"""Turn a run into a model folder: ``python -m xmm_jax.export --run=RUN --out=FOLDER``.

The folder holds weights, settings, a card, and the whole network as StableHLO with free batch,
height and width, to run without this package: ``jax.export.deserialize(...).call(inputs)``; and
with ``--onnx`` as an ONNX file of the same arrays.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export as jax_export

from xmm_jax.calibrate import calibrate
from xmm_jax.card import Scores, scores_of
from xmm_jax.coverage import coverage_table
from xmm_jax.data.manifest import FILE as MANIFEST
from xmm_jax.data.manifest import read_manifest
from xmm_jax.data.tfrecord import RecordSource
from xmm_jax.domain import measure_domain
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say
from xmm_jax.model import Model, load_model, save_model
from xmm_jax.onnx_graph import to_onnx
from xmm_jax.provenance import RUN

STABLEHLO, ONNX = "model.stablehlo", "model.onnx"
COVERAGE = "coverage.json"


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What to export where."""

    run: str = ""
    """Run folder (its best weights), or a model folder; needed."""
    out: str = ""
    """Model folder to write; empty: <run>/export."""
    symmetric: bool = False
    """Answer with the mean over the four mirror images: four times the work, no favoured side."""
    stablehlo: bool = True
    """Also write the network as StableHLO, to run without this package."""
    onnx: bool = False
    """Also write the network as ONNX, to run without JAX (extra `onnx`)."""
    half: bool = False
    """Write the weights as float16: half the size."""
    calibrate: int = 0
    """Simulated fields to calibrate error bars on; 0: none. Takes minutes (docs/errors.md)."""
    seed: int = 0
    """Seed of the fields of --calibrate."""
    note: str = ""
    """A line for the card: time and machine, for example."""
    scores: tuple[str, ...] = ()
    """metrics.json of evaluations in which the model took part, for the card."""


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
    model = dataclasses.replace(model, symmetric=config.symmetric or model.symmetric)
    if (Path(config.run) / MANIFEST).is_file():
        model = describe_data(model, Path(config.run))
    model = dataclasses.replace(model, scores=model.scores | read_scores(config.scores))
    if config.note:
        model = dataclasses.replace(model, origin=model.origin | {"note": config.note})
    extra = {STABLEHLO: stablehlo(model)} if config.stablehlo else {}
    if config.onnx:
        extra[ONNX] = to_onnx(model.network, model.params).SerializeToString()
    if (Path(config.run) / COVERAGE).is_file():
        extra[COVERAGE] = (Path(config.run) / COVERAGE).read_bytes()
    if config.calibrate:
        found = calibrate(model, fields=config.calibrate, seed=config.seed)
        model = dataclasses.replace(model, intervals=found.pixels, apertures=found.apertures)
        extra[COVERAGE] = (json.dumps(found.report, indent=1) + "\n").encode()
        say(coverage_table(found.report["pixels"]))
    save_model(out, model, extra=extra, half=config.half)
    say(f"wrote {out}: {', '.join(sorted(file.name for file in out.iterdir()))}")


def describe_data(model: Model, run: Path) -> Model:
    """Say in a model what records its run was made from, and what they are like.

    Parameters
    ----------
    model : Model
        Of the run.
    run : Path
        Its folder, with the manifest of the records; if these are still there they are looked
        through, see `xmm_jax.domain`.
    """
    made = read_manifest(run)
    starts = json.loads((run / RUN).read_text())
    about = {"records": made.settings, "device": starts[-1]["device"]}
    model = dataclasses.replace(model, origin=model.origin | about)
    records = Path(starts[-1]["data"])
    if not (records / MANIFEST).is_file() or read_manifest(records) != made:
        say(f"{records}: no longer there; the model will not know what its training set was like")
        return model
    wanted = ("counts", "exposure", "valid", "filter")
    source = RecordSource(records, "train", fields=wanted)
    samples = (source[index] for index in range(len(source)))
    domain = measure_domain(samples, model.domain.exposure_s)
    return dataclasses.replace(model, domain=domain)


def read_scores(files: Sequence[str]) -> Scores:
    """Scores for the card from evaluations.

    Parameters
    ----------
    files : sequence of str
        ``metrics.json`` of `evaluate`; several of the same fields are put together.

    Returns
    -------
    dict
        Set of fields (with the digest that `evaluate` gives it) -> method -> figure -> mean.

    Raises
    ------
    InputError
        If a file is not of `evaluate`.
    """
    scores: Scores = {}
    for file in files:
        try:
            for name, rows in scores_of(json.loads(Path(file).read_text())).items():
                scores.setdefault(name, {}).update(rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"--scores={file}: not metrics of `evaluate` ({error}); name a metrics.json"
            ) from None
    return scores


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
