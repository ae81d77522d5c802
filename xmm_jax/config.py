"""Every setting of a run: frozen dataclasses, tasks, what goes together.

A *task* fixes what is learned (`TASKS`), a *preset* is a documented experiment
(`xmm_jax.presets`); every other flag overrides one field. The resolved settings are written to
``config.json`` of the run (`xmm_jax.config_file`).
"""

import dataclasses
from typing import Literal

from xmm_jax.errors import InputError

# Clip values of the paper (section 2.3): 200 and 50 times the mean background at the boresight,
# 1.1168e-5 count/s per 4" pixel.
CLIP_RATE_4ARCSEC = 0.0022336
CLIP_RATE_2ARCSEC = 0.0005584

TaskName = Literal["sr", "dn"]
PresetName = Literal["tiny", "small", "best", "paper", "adversarial", "flow"]


@dataclasses.dataclass(frozen=True)
class Task:
    """What one task learns; facts, not settings."""

    upscale: int
    """Target pixels per input pixel and side."""
    exposure_s: float
    """Exposure of the input [s]."""
    target_exposure_s: float
    """Exposure of the target [s]."""
    target_background: bool
    """Whether the target holds the background."""
    target_clip_rate: float
    """Target rate at network value 1 [count/s per target pixel]."""
    suffix: str
    """End of the names of enhanced files."""


TASKS: dict[str, Task] = {
    # 20 ks, 4", background -> 100 ks, 2", half the PSF, no background.
    "sr": Task(2, 20_000.0, 100_000.0, False, CLIP_RATE_2ARCSEC, "SR"),
    # 20 ks -> 50 ks at the same pixels.
    "dn": Task(1, 20_000.0, 50_000.0, True, CLIP_RATE_4ARCSEC, "DN"),
}


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network and its units."""

    network: str = "rrdb"
    """Architecture: a key of `NETWORKS` in xmm_jax/models/__init__.py."""
    size: Literal["tiny", "small", "medium", "base", "large"] = "base"
    """Filters/blocks: tiny 8/1, small 16/2, medium 32/2, base 32/4 (the paper), large 64/8."""
    filters: int = 0
    """Filters, if others than those of the size."""
    blocks: int = 0
    """Residual-in-residual blocks, if others than those of the size."""
    in_channels: Literal[1, 2] = 2
    """1: stretched rate only; 2: also the exposure in units of 100 ks."""
    stretch: Literal["linear", "sqrt", "asinh", "log", "counts"] = "sqrt"
    """Map from clipped rate to network units; counts: square roots of counts, nothing clipped."""
    clip_rate: float = CLIP_RATE_4ARCSEC
    """Input rate at network value 1 [count/s per 4" pixel]; brighter pixels are clipped."""
    target_clip_rate: float = CLIP_RATE_2ARCSEC
    """The same for the target [count/s per target pixel]."""
    unshuffle: Literal[1, 2] = 1
    """Input pixels per side of a pixel of the trunk: 2 is four times less work."""
    spread: bool = False
    """Also learn how sure the network is of each pixel; needs --loss=...+spread."""
    bfloat16: bool = False
    """Compute the trunk in bfloat16 (accelerators); weights and loss stay float32."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, more time."""


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """The optimiser: Adam with a schedule and, if wanted, averaged weights."""

    learning_rate: float = 1e-4
    """Peak learning rate."""
    beta1: float = 0.9
    """Decay of the first moment of Adam."""
    schedule: Literal["constant", "cosine", "drop"] = "constant"
    """Course of the learning rate after warm-up; drop: a tenth after --optim.drop_after steps."""
    drop_after: int = 0
    """Steps of --optim.schedule=drop at the peak."""
    warmup_steps: int = 0
    """Steps of linear warm-up from 0."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW)."""
    clip_norm: float = 0.0
    """Largest global norm of a gradient; 0 = no clipping."""
    average: float = 0.0
    """Decay of the exponential average of the weights used to validate and export; 0 = none."""


@dataclasses.dataclass(frozen=True)
class SimulatedConfig:
    """Simulated pairs, used where --data names no records."""

    fields: int = 96
    """Number of fields, over all splits (80 % train, 10 % validation, 10 % test)."""
    sky: Literal["physical", "reference"] = "physical"
    """Simulator preset: measured sky and camera, or the quirks of the published SIXTE files."""
    target_kind: Literal["expected", "observed"] = "expected"
    """Noise-free expected counts, or counts with Poisson noise as in the paper."""
    exposure_ks: float = 0.0
    """Exposure of the input [ks], 1 to 1000; 0 = that of the task."""
    target_exposure_ks: float = 0.0
    """Exposure of the target [ks], 1 to 1000; 0 = that of the task."""
    filter: Literal["thin", "medium"] = "thin"
    """Optical blocking filter (physical sky only: the published files have thin)."""
    varied: bool = False
    """Another detector in every field: dead and weak columns, bad pixels, exposures of the CCDs."""
    blends: float = 0.0
    """Share of the bright point sources that get a companion within 12", 0 to 1."""
    maps: str = ""
    """Folder of sky maps (FITS, npy) to use as extended sources; empty: drawn ones."""


def parse_loss(text: str) -> dict[str, float]:
    """Weights of a loss written as ``name[:weight]+name[:weight]``.

    Parameters
    ----------
    text : str
        For example ``"psnr+ms_ssim"`` or ``"l1:2+ssim"``.

    Returns
    -------
    dict of str to float
        Weight of each named loss; which names exist is known to `xmm_jax.losses`.

    Raises
    ------
    InputError
        If a term is empty, named twice, or its weight is not a positive number.
    """
    weights: dict[str, float] = {}
    for term in text.split("+"):
        name, _, weight = term.partition(":")
        try:
            value = float(weight) if weight else 1.0
        except ValueError:
            value = -1.0
        if not name or name in weights or not value > 0:
            raise InputError(f"--loss={text}: write it as psnr+ms_ssim or l1:2+ssim")
        weights[name] = value
    return weights


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What every training run has, whatever its task."""

    task: str = ""
    """What is learned."""
    preset: str = "tiny"
    """Experiment that gives every other flag its default: docs/astro_unet.md, docs/herschel.md."""
    run: str = ""
    """Run folder; if it exists, training resumes. Empty: runs/<task>-<preset>-seed<seed>."""
    init_from: str = ""
    """Run or model folder whose weights to start from (fine-tuning); weights only."""
    seed: int = 0
    """Seed of weights, data order and augmentation."""
    steps: int = 1000
    """Optimiser updates in all."""
    batch_size: int = 4
    """Examples per update, over all devices."""
    eval_every: int = 100
    """Steps between validations; each is followed by a checkpoint."""
    eval_fields: int = 0
    """Validation fields to use; 0 = all."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    parallel: Literal["pmap", "shard_map"] = "pmap"
    """How a step is spread over the devices; the weights do not depend on it."""
    accumulate: int = 1
    """Parts into which the batch of a device is cut to save memory; the update stays the same."""
    deterministic: bool = False
    """Ask for GPU kernels that give the same bits every time (slower); CPU and TPU always do."""
    devices: int = 0
    """Devices of each process to use, 0 = all; on a CPU that many virtual ones."""
    coordinator: str = ""
    """host:port of the first of several processes; needs --processes and --process.
    SLURM and TPU pods say it themselves; "auto" alone: JAX looks for the others."""
    processes: int = 0
    """Number of processes of the job, with --coordinator."""
    process: int = -1
    """Number of this process, from 0, with --coordinator."""
    compile_only: bool = False
    """Compile the step, say what memory and work it takes, and stop; needs no data."""
    tensorboard: bool = False
    """Also write TensorBoard files (extra `log`)."""
    use: Literal["best", "last"] = "best"
    """Which step is used in the end: that of the smallest validation loss, or the last one."""
    optim: OptimConfig = OptimConfig()


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """One training run of an XMM-Newton task."""

    task: TaskName = "sr"
    """sr: finer pixels, half the PSF, no background. dn: 20 ks -> 50 ks at the same pixels.
    Two others have flags of their own: --task=astro_unet --help, --task=herschel --help."""
    preset: PresetName = "tiny"
    """Experiment that gives every other flag its default.
    tiny: minutes on two CPU cores. small: an hour or more, the recipe of the package's weights.
    best: the same, larger, for an accelerator. paper: as in the paper.
    adversarial (sr only), flow: docs/adversarial.md, docs/flow.md."""
    data: str = ""
    """Folder of records made by `prepare`; "stream": simulate on the device while training;
    empty: simulate the preset's records once into the cache folder and use them."""
    alternate: bool = False
    """--data names several, separated by commas: a batch of each in turn (simulated, real ...);
    validation uses the first."""
    crop: int = 0
    """Side of the random crop of the input [4" pixel]; 0 = full padded frame of 416."""
    place: Literal["random", "boresight"] = "random"
    """Where a crop is cut; boresight: about the optical axis, and validation fields too."""
    share: float = 1.0
    """Share of the training examples to use, the first ones, above 0 to 1."""
    flips: bool = False
    """Random mirror images (the PSF turns with them)."""
    thin: float = 0.0
    """Keep a random share of the photons of every input, from this to all; 0 = keep all.
    From records of 100 ks, 0.05 gives a network for 5 to 100 ks. Not where pairs share photons."""
    loss: str = "psnr+ms_ssim"
    """Sum of normalised losses, weights after a colon: psnr+ms_ssim, l1:2+ssim, poisson."""
    network: NetworkConfig = NetworkConfig()
    simulated: SimulatedConfig = SimulatedConfig()


def check_run(config: RunConfig) -> None:
    """Refuse settings that cannot work, whatever the task.

    Raises
    ------
    InputError
        Naming the flag and what it should be.
    """
    for name in ("steps", "batch_size", "eval_every", "log_every", "accumulate"):
        if getattr(config, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(config, name)}")
    for name in ("eval_fields", "seed", "devices", "processes"):
        if getattr(config, name) < 0:
            raise InputError(f"--{name} must not be negative, got {getattr(config, name)}")
    if not config.optim.learning_rate > 0:
        raise InputError(f"--optim.learning_rate must be positive: {config.optim.learning_rate}")
    if not 0 <= config.optim.beta1 < 1:
        raise InputError(f"--optim.beta1 must be a decay in [0, 1), got {config.optim.beta1}")
    if not 0 <= config.optim.average < 1:
        raise InputError(f"--optim.average must be a decay in [0, 1), got {config.optim.average}")
    if (config.optim.schedule == "drop") != (config.optim.drop_after > 0):
        raise InputError("--optim.schedule=drop and --optim.drop_after=STEPS belong together")


def check(config: Config) -> None:
    """Refuse settings that cannot work.

    Raises
    ------
    InputError
        Naming the flag and what it should be.
    """
    check_run(config)
    if config.crop < 0:
        raise InputError(f"--crop must not be negative, got {config.crop}")
    if config.alternate and len(config.data.split(",")) < 2:
        raise InputError(f"--alternate with --data={config.data}: name several, --data=A,B")
    check_simulated(config.simulated, prefix="simulated.")
    if not 0 < config.share <= 1 or (config.share < 1 and "stream" in config.data):
        raise InputError(f"--share={config.share:g}: above 0 to 1, and of records, not a stream")
    if config.place == "boresight" and (not config.crop or "stream" in config.data):
        raise InputError("--place=boresight needs records and a crop: --crop=128")
    if not 0 <= config.thin <= 1:
        raise InputError(f"--thin={config.thin:g}: a share of the exposure, 0 to 1")
    if config.network.spread != ("spread" in parse_loss(config.loss)):
        raise InputError(
            f"--loss={config.loss} with --network.spread={config.network.spread}: "
            "spread is learned with its loss or not at all; set both"
        )
    side = (config.crop or 416) * TASKS[config.task].upscale
    if "ms_ssim" in parse_loss(config.loss) and side <= 192:
        raise InputError(
            f"--loss={config.loss} with a target of {side} pixels: MS-SSIM needs more than 192 on "
            f"each side; use --crop={192 // TASKS[config.task].upscale + 8} or more"
        )


def check_simulated(config: SimulatedConfig, *, prefix: str = "") -> None:
    """Refuse settings of the simulator that cannot work.

    Parameters
    ----------
    config : SimulatedConfig
        The settings.
    prefix : str
        What the names of their flags begin with.

    Raises
    ------
    InputError
        Naming the flag and what it should be.
    """
    for name in ("exposure_ks", "target_exposure_ks"):
        value = getattr(config, name)
        if value and not 1 <= value <= 1000:
            raise InputError(f"--{prefix}{name}={value:g}: exposures are 1 to 1000 ks")
    if not 0 <= config.blends <= 1:
        raise InputError(f"--{prefix}blends={config.blends:g}: a share, 0 to 1")
    if config.sky == "reference" and (config.filter != "thin" or config.varied or config.blends):
        raise InputError(
            "the reference sky has the thin filter, one detector and no blends: "
            f"leave --{prefix}filter, --{prefix}varied and --{prefix}blends away"
        )
