"""How `sr` and `dn` may learn, by the kind of settings: one line each."""

from collections.abc import Callable

from xmm_jax.config import Config
from xmm_jax.flow_config import FlowConfig
from xmm_jax.learners import flow, image
from xmm_jax.line import Learner

LEARNERS: dict[type[Config], Callable[..., Learner]] = {
    Config: image.learn,
    FlowConfig: flow.learn,
}
