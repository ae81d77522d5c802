"""Settings of adversarial training (`xmm_jax.learners.adversarial`)."""

import dataclasses
from typing import Literal

from xmm_jax.config import Config


@dataclasses.dataclass(frozen=True)
class AdversarialSettings:
    """Discriminator, and what each part of the generator's loss weighs."""

    weight: float = 0.03
    """Of the adversarial loss."""
    feature_weight: float = 1.0
    """Weight of the difference of features."""
    pixel_weight: float = 1.0
    """Weight of --loss."""
    kind: Literal["relativistic", "plain"] = "relativistic"
    """relativistic: more real than the others are on average (ESRGAN); plain: real."""
    filters: int = 16
    """Features of the first layer of the discriminator; ESRGAN has 64."""
    halvings: int = 4
    """How often the discriminator halves an image; ESRGAN has 5."""
    learning_rate: float = 1e-4
    """Peak learning rate of the discriminator; its schedule is that of the generator."""
    noise: float = 0.0
    """Width of normal noise added to all that the discriminator sees [network unit]."""
    vgg: str = ""
    """File .npz of VGG16 whose features are compared; empty: random convolutions."""


@dataclasses.dataclass(frozen=True)
class AdversarialConfig(Config):
    """A run with a discriminator."""

    adversarial: AdversarialSettings = AdversarialSettings()
