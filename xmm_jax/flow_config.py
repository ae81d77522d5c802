"""Settings of a run with ``--preset=flow``: a density of images in place of one image."""

import dataclasses
from typing import Literal

from xmm_jax.config import Config, NetworkConfig
from xmm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class FlowNetwork(NetworkConfig):
    """A conditional normalising flow about an RRDB, and its units."""

    network: Literal["flow"] = "flow"  # type: ignore[assignment]
    """Architecture."""
    size: Literal["tiny", "small", "medium", "base", "large"] = "small"
    """Filters/blocks of the RRDB: tiny 8/1, small 16/2, medium 32/2, base 32/4, large 64/8."""
    stretch: Literal["counts"] = "counts"
    """Units: square roots of counts, nothing clipped."""
    unshuffle: Literal[1, 2] = 2
    """Input pixels per side of a pixel of the trunk: 2 is four times less work."""
    levels: int = 2
    """Levels of the flow; each halves the pixels."""
    steps: int = 4
    """Steps of the flow in each level."""
    width: int = 32
    """Features of the hidden layers of the flow."""
    noise: float = 0.0
    """Width of the uniform noise about the target [count of the target]; 1 for whole counts."""
    grain: float = 0.2
    """Standard deviation of the Gaussian noise about the target, in widths that the RRDB states.
    Without it the density of smooth skies could grow without bound; samples have it."""


@dataclasses.dataclass(frozen=True)
class FlowConfig(Config):
    """One training run of a flow."""

    preset: Literal["flow"] = "flow"
    """flow: the density of all images that fit (docs/flow.md); gives other flags their defaults."""
    init_from: str = ""
    """Run or model folder of a trained RRDB, which stays as it is, or of a flow to go on with.
    Empty: an RRDB of random weights, which stays so too."""
    loss: Literal["likelihood"] = "likelihood"
    """What is learned: the likelihood of the target [bit/pixel]."""
    network: FlowNetwork = FlowNetwork()


def check_flow(config: FlowConfig, *, multiple: int) -> None:
    """Refuse settings of a flow that cannot work.

    Parameters
    ----------
    config : FlowConfig
        The settings.
    multiple : int
        What the sides of an input must be multiples of.

    Raises
    ------
    InputError
        Naming the flag and what it should be.
    """
    network = config.network
    for name in ("levels", "steps", "width"):
        if getattr(network, name) < 1:
            raise InputError(f"--network.{name} must be at least 1, got {getattr(network, name)}")
    if not (0 <= network.noise <= 1 and 0 <= network.grain <= 1 and network.noise + network.grain):
        raise InputError(
            f"--network.noise={network.noise:g} and --network.grain={network.grain:g}: "
            "give 0 to 1, one of them above 0"
        )
    if network.noise < 1 and config.simulated.target_kind == "observed":
        raise InputError("--simulated.target_kind=observed: whole counts need --network.noise=1")
    if config.crop % multiple or 416 % multiple:
        raise InputError(
            f"--crop={config.crop} with --network.levels={network.levels}: it and the frame of 416 "
            f"must be multiples of {multiple}"
        )
