"""Judge networks beside classical methods: ``python -m xmm_jax.evaluate --model=RUN --out=FOLDER``.

Writes ``metrics.json``, every figure of every field, and with ``--report`` also ``report.html``.
Fields are simulated unless ``--data`` names real images or published SIXTE simulations.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from xmm_jax import __version__
from xmm_jax.benchmark_sets import find_set, verdict
from xmm_jax.card import compare_scores
from xmm_jax.config import TASKS, SimulatedConfig, TaskName
from xmm_jax.contenders import Contender, classical, network, tuned
from xmm_jax.data.folder import replacing
from xmm_jax.errors import InputError, RunError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import plain, progress, say
from xmm_jax.metrics.report import write_report
from xmm_jax.model import load_model
from xmm_jax.models import baselines
from xmm_jax.own import own_main
from xmm_jax.protocols import Field, Protocol, real_fields, simulated_fields, sixte_fields
from xmm_jax.reporting import choose_shown, make_page, table
from xmm_jax.tally import amount, judge_field
from xmm_jax.trials import find_invented, part_pairs

METRICS, REPORT = "metrics.json", "report.html"
FORMAT = 1
DEFAULT_METHODS = {
    "sr": ("input", "bicubic", "gaussian", "starlet", "bm3d", "rl", "rl_variant"),
    "dn": ("input", "gaussian", "adaptive", "starlet", "bm3d", "blend"),
}


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Who is judged, and on what."""

    task: TaskName = "sr"
    """sr: finer pixels, half the PSF, no background. dn: less noise, the same pixels.
    Two others have flags of their own: --task=astro_unet --help, --task=herschel --help."""
    model: tuple[str, ...] = ()
    """Model or run folders, or sr, dn: those that come with the package."""
    method: tuple[str, ...] = ()
    """Classical methods; none given: the usual ones; "none": no other than the input."""
    protocol: Protocol = "simulated"
    """simulated: noise-free truth. disjoint: real images, photons that the input does not hold.
    thinned: real images, photons dealt at random to input and target.
    nested: real images as published, target and input share photons."""
    data: str = ""
    """Folder of real images (disjoint, thinned, nested) or of published SIXTE files (simulated);
    empty: fields drawn by the simulator."""
    set: str = ""
    """Set of simulated fields that scores are quoted for (sr-20, sr-200, dn-20, dn-200);
    decides --task, --n, --seed and --preset."""
    n: int = 200
    """Number of simulated fields."""
    seed: int = 0
    """Seed of the simulated fields, or of the division of thinned ones;
    with equal --n, --seed and --preset scores are of the same fields."""
    preset: Literal["physical", "reference"] = "physical"
    """Simulator preset: measured sky and camera, or the quirks of the published SIXTE files."""
    tune: int = 4
    """Simulated fields, apart from all others, on which methods choose their parameters;
    0: take the parameters of the package."""
    planted: int = 4
    """Extra fields: so many of close pairs, so many of nothing but background; 0: none."""
    padding: Literal["aligned", "reference"] = "aligned"
    """reference: pad target and image one pixel apart from the input, as the published code did."""
    report: bool = False
    """Also write report.html (extra `evaluate`)."""
    beside: str = ""
    """FITS image of another telescope (Chandra, say), which the report draws, with contours,
    beside the real field that it lies in."""
    card: str = ""
    """Model (sr, dn or a folder) with whose card the networks are compared.
    Is a second training as good as the first? Exit code 1 if it is worse."""
    out: str = ""
    """Folder to write; needed."""
    overwrite: bool = False
    """Replace an evaluation that is there."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the command line says."""
    if (own := own_main("evaluate", argv)) is not None:
        return own(argv)
    config = parse_flags(
        EvaluateConfig(),
        argv,
        verb="evaluate",
        description="Judge networks beside classical methods.",
    )
    if not config.out:
        raise InputError("--out=FOLDER is needed: where to write metrics.json")
    if config.set:
        config = fix_set(config)
    if config.n < 1 or config.tune < 0 or config.planted < 0:
        raise InputError("--n must be at least 1, --tune and --planted at least 0")
    card = load_model(config.card).scores if config.card else {}
    folder = Path(config.out).absolute()
    with replacing(folder, overwrite=config.overwrite, ours=METRICS) as partial:
        contenders = find_contenders(config)
        metrics = judge(config, contenders)
        if config.set:
            metrics["set"] |= {"name": config.set, "fields are": verdict(config.set, metrics)}
        (partial / METRICS).write_text(json.dumps(metrics, indent=1) + "\n")
        files = METRICS
        if config.report:
            shown = list(find_fields(config, choose_shown(metrics)))
            page = make_page(metrics, shown, contenders, beside=config.beside)
            size = write_report(partial / REPORT, page)
            files += f", {REPORT} ({size / 1e6:.1f} MB)"
    say(table(metrics))
    if config.set:
        say(f"fields of {config.set}: {metrics['set']['fields are']}")
    say(f"wrote {config.out}: {files}")
    if config.card:
        text, worse = compare_scores(card, metrics)
        say(text)
        if worse:
            raise RunError(
                f"worse than the card of {config.card} says, by more than seeds scatter; see above"
            )


def fix_set(config: EvaluateConfig) -> EvaluateConfig:
    """Settings with those of the set that they name.

    Raises
    ------
    InputError
        For an unknown set, or beside ``--data`` or another protocol.
    """
    if config.data or config.protocol != "simulated":
        raise InputError("--set names simulated fields; leave --data and --protocol away")
    recipe = dataclasses.asdict(find_set(config.set))
    return dataclasses.replace(config, **{k: recipe[k] for k in ("task", "n", "seed", "preset")})


def find_fields(config: EvaluateConfig, numbers: Sequence[int] | None = None) -> Iterator[Field]:
    """Fields to judge on, all or those of some numbers.

    Raises
    ------
    InputError
        If protocol, task and data do not go together.
    """
    if config.protocol == "simulated" and not config.data:
        return simulated_fields(config.task, _sky(config), seed=config.seed, numbers=numbers)
    if config.protocol == "simulated":
        fields = sixte_fields(config.data, config.task)
    elif not config.data:
        raise InputError(f"--protocol={config.protocol} needs --data=FOLDER with real images")
    elif config.task != "dn":
        raise InputError("real images judge --task=dn only: there is no sharper camera")
    else:
        fields = real_fields(config.data, config.protocol, seed=config.seed)
    return (field for i, field in enumerate(fields) if numbers is None or i in numbers)


def _sky(config: EvaluateConfig) -> SimulatedConfig:
    return SimulatedConfig(fields=config.n, sky=config.preset)


def find_contenders(config: EvaluateConfig) -> list[Contender]:
    """Who is judged: classical methods, tuned on fields set aside, then networks.

    A method whose library is missing is left out, which is said in one line.

    Raises
    ------
    InputError
        For an unknown method or a folder without model.
    """
    names = [name for name in config.method or DEFAULT_METHODS[config.task] if name != "none"]
    names = list(dict.fromkeys(["input", *names]))
    reasons = {name: baselines.missing(name) for name in names}
    if wanted := [reasons[name] for name in config.method if reasons.get(name)]:
        raise InputError(wanted[0])
    networks = [network(path, config.task) for path in config.model]
    fitting = fields_to_tune(config) if config.tune else []
    found = []
    for name in progress(names, total=len(names), label="methods tuned"):
        if reasons[name]:
            say(f"left out: {reasons[name]}")
        else:
            found.append(
                tuned(name, config.task, fitting) if fitting else classical(name, config.task)
            )
    return found + networks


def fields_to_tune(config: EvaluateConfig) -> list[dict[str, Any]]:
    """Simulated pairs apart from all others; noise-free targets, unless the protocol is nested."""
    task, nested = TASKS[config.task], config.protocol == "nested"
    sky = dataclasses.replace(_sky(config), fields=config.tune)
    if nested:
        # A target that holds the photons of the input rewards keeping their noise.
        rest_s = task.target_exposure_s - task.exposure_s
        sky = dataclasses.replace(sky, target_exposure_ks=rest_s / 1000, target_kind="observed")
    samples = [field.sample for field in simulated_fields(config.task, sky, use="tuning")]
    if nested:
        for sample in samples:
            sample["target"] = sample["target"] + sample["counts"]
            sample["target_exposure"] = sample["target_exposure"] + sample["exposure"]
    return samples


def judge(config: EvaluateConfig, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Every figure of every field, and their summary.

    Parameters
    ----------
    config : EvaluateConfig
        Which fields.
    contenders : sequence of Contender
        Who is judged.

    Returns
    -------
    dict
        What ``metrics.json`` holds; JSON types, None for what is not defined.
    """
    drawn = config.protocol == "simulated" and not config.data
    # Drawn fields are made one at a time: all of them would fill the memory.
    fields = find_fields(config) if drawn else list(find_fields(config))
    total = len(fields) if isinstance(fields, list) else config.n
    judged = [
        judge_field(field, contenders, config.task, padding=config.padding)
        for field in progress(fields, total=total, label="fields")
    ]
    methods = [{"name": c.name, "ours": c.ours, "parameters": c.parameters} for c in contenders]
    metrics = {
        "format": FORMAT,
        "created_by": f"xmm_jax {__version__}, jax {jax.__version__}",
        "device": jax.devices()[0].device_kind,
        "settings": dataclasses.asdict(config),
        "methods": methods,
        **amount(judged, config.task, seed=config.seed),
    }
    if drawn and config.planted:
        trial = {"fields": config.planted, "seed": config.seed}
        metrics["invented"] = find_invented(contenders, config.task, **trial)
        metrics["pairs"] = part_pairs(contenders, config.task, **trial)
    return plain(metrics)


if __name__ == "__main__":
    main()
