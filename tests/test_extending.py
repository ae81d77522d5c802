"""The recipes of docs/extending.md, carried out on a copy of the package."""

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_records import FLAGS, write_small_records

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
# What the page says is added elsewhere: file -> (line that is there, new line after it).
LINES = {
    "losses/__init__.py": {
        "from xmm_jax.errors import InputError": (
            "from xmm_jax.losses.charbonnier import charbonnier"
        ),
        "LOSSES: dict[str, Loss] = {": '    "charbonnier": charbonnier,',
    },
    "models/__init__.py": {
        "from xmm_jax.errors import InputError": "from xmm_jax.models.plain import Plain",
    },
    "simulator/observe.py": {
        "from xmm_jax.instrument.filters import transmission": (
            "from xmm_jax.instrument.haze import spread_haze"
        ),
    },
}


def blocks(language):
    """Code of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def new_files():
    """The files that the page tells to write, by name."""
    found = re.findall(r"`xmm_jax/(\S+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    return dict(found)


def replace(path, old, new):
    """Change the one place where a text is."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with a copy of the package in which every recipe was followed."""
    folder = tmp_path_factory.mktemp("stranger")
    copy = folder / "xmm_jax"
    shutil.copytree(ROOT / "xmm_jax", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in new_files().items():
        (copy / name).write_text(text)
    for name, lines in LINES.items():
        for there, added in lines.items():
            replace(copy / name, f"{there}\n", f"{there}\n{added}\n")
    network = '"rrdb": RRDB, "flow": SRFlow'
    replace(copy / "models/__init__.py", network, f'{network}, "plain": Plain')
    family = next(block for block in blocks("python") if block.strip().startswith('"fossil"'))
    replace(copy / "simulator/families.py", "FAMILIES = {\n", f"FAMILIES = {{\n{family}")
    replace(
        copy / "simulator/observe.py",
        "    if preset.detector_effects:\n        rate = smear",
        "    rate = spread_haze(rate)\n    if preset.detector_effects:\n        rate = smear",
    )
    return folder


def run_in(package, *words, cwd):
    """Run Python on the copy; what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(package), "XMM_JAX_CACHE": str(cwd / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_recipes_touch_as_many_lines_as_the_page_says(package):
    """Of files that were there before; new ones are whole."""
    touched = {}
    for path in sorted((package / "xmm_jax").rglob("*.py")):
        old = ROOT / "xmm_jax" / path.relative_to(package / "xmm_jax")
        before = old.read_text().splitlines() if old.exists() else None
        if before is None:
            touched[path.name] = "new"
        elif changed := [
            line
            for line in difflib.ndiff(before, path.read_text().splitlines())
            if line.startswith("+ ")
        ]:
            touched[str(old.relative_to(ROOT / "xmm_jax"))] = len(changed)
    assert touched == {
        "charbonnier.py": "new",
        "plain.py": "new",
        "haze.py": "new",
        "losses/__init__.py": 2,
        "models/__init__.py": 2,
        "simulator/families.py": 1,
        "simulator/observe.py": 2,
    }


@pytest.mark.slow
def test_the_recipes_read_like_the_rest(package):
    """By the tests of docstrings and architecture, and the linter."""
    tests = ("test_docstrings.py", "test_architecture.py")
    (package / "tests").mkdir()
    for name in (*(f"tests/{test}" for test in tests), "tests/conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, package / name)
    paths = [f"tests/{test}" for test in tests]
    run_in(package, "-m", "pytest", "-n", "0", *paths, cwd=package)
    run_in(package, "-m", "ruff", "check", "xmm_jax", cwd=package)


@pytest.mark.slow
def test_a_loss_and_a_network_are_trained_exported_and_used(package, tmp_path):
    records = write_small_records(tmp_path / "records")
    run_in(
        package,
        *("-m", "xmm_jax.train", *FLAGS[:-4], "--steps=3", "--eval_every=3", "--batch_size=4"),
        *("--loss=charbonnier+l1", "--network.network=plain", f"--data={records}", "--run=run"),
        cwd=tmp_path,
    )
    run_in(package, "-m", "xmm_jax.export", "--run=run", "--out=model", cwd=tmp_path)
    code = (
        "import numpy as np, xmm_jax\n"
        "counts = np.random.default_rng(0).poisson(1.0, (40, 48)).astype(np.int32)\n"
        "image = xmm_jax.enhance(counts, np.full((40, 48), 2e4, np.float32), model='model')\n"
        "print(image.rate.shape, type(xmm_jax.load_model('model').network).__name__)\n"
    )
    assert run_in(package, "-c", code, cwd=tmp_path).split("\n")[-2] == "(80, 96) Plain"


@pytest.mark.slow
def test_a_family_and_an_effect_are_in_what_is_drawn(package, tmp_path):
    code = (
        "import jax, numpy as np\n"
        "from xmm_jax.instrument.haze import spread_haze\n"
        "from xmm_jax.simulator.families import FAMILIES, draw_recipe\n"
        "from xmm_jax.simulator.observe import build_optics, draw_pair\n"
        "keys = jax.random.split(jax.random.key(0), 2000)\n"
        "families = jax.vmap(lambda key: draw_recipe(key).family)(keys)\n"
        "print(np.mean(families == list(FAMILIES).index('fossil')))\n"
        "rate = np.eye(5, dtype=np.float32)\n"
        "print(float(np.sum(spread_haze(rate))))\n"
        "pair = draw_pair(jax.random.key(1), build_optics('physical', upscale=1), upscale=1,\n"
        "                 target_background=True)\n"
        "print(int(pair['counts'].sum()))\n"
    )
    share, light, counts = run_in(package, "-c", code, cwd=tmp_path).split()[-3:]
    assert 0.015 < float(share) < 0.045  # weight 0.03 of 1.03
    assert abs(float(light) - 5) < 1e-5
    assert int(counts) > 1000
