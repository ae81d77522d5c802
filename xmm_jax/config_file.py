"""Settings of a run as ``config.json``: written, read, compared."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from xmm_jax.config import RunConfig
from xmm_jax.errors import InputError

Settings = TypeVar("Settings", bound=RunConfig)

# A change of these does not change what a run learns up to a given step, so a run may be resumed
# with other values; every other difference is refused.
RESUMABLE = (
    *("run", "steps", "eval_every", "eval_fields", "log_every", "parallel", "tensorboard"),
    *("accumulate", "deterministic", "devices", "coordinator", "processes", "process"),
    *("compile_only", "use"),
)


def to_json(config: RunConfig) -> str:
    """Settings as the text of ``config.json``."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(path: Path, kind: type[Settings]) -> Settings:
    """Settings of a run from its ``config.json``.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        Of the settings: `Config`, or that of another task.

    Raises
    ------
    InputError
        If the file is missing, not JSON, or has other fields than this version knows.
    """
    values = read_json(path)
    try:
        for name, usual in vars(kind()).items():
            if dataclasses.is_dataclass(usual):
                values[name] = type(usual)(**values[name])
            elif isinstance(usual, tuple) and name in values:
                values[name] = tuple(values[name])
        return kind(**values)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not the settings of a run of this version ({error}); train again, or use the "
            "version that made it"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """What stands in a ``config.json``, of whatever task.

    Raises
    ------
    InputError
        If the file is missing or not JSON.
    """
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict):
            raise TypeError("no settings in it")
        return values
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is {path.parent} a run folder?") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(
            f"{path}: not the settings of a run of this version ({error}); train again, or use the "
            "version that made it"
        ) from None


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Settings in which a run folder and a command line disagree so that resuming is wrong.

    Returns
    -------
    list of str
        ``"flag: old -> new"`` for each field outside `RESUMABLE` that differs.
    """
    before, after = _flat(dataclasses.asdict(old)), _flat(dataclasses.asdict(new))
    if type(old) is not type(new):  # task or experiment say it all
        before, after = ({n: getattr(one, n) for n in ("task", "preset")} for one in (old, new))
    return [
        f"--{name}: {before[name]} -> {after[name]}"
        for name in before
        if name.split(".")[0] not in RESUMABLE and before[name] != after[name]
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
