"""What README and docs promise: two set-up commands, verbs that exist, flags that parse."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shell_commands import commands, verb_and_flags

import xmm_jax
from xmm_jax.__main__ import VERBS
from xmm_jax.__main__ import main as run_verb
from xmm_jax.flags import parse_flags
from xmm_jax.lines import line_of
from xmm_jax.own import OWN, own_main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SETTINGS = {
    "simulate": "SimulateConfig",
    "image": "ImageConfig",
    "prepare": "PrepareConfig",
    "evaluate": "EvaluateConfig",
    "export": "ExportConfig",
    "enhance": "EnhanceConfig",
    "import_published": "ImportConfig",
    "sweep": "SweepConfig",
}


COMMANDS = commands(README)
IN_DOCS = {
    command: page.name
    for page in sorted((ROOT / "docs").glob("*.md"))
    for command in commands(page.read_text())
    if command.startswith(("python -m xmm_jax.", "xmm-jax ")) and "--help" not in command
}


def test_there_are_exactly_two_set_up_commands():
    assert len(re.findall(r"<!-- command \d: ", README)) == 2
    assert re.search(r"<!-- command 1: main job -->\s*```sh\n[^\n]+--task=sr[^\n]*\n```", README)
    assert re.search(r"<!-- command 2: test -->\s*```sh\n[^\n]+ -m pytest\n```", README)
    assert len(README.splitlines()) < 250


@pytest.mark.parametrize("command", [*COMMANDS, *IN_DOCS])
def test_every_command_has_flags_that_exist(command):
    found = verb_and_flags(command)
    if found is None:
        assert command.startswith("python -m pip install")
        return
    verb, flags = found
    if verb == "train":
        if "--network.network=plain" not in flags:  # of the recipe, see test_extending.py
            line_of(flags).parse(flags)
        return
    module, settings = importlib.import_module(f"xmm_jax.{verb}"), SETTINGS[verb]
    if verb == "sweep" and flags[0] == "rank":
        flags, settings = flags[1:], "RankConfig"
    if verb in OWN and (own := own_main(verb, flags)):
        module = importlib.import_module(own.__module__)
        settings = next(name for name in vars(module) if name.endswith(f"{settings}"))
    parse_flags(getattr(module, settings)(), flags, verb=verb, description="")


def test_every_verb_is_in_the_readme_and_on_the_command_line(capsys):
    for verb in VERBS:
        assert f"`{verb}`" in README
    run_verb([])
    assert "enhance" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        run_verb(["fly"])
    assert caught.value.code == 2
    assert "no verb 'fly'" in capsys.readouterr().err
    run_verb(["--version"])
    assert capsys.readouterr().out == f"{xmm_jax.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_it_does(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        run_verb([verb, "--help"])
    assert caught.value.code == 0
    assert f"usage: xmm-jax {verb}" in capsys.readouterr().out


@pytest.mark.slow
def test_the_main_job_beats_the_input(tmp_path):
    job = next(command for command in COMMANDS if "pip install -e . &&" in command)
    verb, flags = verb_and_flags(job)
    # .ci/run names the Python of an environment with nothing but the wheel.
    python = os.environ.get("XMM_JAX_WHEEL_PYTHON", sys.executable)
    done = subprocess.run(
        [python, "-m", f"xmm_jax.{verb}", *flags],
        cwd=tmp_path,
        env=os.environ | {"XMM_JAX_CACHE": str(tmp_path / "cache")},
        check=True,
        capture_output=True,
        text=True,
    )
    last = done.stdout.strip().splitlines()[-3:]
    gain = float(re.search(r"gain ([+-]\d+\.\d+) dB", last[0]).group(1))
    assert gain > 1.0, done.stdout
    assert last[1].startswith("wrote runs/sr-tiny-seed0")
