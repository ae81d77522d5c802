"""Denoise or super-resolve FITS images: ``python -m xmm_jax.enhance FILE... --task=sr``.

Beside each input (or under ``--out``) comes ``<name>_SR.fits.gz`` or ``<name>_DN.fits.gz`` with the
planes of `xmm_jax.planes`. Of several inputs a table says what became of each; the same command
goes on where it was stopped.
"""

import dataclasses
import functools
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from xmm_jax.bulk import in_parallel
from xmm_jax.config import TASKS
from xmm_jax.enhance_file import How, Job, is_there, load, mark_of, write
from xmm_jax.enhancement import MEMORY_GB, answer, answer_alone, enhance, open_model
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.image import image_of
from xmm_jax.log import progress, say
from xmm_jax.model import Model
from xmm_jax.onnx_backend import BackendName, find_backend
from xmm_jax.own import own_main
from xmm_jax.planes import Enhanced
from xmm_jax.sampling import check_sampling
from xmm_jax.side_by_side import show
from xmm_jax.status import DONE, FAILED, THERE, Status, append, read, total
from xmm_jax.worklist import Item, find_items, outputs, share

BOTH = ("sr", "dn")


@dataclasses.dataclass(frozen=True)
class EnhanceConfig:
    """What to enhance with which model."""

    files: Positional[tuple[str, ...]] = ()
    """FITS images (plain, .gz, .FTZ), patterns such as ``images/*.fits.gz``,
    or folders, searched to the bottom."""
    list: tuple[str, ...] = ()
    """Text files with a name in each line."""
    obsid: tuple[str, ...] = ()
    """Observations (ten digits): fetched, made into images in --out, enhanced for both tasks."""
    pps_dir: str = ""
    """Folder with the pipeline products of the one --obsid: nothing is fetched."""
    offline: bool = False
    """Fetch nothing: take products that an earlier run fetched to <out>/<obsid>/pps."""
    archive: str = ""
    """Address of the archive; empty: $XMM_JAX_ARCHIVE_URL, else that of ESA."""
    model: str = ""
    """Model folder, or run folder (its best weights);
    empty: the one that comes with the package for the task."""
    task: Literal["", "sr", "dn", "both"] = ""
    """sr: 2" pixels, half the PSF, no background. dn: less noise, the same pixels.
    both: one after the other. Empty: what --model is for; both with --obsid.
    Two others have flags of their own: --task=astro_unet --help, --task=herschel --help."""
    conserve: bool = False
    """Correct the result until it predicts the input within its noise (docs/support.md)."""
    support: bool = True
    """Ask the photons about every feature of the result: RESIDUAL, SOURCES, bits of DQ."""
    samples: int = 0
    """Skies to draw from a flow (train --preset=flow), of which the mean is written,
    and the standard deviation as STD; 0: its one image."""
    temperature: float = 0.8
    """Scatter of the samples: 0 always gives the same image, 1 draws from the density learned."""
    keep_samples: bool = False
    """Also write the samples, as SAMPLES."""
    seed: int = 0
    """Seed of the samples."""
    out: str = ""
    """Folder for the results; empty: beside each input."""
    resume: bool = True
    """Of several inputs, leave out those whose result is there, by this model and settings."""
    shard: str = ""
    """i/n: only this part of the inputs, for one of n processes."""
    status: str = ""
    """CSV file that says what became of each of several inputs;
    empty: enhance_status.csv in --out, or beside the first input."""
    together: int = 0
    """Images in one call of the network; 0: 1 on a CPU, 8 on an accelerator."""
    threads: int = 2
    """Threads that read ahead, and as many that finish."""
    backend: BackendName = "auto"
    """Who runs the network;
    auto: onnxruntime on a CPU, where it is faster, if installed (extra `onnx`), else JAX."""
    max_memory: float = MEMORY_GB
    """Memory of the network [GB]; larger images are answered in parts, without seams."""
    exposure: str = ""
    """FITS file of the exposure map [s], not vignetted, where the input holds none;
    '{stem}' stands for the name of the input without its ending, '{folder}' for its folder."""
    mask: str = ""
    """FITS file, not 0 where the detector is alive; named as the exposure map."""
    background: str = ""
    """FITS file of the background in the image [count], named as the exposure map.
    dn: NET is the result without it. sr: it takes the place of the fitted one in the checks."""
    compress: Literal["gzip", "tiles", "none"] = "gzip"
    """gzip: .fits.gz. tiles: .fits.fz, RICE for integers, GZIP for floats, no loss. none: .fits."""
    compat: bool = False
    """Also write <name>_input_wcs_SR.fits.gz and <name>_predict_wcs_SR.fits.gz,
    counts on the padded frame, for scripts that read the files of the published tool."""
    preview: bool = False
    """Also write a picture of input and result, <name>_SR.png (extra `plot`)."""
    display: bool = False
    """Show input and result in a window; of a single input."""
    force: bool = False
    """Accept other bands, cameras, modes and sizes; written to the header."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Enhance as the command line says."""
    if (own := own_main("enhance", argv)) is not None:
        return own(argv)
    config = parse_flags(
        EnhanceConfig(), argv, verb="enhance", description="Denoise or super-resolve FITS images."
    )
    if config.together < 0 or config.threads < 1:
        raise InputError("--together must be 0 or more, --threads at least 1")
    models = find_models(config)
    check_samples(config, models)
    images, rows = make_images(config)
    items = find_items((*config.files, *images), lists=config.list)
    jobs = {
        task: [
            Job(item.path, output)
            for item, output in zip(
                items,
                outputs(items, config.out, suffix, compress=config.compress),
                strict=True,
            )
        ]
        for task, suffix in ((task, TASKS[task].suffix) for task in models)
    }
    if config.display and len(items) > 1:
        raise InputError("--display shows one image; --preview writes pictures of many")
    if len(items) == 1 and not (config.shard or rows):
        for task, model in models.items():
            enhance_one(jobs[task][0], model, config)
        return
    table = status_path(items, config)
    append(table, rows)
    for task, model in models.items():
        rows += enhance_many(share(jobs[task], config.shard), model, config, table)
    failed = [row for row in rows if row.status == FAILED]
    say(f"{total(rows)}; what became of each: {table}")
    if failed:
        raise InputError(f"{len(failed)} of {len(rows)} failed, named in {table}")


def find_models(config: EnhanceConfig) -> dict[str, Model]:
    """Models of the tasks that are asked for.

    Raises
    ------
    InputError
        As `open_model`; or if one model is to do both tasks.
    """
    both = config.task == "both" or (config.obsid and not config.task and not config.model)
    if not both:
        model = open_model(config.model, config.task)
        return {model.task: model}
    if config.model:
        raise InputError("--task=both takes the models of the package; leave --model away")
    return {task: open_model("", task) for task in BOTH}


def check_samples(config: EnhanceConfig, models: Mapping[str, Model]) -> None:
    """Refuse samples that cannot be drawn, before anything is read.

    Raises
    ------
    InputError
        As `xmm_jax.sampling.check_sampling`; or if both tasks, or only samples to keep, are asked.
    """
    if config.keep_samples and not config.samples:
        raise InputError("--keep_samples: how many? --samples=16")
    if config.samples and len(models) > 1:
        raise InputError("--samples is for one flow and its task; name its folder with --model")
    for model in models.values():
        check_sampling(how_of(config).sampling, model, config.backend)


def make_images(config: EnhanceConfig) -> tuple[list[str], list[Status]]:
    """Images of the observations that are named, and what became of the others.

    Raises
    ------
    InputError
        If the only one cannot be made into an image, or none of several.
    """
    if config.pps_dir and len(config.obsid) != 1:
        raise InputError("--pps_dir belongs to one observation; name one --obsid")
    made: list[str] = []
    failed: list[Status] = []
    options = {name: getattr(config, name) for name in ("pps_dir", "archive", "offline")}
    for obs_id in config.obsid:
        try:
            made.append(str(image_of(obs_id, save_dir=config.out or ".", **options)))
        except InputError as error:
            if len(config.obsid) == 1:
                raise
            say(f"failed: {error}")
            failed.append(Status(obs_id, "image", "", FAILED, str(error)))
    if failed and not made:
        raise InputError(
            f"none of {len(failed)} observations could be made into an image; see above for each"
        )
    return made, failed


def enhance_one(job: Job, model: Model, config: EnhanceConfig) -> None:
    """Enhance one image and say all there is to say of it.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    how = how_of(config)
    loaded = load(job, model, how)
    for note in loaded.notes:
        say(f"{job.path.name}: {note}")
    said = answer_alone(
        model,
        loaded.given,
        config.backend,
        max_memory=config.max_memory,
        sampling=how.sampling,
    )
    row, result = write(job, loaded, said, model, model_name(model, config), how)
    live = loaded.given.valid
    before = (loaded.given.counts[live] / loaded.given.exposure[live]).sum()
    say(f"wrote {job.output}: {row.rate:.4g} count/s, input {before:.4g} count/s")
    if row.features >= 0:
        say(
            f"{row.features} features, {row.unsupported} of them not supported by the photons; "
            f"{row.erased} that the photons show may be missing"
        )
    if config.display:
        show(loaded.observation, result, job.path.name)


def enhance_many(
    jobs: Sequence[Job], model: Model, config: EnhanceConfig, table: Path
) -> list[Status]:
    """Enhance images and note what became of each, in a table and as it happens.

    Parameters
    ----------
    jobs : sequence of Job
        Inputs and outputs.
    model : Model
        The model.
    config : EnhanceConfig
        Everything else.
    table : Path
        The table.

    Returns
    -------
    list of Status
        One of each job.
    """
    how = how_of(config)
    known = read(table) if config.resume else {}
    mark = mark_of(model, how)
    there = [job for job in jobs if config.resume and is_there(job, mark)]
    rows = [Status(str(job.path), model.task, str(job.output), THERE) for job in there]
    # What is known of them from the run that made them stays in the table.
    append(table, [row for row in rows if known.get((row.input, row.task), row).status != DONE])
    done = set(there)
    left = [job for job in jobs if job not in done]
    label = f"enhancing ({model.task})"
    for row in progress(_rows(left, model, config, how), total=len(left), label=label):
        append(table, [row])
        rows.append(row)
        if row.status == FAILED:
            say(f"failed: {row.reason}")
    return rows


def _rows(jobs: Sequence[Job], model: Model, config: EnhanceConfig, how: How) -> Iterator[Status]:
    """What became of each job, as it is done."""
    import jax

    together = config.together or (1 if jax.default_backend() == "cpu" else 8)
    name, backend = model_name(model, config), find_backend(model, config.backend)
    outcomes = in_parallel(
        jobs,
        functools.partial(load, model=model, how=how),
        lambda group: answer(
            model,
            [loaded.given for loaded in group],
            backend=backend,
            max_memory=config.max_memory,
            sampling=how.sampling,
        ),
        functools.partial(write, model=model, name=name, how=how),
        kind=lambda loaded: loaded.given.counts.shape,
        together=together,
        threads=config.threads,
    )
    for job, done, error in outcomes:
        if error is None:
            yield done[0]
            continue
        reason = str(error) if isinstance(error, InputError) else f"{job.path}: {error!r}"
        yield Status(str(job.path), model.task, "", FAILED, reason)


def how_of(config: EnhanceConfig) -> How:
    """Part of the settings that decides a result."""
    names = [field.name for field in dataclasses.fields(How)]
    return How(**{name: getattr(config, name) for name in names})


def model_name(model: Model, config: EnhanceConfig) -> str:
    """What headers call a model."""
    return Path(config.model).name or model.task


def status_path(items: Sequence[Item], config: EnhanceConfig) -> Path:
    """Where the table of a run lies; one for each part of the work."""
    if config.status:
        return Path(config.status)
    folder = Path(config.out) if config.out else items[0].path.parent
    part = f"_{config.shard.replace('/', '_of_')}" if config.shard else ""
    return folder / f"enhance_status{part}.csv"


class _Callable(types.ModuleType):
    """The module made callable: ``xmm_jax.enhance(...)`` is the function of the same name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Enhanced:
        return enhance(*args, **kwargs)


# Importing a submodule binds its name in the package, so ``xmm_jax.enhance`` may be this module
# although the public name is the function.
sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    main()
