"""How `sr` and `dn` may learn, by the kind of settings: one line each."""

from collections.abc import Callable

from xmm_jax.adversarial_config import AdversarialConfig
from xmm_jax.config import Config
from xmm_jax.flow_config import FlowConfig
from xmm_jax.learners import adversarial, flow, image
from xmm_jax.line import Learner

LEARNERS: dict[type[Config], Callable[..., Learner]] = {
    Config: image.learn,
    AdversarialConfig: adversarial.learn,
    FlowConfig: flow.learn,
}
