"""Denoise and super-resolve XMM-Newton EPIC-pn images.

The public names are loaded on first use: importing the package imports neither JAX nor astropy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmm_jax.data.observation import Observation, read_observation
    from xmm_jax.enhance import Enhanced, enhance
    from xmm_jax.model import Model, load_model

    __version__: str

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
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def _version() -> str:
    """What was installed; the number is that of the last git tag."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("xmm-jax")
    except PackageNotFoundError:  # the folder of the package alone, without pip
        return "0+unknown"


def __dir__() -> list[str]:
    return __all__
