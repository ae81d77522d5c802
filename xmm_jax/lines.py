"""Who serves a task: one line each. To add a task, add one here."""

from collections.abc import Sequence
from pathlib import Path

from xmm_jax import counts_line
from xmm_jax.astro_unet import line as astro_line
from xmm_jax.config import RunConfig
from xmm_jax.config_file import read_json
from xmm_jax.errors import InputError
from xmm_jax.flags import read_choice
from xmm_jax.herschel import line as herschel_line
from xmm_jax.line import Line

LINES: dict[str, Line] = {
    "sr": counts_line,
    "dn": counts_line,
    "astro_unet": astro_line,
    "herschel": herschel_line,
}


def line_of(argv: Sequence[str] | None) -> Line:
    """Who serves the task that a command line names, by default ``sr``.

    Raises
    ------
    InputError
        For an unknown task.
    """
    return LINES[read_choice(argv, "task", LINES, "sr")]


def read_config(path: Path) -> RunConfig:
    """Settings of a run of any task from its ``config.json``.

    Raises
    ------
    InputError
        If the file is missing or not the settings of a run of this version.
    """
    task = read_json(path).get("task")
    if task not in LINES:
        raise InputError(
            f"{path}: not the settings of a run of this version (task {task!r}); use the version "
            "that made it"
        )
    return LINES[task].read_config(path)
