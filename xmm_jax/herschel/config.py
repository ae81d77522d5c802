"""Settings of a run of Herschel super-resolution, and its presets."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from xmm_jax.config import OptimConfig, RunConfig, check_run
from xmm_jax.errors import InputError
from xmm_jax.presets import parse_run
from xmm_jax.simulator.submm import TARGET_FWHM_ARCSEC


@dataclasses.dataclass(frozen=True)
class GalaxyGANConfig:
    """The network: a U-net that halves its image, depth times."""

    filters: int = 64
    """Filters of the first level; up to eight times as many further down."""
    depth: int = 8
    """Levels; sides of images are multiples of 2 to this power."""
    dropout: float = 0.5
    """Share of features dropped in the first three levels up, while training."""
    blur_arcsec: float = 0.0
    """Width (FWHM) of a Gaussian that its output is blurred with [arcsec]; 0: not at all."""


@dataclasses.dataclass(frozen=True)
class HerschelConfig(RunConfig):
    """One training run of Herschel super-resolution."""

    task: Literal["herschel"] = "herschel"
    """herschel: SPIRE maps of 250, 350, 500 um -> 450 um as SCUBA-2 sees it."""
    data: str = "drawn"
    """drawn: simulated fields; or a folder of real maps; drawn,FOLDER with --alternate."""
    alternate: bool = False
    """--data names several, separated by commas: a batch of each in turn."""
    fields: int = 400
    """Drawn fields to train on."""
    side: int = 256
    """Side of a drawn field [pixel of 2"]."""
    crop: int = 256
    """Side of the random crop [pixel of 2"]."""
    flips: bool = True
    """Random mirror images."""
    clustering: float = 0.3
    """Scatter of the logarithm of the density of drawn galaxies; 0: even places."""
    target_kind: Literal["expected", "observed"] = "expected"
    """Drawn targets without noise, or with that of SCUBA-2."""
    loss: str = "l1+mean_flux+median_flux+aperture"
    """Sum of l1, mean_flux, median_flux, aperture; weights after a colon."""
    least_mjy: float = 4.0
    """Sources of the aperture loss are at least so bright at 450 um [mJy]."""
    network: GalaxyGANConfig = GalaxyGANConfig()


def check(config: HerschelConfig) -> None:
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
    network = config.network
    if not 2 <= network.depth <= 8 or network.filters < 1 or not 0 <= network.dropout < 1:
        raise InputError(
            "--network.depth must be 2 to 8, --network.filters at least 1, dropout 0 to below 1"
        )
    if not 0 <= network.blur_arcsec <= TARGET_FWHM_ARCSEC:
        raise InputError(
            f"--network.blur_arcsec must be 0 to {TARGET_FWHM_ARCSEC}, the beam at 450 um"
        )
    step = 2**network.depth
    for name in ("crop", "side"):
        if getattr(config, name) % step:
            raise InputError(f"--{name}={getattr(config, name)}: must be a multiple of {step}")
    if config.crop > config.side:
        raise InputError(
            f"--crop={config.crop} does not fit --side={config.side}; choose a smaller one"
        )
    if config.alternate != ("," in config.data):
        raise InputError(f"--data={config.data}: several sources and --alternate belong together")
    if config.accumulate > 1:
        raise InputError("--accumulate: statistics of a batch need it whole; leave it away")


# pix2pix: Adam at 2e-4 with a first moment of 0.5, batches of one (Isola et al. 2017).
_PUBLISHED = HerschelConfig(
    steps=200_000,
    batch_size=1,
    eval_every=5000,
    log_every=100,
    optim=OptimConfig(learning_rate=2e-4, beta1=0.5),
)
# Minutes on two CPU cores.
_TINY = dataclasses.replace(
    _PUBLISHED,
    steps=1200,
    batch_size=4,
    crop=128,
    fields=200,
    eval_every=200,
    eval_fields=8,
    log_every=10,
    # The aperture loss alone is content with sources that are wider than the beam.
    loss="l1:10+mean_flux+median_flux+aperture",
    network=GalaxyGANConfig(filters=24, depth=6, dropout=0.0, blur_arcsec=5.6),
    optim=OptimConfig(learning_rate=5e-3, schedule="cosine", warmup_steps=20, beta1=0.5),
)

PRESETS: dict[str, HerschelConfig] = {
    name: dataclasses.replace(config, preset=name)
    for name, config in {"tiny": _TINY, "paper": _PUBLISHED}.items()
}


def parse(argv: Sequence[str] | None = None) -> HerschelConfig:
    """Settings of a training run from the command line.

    Raises
    ------
    InputError
        For an unknown preset or flag, or impossible settings.
    """
    config = parse_run(PRESETS, argv)
    check(config)
    return config
