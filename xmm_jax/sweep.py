"""Try many settings: ``python -m xmm_jax.sweep --grid=model --study=FOLDER``, then ``sweep rank``.

Start the same command as often as you like, on as many machines as see the folder.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xmm_jax.backend import keep_programs
from xmm_jax.data.folder import cache_folder, one_at_a_time, replace_file
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say
from xmm_jax.signals import watch
from xmm_jax.sweeps.page import RankConfig, write_ranking
from xmm_jax.sweeps.rank import read_trials
from xmm_jax.sweeps.study import work
from xmm_jax.sweeps.trial import SweepConfig, prepare, run_trial

SETTINGS = "sweep.json"
MAY_DIFFER = ("study", "silence_s")
"""Flags that do not change what a study finds."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Work on a study, or rank what is there of it."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["rank"]:
        rank(args[1:])
        return
    config = parse_flags(
        SweepConfig(),
        args,
        verb="sweep",
        description="Train every point of a grid of settings; sweep rank --help: what came out.",
    )
    if not config.study:
        raise InputError("--study=FOLDER is needed: where all processes of the sweep meet")
    keep_programs(cache_folder() / "xla")
    sweep(config)


def sweep(config: SweepConfig) -> None:
    """Work on the study of a configuration until all of its points are finished.

    Raises
    ------
    InputError
        For settings that do not work, or a folder with another study.
    """
    folder = Path(config.study).absolute()
    axes, points, trials = prepare(config, folder)
    keep_settings(config, folder)
    with watch() as asked:

        def run(number: int) -> dict:
            return run_trial(trials[number], asked)

        work(folder, axes, points, run, silence_s=config.silence_s)
    rows = read_trials(folder)
    failed = sum(bool(row.failed) for row in rows)
    say(f"{folder}: {len(rows)} of {len(points)} points finished, {failed} marked as failed")
    say(f"next: xmm-jax sweep rank --study={config.study}")


def keep_settings(config: SweepConfig, folder: Path) -> None:
    """Note what a study tries, or refuse to try something else in it.

    Raises
    ------
    InputError
        Naming the flags that differ.
    """
    mine = dataclasses.asdict(config)
    path = folder / SETTINGS
    with one_at_a_time(folder):
        if path.exists():
            _refuse_changes(folder, json.loads(path.read_text()), mine)
        elif folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder}: is not empty and no study; choose another --study")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, (json.dumps(mine, indent=1) + "\n").encode())


def _refuse_changes(folder: Path, kept: dict[str, Any], mine: dict[str, Any]) -> None:
    changed = [
        f"--{name}: {kept.get(name)} -> {value}"
        for name, value in mine.items()
        if name not in MAY_DIFFER and kept.get(name) != value
    ]
    if changed:
        raise InputError(f"{folder}: another study ({'; '.join(changed)}); choose another --study")


def rank(argv: Sequence[str]) -> None:
    """Rank the finished trials of a study and draw what their settings did.

    Raises
    ------
    InputError
        If no study is named, or none of its trials is finished.
    """
    config = parse_flags(
        RankConfig(), argv, verb="sweep rank", description="Rank the trials of a study."
    )
    if not config.study:
        raise InputError("--study=FOLDER is needed: the study to rank")
    say(write_ranking(config))


if __name__ == "__main__":
    main()
