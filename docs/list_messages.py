"""Write every message of the package into docs/messages.md: ``python docs/list_messages.py``.

Messages are read out of the code, the arguments of `InputError` and `RunError`. What is filled in
when they are raised stands in capitals. The head of the page, above the mark, is left as it is.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "xmm_jax"
PAGE = Path(__file__).with_name("messages.md")
MARK = "<!-- from here on written by docs/list_messages.py -->"
ERRORS = ("InputError", "RunError")
# The first group whose pattern fits the name of a module has it; the last one has the rest.
GROUPS = {
    "Event lists, light curves and their images: `image`, `--from=events`": (
        r"image|data\.(archive|binning|event|extraction|flares|fitstable|pps|division)"
    ),
    "Images and other FITS files": r"data\.(eligibility|fitsfile|observation|pairs|skymaps)|nddata",
    "Records: `prepare`, `train --data`": (
        r"prepare|records|dataset|data\.(augment|folder|framing|manifest|pipeline|real|schema)"
        r"|data\.(shards|sixte|splits|tfrecord)"
    ),
    "Simulations: `simulate`": r"simulat|instrument",
    "Settings and runs: `train`": (
        r"config|flags|lines|flow_config|train|checkpoint|learners|losses|models|parallel|processes"
        r"|step|log|backend|numbered"
    ),
    "Sweeps: `sweep`": r"sweep",
    "Models and enhanced images: `export`, `enhance`, `import_published`": (
        r"export|enhance|import|model|onnx|calibrate|card|domain|mosaic|residual|sampling"
        r"|side_by_side|status|worklist"
    ),
    "Scores and reports: `evaluate`": (
        r"evaluate|benchmark|contenders|metrics|preview|protocols|reporting"
    ),
    "Images of HST: `--task=astro_unet`": r"astro_unet|data\.hst",
    "Maps of Herschel: `--task=herschel`": r"herschel|data\.spire",
}
FIRST = ("astro_unet", "herschel", "data.hst", "data.spire")  # these tasks before the verbs


def parse() -> dict[str, ast.Module]:
    """Modules of the package by their name without ``xmm_jax.``."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text())
    return found


def constants(tree: ast.Module, trees: dict[str, ast.Module]) -> dict[str, str]:
    """Texts and numbers by their name in a module, such as names of files, its own or imported."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            other = trees.get(node.module.removeprefix("xmm_jax."), ast.Module([], []))
            theirs = constants(other, {})
            found |= {one.name: theirs[one.name] for one in node.names if one.name in theirs}
        if isinstance(node, ast.Assign):
            names, values = (getattr(x, "elts", [x]) for x in (node.targets[0], node.value))
            for name, value in zip(names, values, strict=False):
                if isinstance(value, ast.Constant):
                    found[ast.unparse(name)] = str(value.value)
    return found


def shown(node: ast.expr, known: dict[str, str]) -> str:
    """Text of an expression; what is known later in capitals, or as an ellipsis."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(shown(part, known) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return shown(node.value, known)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return shown(node.left, known) + shown(node.right, known)
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return known.get(name, name.upper().strip("_"))
    return "\N{HORIZONTAL ELLIPSIS}"


def messages(trees: dict[str, ast.Module]) -> Iterator[tuple[str, int, str]]:
    """Module, line and text of every message; those passed on from elsewhere are left out."""
    for module, tree in trees.items():
        known = constants(tree, trees)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ERRORS and node.args:
                text = shown(node.args[0], known)
                if re.search("[a-z]{2}", text.removeprefix("PATH: ")):
                    yield module, node.lineno, text


def group_of(module: str) -> str:
    """Heading under which the messages of a module stand."""
    order = [*GROUPS][-2:] + [*GROUPS][:-2] if module.startswith(FIRST) else [*GROUPS]
    return next(title for title in order if re.match(GROUPS[title], module))


def page() -> str:
    """Text of the page."""
    trees = parse()
    grouped: dict[str, list[str]] = {title: [] for title in GROUPS}
    for module, _, text in sorted(messages(trees)):
        line = f"- `` {text} ``" if "`" in text else f"- `{text}`"
        if line not in grouped[group_of(module)]:
            grouped[group_of(module)].append(line)
    parts = [f"## {title}\n\n" + "\n".join(lines) for title, lines in grouped.items()]
    head, _, _ = PAGE.read_text().partition(MARK)
    return f"{head}{MARK}\n\n" + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
