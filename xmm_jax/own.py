"""Tasks that judge and enhance in a way of their own: one line each, read only when asked for."""

import importlib
from collections.abc import Sequence

from xmm_jax.errors import Main
from xmm_jax.flags import read_choice

OWN = {
    "evaluate": {
        "astro_unet": "xmm_jax.astro_unet.evaluate",
        "herschel": "xmm_jax.herschel.evaluate",
    },
    "enhance": {
        "astro_unet": "xmm_jax.astro_unet.enhance",
        "herschel": "xmm_jax.herschel.enhance",
    },
}
"""Verb -> task -> module whose ``main`` serves it; all others are served by the verb itself."""


def own_main(verb: str, argv: Sequence[str] | None) -> Main | None:
    """What serves a verb for the task that a command line names, if not the verb itself.

    Parameters
    ----------
    verb : str
        Key of `OWN`.
    argv : sequence of str or None
        Arguments, None for those of the process.
    """
    module = OWN[verb].get(read_choice(argv, "task", None, ""))
    return None if module is None else importlib.import_module(module).main
