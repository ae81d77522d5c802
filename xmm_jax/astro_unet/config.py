"""Settings of a run of Astro U-net."""

import dataclasses
from typing import Literal

from xmm_jax.config import RunConfig, check_run, parse_loss
from xmm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """The network and what it is given."""

    filters: int = 32
    """Filters of the first level; twice as many on each coarser one (32: 7,761,345 weights)."""
    activation: Literal["leaky", "relu", "prelu", "swish"] = "leaky"
    """leaky: ReLU with a slope below 0; prelu: the slope is learned; swish: x sigmoid(x)."""
    slope: float = 0.2
    """Slope of leaky below 0: 0.2 in the published code, 0.02 in the paper."""
    ratio: Literal["bottom", "input", "none"] = "bottom"
    """How the network hears of the ratio of exposures: by a channel at the bottom,
    by a factor of the input (experiment 6), or not (experiments 1 to 5)."""
    form: Literal["plain", "residual"] = "plain"
    """plain: electrons/s in and out, as published.
    residual: corrections to square roots of electrons, whose noise is the same everywhere;
    a short training then need not learn the image itself."""
    bands: Literal[1, 2] = 1
    """1: one channel. 2: one each for the filters F555W and F606W (experiment 5)."""
    segmentation: bool = False
    """One more channel: which pixels of the input stand out of the sky (experiment 7)."""


@dataclasses.dataclass(frozen=True)
class AstroConfig(RunConfig):
    """One training run of Astro U-net."""

    task: Literal["astro_unet"] = "astro_unet"
    """astro_unet: images of HST's WFC3/UVIS as if exposed several times longer."""
    data: str = ""
    """Folder of drizzled images (FITS, electrons/s); empty: fields of stars and galaxies, drawn."""
    fields: int = 48
    """Drawn fields to train on."""
    side: int = 512
    """Side of a drawn field [pixel]."""
    crop: int = 256
    """Side of the random crop [pixel]."""
    ratios: tuple[int, ...] = (2,)
    """Exposures of the target over that of the input."""
    order: Literal["ordered", "random"] = "ordered"
    """ordered: every crop is seen with all ratios, one after the other; random: with one."""
    noise: Literal["live", "published"] = "live"
    """live: noise on every live pixel. published: negative pixels are set to 0 beforehand,
    and what is 0 in the long exposure stays 0, which tells the network half of the empty sky."""
    target_kind: Literal["observed", "expected"] = "observed"
    """observed: the long exposure, as published. expected: drawn fields without any noise."""
    shift: int = 0
    """Move the input against the target by up to this [pixel], as misaligned pairs are."""
    flips: bool = False
    """Random mirror images."""
    cosmic_rays: bool = False
    """Clean the images of --data with astroscrappy first (extra `hst`)."""
    loss: str = "l1"
    """Sum of l1, l2, kl, perceptual; weights after a colon: l1+kl, l1:1+perceptual:0.1."""
    vgg: str = ""
    """Weights of VGG16 (.npz) for the perceptual loss; empty: fixed random features."""
    network: UNetConfig = UNetConfig()


def check(config: AstroConfig) -> None:
    """Refuse settings that cannot work.

    Raises
    ------
    InputError
        Naming the flag and what it should be.
    """
    check_run(config)
    for name in ("fields", "side", "crop"):
        if getattr(config, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(config, name)}")
    if config.crop % 16:
        raise InputError(
            f"--crop={config.crop}: must be 16, 32 ...: the network halves it four times"
        )
    if config.crop + 2 * config.shift > config.side and not config.data:
        raise InputError(
            f"--crop={config.crop} with --shift={config.shift} does not fit --side="
            f"{config.side}; choose a smaller crop"
        )
    if config.shift < 0:
        raise InputError(f"--shift must not be negative, got {config.shift}")
    if not config.ratios or min(config.ratios) < 1:
        raise InputError(f"--ratios {config.ratios}: exposures are at least those of the input")
    if config.target_kind == "expected" and config.data:
        raise InputError("--target_kind=expected is for drawn fields; leave --data away")
    if config.network.filters < 1:
        raise InputError(f"--network.filters must be at least 1, got {config.network.filters}")
    if config.vgg and "perceptual" not in parse_loss(config.loss):
        raise InputError(f"--vgg={config.vgg} needs a --loss with perceptual in it")
    if config.accumulate > 1 and config.batch_size % config.accumulate:
        raise InputError(
            f"--accumulate={config.accumulate} does not divide --batch_size={config.batch_size}; "
            "choose a divisor"
        )
