"""The pages: every one is reached, links lead somewhere, names in docstrings exist."""

import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))
# Of the pages of names, which are made when the site is built.
MADE = ("api/",)


def links(text):
    """Targets of the links and pictures of a page that are not of the web."""
    return [
        target
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
        if not target.startswith(("http:", "https:", *MADE))
    ]


def anchors(text):
    """Names by which the headings of a page are linked to, as GitHub and MyST make them."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in links(text):
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{page.name} links to {target}"


def test_every_page_is_in_a_table_of_contents():
    index = (DOCS / "index.md").read_text()
    listed = set(re.findall(r"^[a-z_/]+$", index, re.MULTILINE))
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert pages | {f"notebooks/{book.stem}" for book in NOTEBOOKS} == listed - {"api/modules"}


@pytest.mark.parametrize("book", NOTEBOOKS, ids=lambda book: book.name)
def test_notebooks_are_kept_without_outputs(book):
    for cell in json.loads(book.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert book.stat().st_size < 20_000


def test_names_of_the_package_in_docs_and_docstrings_exist():
    """What is written `xmm_jax.module.name` can be imported."""
    files = [*PAGES, *sorted((ROOT / "xmm_jax").rglob("*.py"))]
    text = "\n".join(path.read_text() for path in files)
    for name in sorted(set(re.findall(r"`(xmm_jax(?:\.\w+)+)`", text))):
        assert found(name), f"`{name}` does not exist"


def found(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False
