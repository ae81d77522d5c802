"""Docstrings say what comes in, in which unit, and what is refused; they are parsed, nothing runs.

A docstring may go without a list of parameters where each of them is of a type that has a docstring
of its own (``config: Config``), or is named in the docstring or in that of the module, which then
is the contract of all its functions; if there is an array among them, its shape or unit is there
too. Five and more parameters are always listed. Fields of a class likewise.
"""

import ast
import functools
import re
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

import xmm_jax

ROOT = Path(xmm_jax.__file__).parent
TREES = {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
ARRAY = re.compile(r"\b(Array|ArrayLike|array|ndarray)\b")
# Capitalised words in annotations that do not say what is in there.
BARE = {"Any", "Array", "ArrayLike", "Callable", "Collection", "False", "Generator", "Iterable"}
BARE |= {"Iterator", "Mapping", "None", "Sequence", "True"}
UNIT = re.compile(r"\[|\bunits?\b", re.IGNORECASE)
SHAPE = re.compile(r"\[|\bunits?\b|\b(any shape|scalars?|random key)\b", re.IGNORECASE)
OTHER = re.compile(r"\b(?:parameters|arguments)\b[^.`]*`([\w.]+)`")  # described there
# What has no unit: a pure number, a choice, a random key; or the unit is said where this points to.
PURE = re.compile(
    r"\b(chance|exponent|factor|index|key|logarithm|mask|non-zero|ratio|share|slope|true)\b"
    r"|\b(as (for|in|of)|columns|from|see|with)\b.*`",
    re.IGNORECASE,
)
LISTED = 5  # so many parameters are always listed
# "Do not write" in the project's table of names: another meaning, or a second name of a quantity.
TAKEN = {"accuracy", "bs", "confidence", "epic", "exp", "experiment", "global_step", "grade", "gt"}
TAKEN |= {"hr", "img", "imgs", "iteration", "lq", "lr", "mode", "precision", "recall", "res_mult"}
TAKEN |= {"sensor", "sr", "theta", "val", "world_size"}


def public(nodes):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [
        node
        for node in nodes
        if isinstance(node, kinds) and (node.name[0] != "_" or node.name == "__call__")
    ]


def callables(tree):
    """Public functions, classes and their public methods, by name."""
    for node in public(tree.body):
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{inner.name}", inner) for inner in public(node.body))


def parameters(node):
    """Annotation of each parameter; what ``argv`` is stands in `xmm_jax.errors.Main`."""
    given = node.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return {
        each.arg: ast.unparse(each.annotation) if each.annotation else ""
        for each in every
        if each is not None and each.arg not in ("self", "cls", "_", "argv")
    }


def fields(node):
    """Annotation of each field of a class that no docstring of its own follows."""
    return {
        inner.target.id: ast.unparse(inner.annotation)
        for inner, after in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(inner, ast.AnnAssign) and not inner.target.id.startswith("_")
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
    }


def taken(node):
    """What a docstring has to explain: parameters, or fields, or parameters of ``__init__``."""
    if not isinstance(node, ast.ClassDef):
        return parameters(node)
    inits = [inner for inner in node.body if getattr(inner, "name", "") == "__init__"]
    return parameters(inits[0]) if inits else fields(node)


@functools.cache
def document(node):
    return NumpyDocString(ast.get_docstring(node) or "")


def listed(node, *sections):
    """Entries of sections by name; ``a, b : array`` is two, a mere ``InputError`` is one."""
    doc = document(node)
    return {
        name.strip().lstrip("*"): entry
        for section in sections
        for entry in doc[section]
        for name in (entry.name or entry.type).split(",")
    }


def unnamed(node, text):
    """Names that are neither words of a text nor of a type that explains itself."""
    words = text.lower().replace("_", " ")
    for name, annotation in taken(node).items():
        typed = set(re.findall(r"\b[A-Z]\w+", annotation)) - BARE
        if typed and not ARRAY.search(annotation):
            continue
        if not re.search(rf"\b{name.lower().replace('_', ' ')}\b", words):
            yield name


WORDS = {
    node.name: ast.get_docstring(node) or "" for t in TREES.values() for node in public(t.body)
}


def check_names(node, contract):
    """The names listed are those of the signature; without a list the text has them."""
    there = taken(node)
    entries = listed(node, "Parameters", "Attributes").keys() - {"argv"}
    if entries:
        ours = parameters(node) if isinstance(node, FUNCTION) else there
        missing, strange = ours.keys() - entries, entries - there.keys()
        if isinstance(node, ast.ClassDef):  # may also list what __init__ or a property gives
            strange = set()
        return [f"lists no {n}" for n in missing] + [f"lists {n}, which is none" for n in strange]
    text = f"{ast.get_docstring(node)} {contract}"
    text += " ".join(WORDS.get(name.split(".")[-1], "") for name in OTHER.findall(text))
    faults = [f"does not name {name}" for name in unnamed(node, text)]
    if isinstance(node, FUNCTION) and len(there) >= LISTED:
        faults.append(f"lists none of {len(there)} parameters")
    if any(ARRAY.search(each) for each in there.values()) and not SHAPE.search(text):
        faults.append("says no unit or shape of an array")
    return faults


def check_units(node, contract):
    """Arrays have a unit in brackets, or are what has none; so has an array that comes out."""
    entries = listed(node, "Parameters", "Attributes").items()
    said = {name: f"{name} {entry.type} {' '.join(entry.desc)}" for name, entry in entries}
    faults = [
        f"says no unit of {name}"
        for name, entry in entries
        if ARRAY.search(entry.type) and "bool" not in entry.type
        if not (UNIT.search(said[name]) or PURE.search(said[name]))
    ]
    gives = ast.unparse(node.returns) if getattr(node, "returns", None) else ""
    text = f"{ast.get_docstring(node)} {contract}"
    if ARRAY.search(gives) and not (listed(node, "Returns", "Yields") or SHAPE.search(text)):
        faults.append("does not say what it returns")
    return faults


def raised(node, inside=()):
    """Errors that a body raises and neither it nor a private context of it catches."""
    if isinstance(node, ast.Raise) and node.exc is not None:
        name = ast.unparse(node.exc).split("(")[0]
        caught = re.compile(rf"{name}|Exception|^_?[A-Z]+$|^_\w+\(")
        if name.endswith("Error") and not any(map(caught.search, inside)):
            yield name
    for field, children in ast.iter_fields(node):
        within = inside
        if isinstance(node, ast.Try) and field == "body":
            within = (*inside, *(ast.unparse(h.type) for h in node.handlers if h.type))
        if isinstance(node, ast.With) and field == "body":
            within = (*inside, *(ast.unparse(item.context_expr) for item in node.items))
        for child in children if isinstance(children, list) else [children]:
            if isinstance(child, ast.AST):
                yield from raised(child, within)


def check_errors(node, contract):
    """Errors raised in the body stand in the docstring."""
    bodies = [node]
    if isinstance(node, ast.ClassDef):
        made = ("__init__", "__post_init__")
        bodies = [inner for inner in node.body if getattr(inner, "name", "") in made]
    elif "command" in map(ast.unparse, node.decorator_list):  # turns errors into exit codes
        return []
    errors = {name for body in bodies for name in raised(body)}
    return [
        f"does not say that it raises {name}" for name in errors - listed(node, "Raises").keys()
    ]


@pytest.mark.parametrize("check", [check_names, check_units, check_errors])
def test_docstrings(check):
    faults = [
        f"xmm_jax/{path}:{node.lineno} {name} {fault}"
        for path, tree in TREES.items()
        for name, node in callables(tree)
        for fault in check(node, ast.get_docstring(tree) or "")
    ]
    assert not faults, "\n" + "\n".join(faults)


def test_no_name_has_another_meaning():
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.arg):
                name = node.arg
            elif isinstance(node, ast.AnnAssign):
                name = ast.unparse(node.target)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                name = node.attr
            else:
                continue
            assert name not in TAKEN, f"xmm_jax/{path}:{node.lineno} {name}"


def test_help_breaks_its_lines_at_clauses():
    """Line breaks of a field's docstring are those of the help text: tyro keeps them."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                for inner in node.body[1:]:
                    if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant):
                        for line in str(inner.value.value).splitlines()[:-1]:
                            assert not line or line[-1] in ".,;:", f"{path}: {line}"
