"""Denoise and super-resolve XMM-Newton EPIC-pn images.

The public names are loaded on first use: importing the package imports neither JAX nor astropy.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from xmm_jax.data.observation import Observation, read_observation
    from xmm_jax.enhance import Enhanced, enhance
    from xmm_jax.model import Model, load_model

_HOMES = {
    "Enhanced": "xmm_jax.enhance",
    "Model": "xmm_jax.model",
    "Observation": "xmm_jax.data.observation",
    "enhance": "xmm_jax.enhance",
    "load_model": "xmm_jax.model",
    "read_observation": "xmm_jax.data.observation",
}
__all__ = [
    "Enhanced",
    "Model",
    "Observation",
    "__version__",
    "enhance",
    "load_model",
    "read_observation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
