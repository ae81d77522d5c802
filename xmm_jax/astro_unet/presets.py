"""Documented runs: the two networks of the paper, its eleven experiments, and ``tiny``."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from xmm_jax.astro_unet.config import AstroConfig, UNetConfig, check
from xmm_jax.config import OptimConfig
from xmm_jax.presets import parse_run

IMAGES, EPOCHS, DROP_EPOCHS = 160, 5000, 2000
"""Training images, epochs, epochs before the learning rate drops (section 3.2, published code)."""

# 1e-4, then 1e-5: the published code. The paper says 1e-5, then 1e-6, and a slope of 0.02.
_CODE = OptimConfig(learning_rate=1e-4, schedule="drop", drop_after=DROP_EPOCHS * IMAGES)
_PAPER = dataclasses.replace(_CODE, learning_rate=1e-5)

_PUBLISHED = AstroConfig(
    steps=EPOCHS * IMAGES,
    batch_size=1,
    fields=IMAGES,
    side=1024,
    noise="published",
    eval_every=200 * IMAGES,
    log_every=100,
    optim=_CODE,
)
_FOUR_RATIOS: dict[str, Any] = {"ratios": (2, 3, 4, 5), "steps": 4 * EPOCHS * IMAGES}

# Minutes on two CPU cores.
_TINY = AstroConfig(
    steps=600,
    batch_size=4,
    crop=128,
    flips=True,
    eval_every=200,
    eval_fields=4,
    target_kind="expected",
    network=UNetConfig(filters=16, form="residual"),
    optim=OptimConfig(learning_rate=1e-3, schedule="cosine", warmup_steps=20, clip_norm=1.0),
)

# What each experiment changes in Network 1 (Table 1). Those on losses and filters are trained
# "without information about the exposure time ratio" (section 3.3).
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "exp01": {"loss": "l1", "network": UNetConfig(ratio="none")},
    "exp02": {"loss": "l2", "network": UNetConfig(ratio="none")},
    "exp03": {"loss": "l1+perceptual", "network": UNetConfig(ratio="none")},
    "exp04": {"loss": "l1+kl", "network": UNetConfig(ratio="none")},
    "exp05": {"network": UNetConfig(ratio="none", bands=2)},
    "exp06": {"network": UNetConfig(ratio="input")},
    "exp07": {"network": UNetConfig(segmentation=True)},
    "exp08": {"ratios": (2, 3, 4, 5), "order": "random"},
    "exp09": {"network": UNetConfig(activation="relu")},
    "exp10": {"network": UNetConfig(activation="prelu")},
    "exp11": {"network": UNetConfig(activation="swish")},
}


def _named(name: str, config: AstroConfig, **changes: Any) -> AstroConfig:
    return dataclasses.replace(config, preset=name, **changes)


def as_in_paper(config: AstroConfig) -> AstroConfig:
    """A run with the learning rates and the slope that the paper prints."""
    network = dataclasses.replace(config.network, slope=0.02)
    return dataclasses.replace(config, network=network, optim=_PAPER)


PRESETS: dict[str, AstroConfig] = {
    "tiny": _named("tiny", _TINY),
    "network1": _named("network1", _PUBLISHED),
    "network2": _named("network2", _PUBLISHED, **_FOUR_RATIOS),
    "network1_paper": _named("network1_paper", as_in_paper(_PUBLISHED)),
    "network2_paper": _named("network2_paper", as_in_paper(_PUBLISHED), **_FOUR_RATIOS),
    **{name: _named(name, _PUBLISHED, **changes) for name, changes in EXPERIMENTS.items()},
}


def parse(argv: Sequence[str] | None = None) -> AstroConfig:
    """Settings of a training run from the command line.

    Raises
    ------
    InputError
        For an unknown preset or flag, or impossible settings.
    """
    config = parse_run(PRESETS, argv)
    check(config)
    return config
