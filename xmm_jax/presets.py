"""Documented experiments by task and name, and the settings of a training run.

A preset gives every flag of `xmm_jax.config.Config` its default; a flag overrides one field.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmm_jax.adversarial_config import AdversarialConfig
from xmm_jax.config import (
    TASKS,
    Config,
    NetworkConfig,
    OptimConfig,
    PresetName,
    SimulatedConfig,
    TaskName,
    check,
)
from xmm_jax.config_file import Settings, from_json, read_json
from xmm_jax.flags import parse_flags, read_choice
from xmm_jax.flow_config import FlowConfig


def _preset(
    task: TaskName, name: PresetName, kind: type[Config] = Config, /, **changes: Any
) -> Config:
    network = changes.pop("network", kind().network)
    network = dataclasses.replace(network, target_clip_rate=TASKS[task].target_clip_rate)
    return kind(task=task, preset=name, network=network, **changes)


# 24,678 simulated training fields, 50 epochs, batch 1 (paper, Tables 2 and 3).
_PAPER: dict[str, Any] = {
    "steps": 50 * 24_678,
    "batch_size": 1,
    "eval_every": 24_678,
    "log_every": 100,
    "optim": OptimConfig(learning_rate=1e-4),
    "simulated": SimulatedConfig(fields=30_855, sky="reference", target_kind="observed"),
}

# Minutes on two CPU cores: the README, the tests, a first look. MS-SSIM needs a target of more
# than 192 pixels, which a crop of 104 gives at twice the pixels but not at the same ones.
_TINY: dict[str, Any] = {
    "network": NetworkConfig(size="tiny"),
    "optim": OptimConfig(learning_rate=2e-3, schedule="cosine", warmup_steps=20, clip_norm=1.0),
    "simulated": SimulatedConfig(fields=64),
    "flips": True,
    "steps": 240,
    "eval_every": 80,
}

# The recipe of the weights that come with the package (docs/models.md): one network for 5 to 100
# ks, square roots of counts, Poisson deviance against noise-free fields, error bars. About an hour
# on two CPU cores; a step of sr, at four times the pixels, takes twice as long.
_SMALL: dict[str, Any] = {
    "network": NetworkConfig(size="small", stretch="counts", unshuffle=2, spread=True),
    "optim": OptimConfig(
        learning_rate=2e-3, schedule="cosine", warmup_steps=50, clip_norm=1.0, average=0.998
    ),
    "simulated": SimulatedConfig(
        fields=400, exposure_ks=100.0, target_exposure_ks=100.0, varied=True, blends=0.2
    ),
    "loss": "deviance+spread:0.02",
    "thin": 0.05,
    "flips": True,
    "crop": 104,
    "steps": 6000,
    "eval_every": 500,
    "eval_fields": 8,
}
# The same for an accelerator: the network of the paper, new fields without end. Not yet run to its
# end for want of one.
_BEST = _SMALL | {
    "network": dataclasses.replace(_SMALL["network"], size="base", bfloat16=True),
    "optim": dataclasses.replace(_SMALL["optim"], learning_rate=1e-3, average=0.9995),
    "data": "stream",
    "batch_size": 16,
    "crop": 208,
    "steps": 100_000,
    "eval_every": 5000,
    "eval_fields": 32,
}

# The slides' ESRGAN: the generator that comes with the package goes on with a discriminator; a
# quarter of an hour on two CPU cores.
_ADVERSARIAL = _SMALL | {
    "optim": OptimConfig(learning_rate=1e-4, clip_norm=1.0, average=0.99),
    "init_from": "sr",
    "use": "last",
    "crop": 48,
    "batch_size": 8,
    "steps": 2000,
    "eval_every": 500,
}
# Not one image but the density of all that fit, from the weights that come with the package and by
# their recipe (docs/flow.md).
_FLOW: dict[str, Any] = {
    "optim": dataclasses.replace(_SMALL["optim"], learning_rate=1e-3),
    "simulated": _SMALL["simulated"],
    "thin": 0.05,
    "flips": True,
    "crop": 104,
    "steps": 2000,
    "eval_every": 250,
    "eval_fields": 8,
}

PRESETS: dict[str, dict[str, Config]] = {
    "sr": {
        "adversarial": _preset("sr", "adversarial", AdversarialConfig, **_ADVERSARIAL),
        "tiny": _preset("sr", "tiny", crop=104, **_TINY),
        "small": _preset("sr", "small", **_SMALL | {"steps": 4000}),
        "best": _preset("sr", "best", **_BEST),
        "paper": _preset("sr", "paper", **_PAPER),
        "flow": _preset("sr", "flow", FlowConfig, init_from="sr", **_FLOW),
    },
    "dn": {
        "tiny": _preset("dn", "tiny", crop=200, batch_size=2, **_TINY),
        "small": _preset("dn", "small", **_SMALL),
        "best": _preset("dn", "best", **_BEST),
        "paper": _preset("dn", "paper", **_PAPER),
        "flow": _preset("dn", "flow", FlowConfig, init_from="dn", **_FLOW),
    },
}


def parse(argv: Sequence[str] | None = None) -> Config:
    """Settings of a training run from the command line.

    ``--task`` and ``--preset`` are read first: they give every other flag its default.

    Raises
    ------
    InputError
        For an unknown flag or impossible settings.
    """
    task = read_choice(argv, "task", PRESETS, "sr")
    config = parse_run(PRESETS[task], argv)
    check(config)
    return config


def read_config(path: Path) -> Config:
    """Settings of a run from its ``config.json``, of the kind that its preset has.

    Raises
    ------
    InputError
        As `xmm_jax.config_file.from_json`.
    """
    values = read_json(path)
    known = PRESETS.get(values.get("task", ""), {})
    return from_json(path, type(known.get(values.get("preset", ""), Config())))


def parse_run(presets: Mapping[str, Settings], argv: Sequence[str] | None) -> Settings:
    """Settings of a run from the presets of its task and a command line.

    Parameters
    ----------
    presets : mapping of str to RunConfig
        By name; among them ``"tiny"``, the default.
    argv : sequence of str or None
        Arguments, None for those of the process.

    Raises
    ------
    InputError
        For an unknown preset or flag.
    """
    config = parse_flags(
        presets[read_choice(argv, "preset", presets, "tiny")],
        argv,
        verb="train",
        description="Train a network: simulate or read pairs, optimise, validate, checkpoint.",
    )
    run = config.run or f"runs/{config.task}-{config.preset}-seed{config.seed}"
    return dataclasses.replace(config, run=run)
