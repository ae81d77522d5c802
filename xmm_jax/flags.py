"""A command line read into a frozen dataclass, for every verb the same way."""

import argparse
import dataclasses
import difflib
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import tyro

from xmm_jax.errors import InputError

Settings = TypeVar("Settings")


def parse_flags(
    default: Settings, argv: Sequence[str] | None, *, verb: str, description: str
) -> Settings:
    """Read a command line into a dataclass.

    Parameters
    ----------
    default : dataclass instance
        Values of the flags not given; the docstrings of its fields are the help text.
    argv : sequence of str or None
        Arguments, None for those of the process.
    verb : str
        Name of the command in messages.
    description : str
        Text above the list of flags.

    Raises
    ------
    InputError
        For a flag that does not exist, with the nearest one that does.
    """
    settings = type(default)
    parsed, unknown = tyro.cli(
        settings,
        args=argv,
        prog=f"xmm-jax {verb}",
        description=description,
        default=default,
        return_unknown_args=True,
    )
    if unknown:
        flag = unknown[0].split("=")[0]
        close = difflib.get_close_matches(
            flag, [f"--{name}" for name in _field_names(settings)], n=1
        )
        hint = f"; did you mean {close[0]}?" if close else f"; see xmm-jax {verb} --help"
        kind = "flag" if flag.startswith("-") else "argument"
        raise InputError(f"unknown {kind} {flag}{hint}")
    return parsed


def read_choice(
    argv: Sequence[str] | None, name: str, choices: Collection[str] | None, default: str
) -> str:
    """One flag read before all others, which it gives their defaults.

    Parameters
    ----------
    argv : sequence of str or None
        Arguments, None for those of the process.
    name : str
        Of the flag.
    choices : collection of str or None
        What it may be; None: anything.
    default : str
        What it is if it is not given.

    Raises
    ------
    InputError
        If it is something else.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument(f"--{name}", choices=choices, default=default)
    try:
        return getattr(first.parse_known_args(argv)[0], name)
    except argparse.ArgumentError as error:
        raise InputError(str(error).replace("argument ", "")) from None


def _field_names(settings: Any, prefix: str = "") -> list[str]:
    names = []
    for field in dataclasses.fields(settings):
        if dataclasses.is_dataclass(field.type):
            names += _field_names(field.type, f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names
