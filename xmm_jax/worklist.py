"""What is to be enhanced: files of names, patterns, folders and lists, and where results go."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xmm_jax.errors import InputError

_IMAGE = re.compile(r"\.(fits?|fts|ftz)(\.gz|\.fz)?$", re.IGNORECASE)
# What we write ourselves.
_OURS = re.compile(r"_(sr|dn)\.(fits?)(\.gz|\.fz)?$", re.IGNORECASE)
ENDINGS = {"gzip": ".fits.gz", "tiles": ".fits.fz", "none": ".fits"}


class Item(NamedTuple):
    """One image to enhance.

    Attributes
    ----------
    path : Path
        The input.
    place : Path
        Folder of it inside the folder that was named; ``.`` for files that were named.
    """

    path: Path
    place: Path


def find_items(names: Sequence[str], *, lists: Sequence[str] = ()) -> list[Item]:
    """Images of names, patterns and folders, in order, each once.

    Parameters
    ----------
    names : sequence of str
        Files, patterns such as ``images/*.fits.gz``, and folders, which are searched to the bottom
        for FITS files. Results of ours among several are left out: a shell that spells out a
        pattern names them too.
    lists : sequence of str
        Text files with a name in each line; ``#`` begins a comment. Relative names start from the
        folder of the list.

    Returns
    -------
    list of Item
        Files that were named, whatever their ending, and FITS files of folders.

    Raises
    ------
    InputError
        If nothing is named, or a name, pattern or folder gives nothing.
    """
    names = [*names, *(name for one in lists for name in read_list(Path(one)))]
    if not names:
        raise InputError("name at least one image: xmm-jax enhance IMAGE.fits --task=sr")
    items: dict[Path, Item] = {}
    for name in names:
        for item in _items_of(name):
            items.setdefault(Path(os.path.realpath(item.path)), item)
    found = [item for item in items.values() if not _OURS.search(item.path.name)]
    return found if len(items) > 1 and found else list(items.values())


def read_list(path: Path) -> list[str]:
    """Names of a list file.

    Parameters
    ----------
    path : Path
        Text, UTF-8.

    Raises
    ------
    InputError
        If it cannot be read or names nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputError(
            f"{path}: cannot be read as a list of files ({reason}); give a text file"
        ) from None
    named = [line.partition("#")[0].strip() for line in lines]
    # A pattern or an absolute name stays what it is: joining leaves it alone.
    found = [str(path.parent / name) for name in named if name]
    if not found:
        raise InputError(f"{path}: names no file; expected one in each line")
    return found


def outputs(items: Iterable[Item], out: str, suffix: str, *, compress: str = "gzip") -> list[Path]:
    """Where results go: ``<name>_<suffix>.fits.gz`` beside each input, or under a folder.

    Parameters
    ----------
    items : iterable of Item
        From `find_items`.
    out : str
        Folder, in which the folders below one that was named are kept; empty: beside each input.
    suffix : str
        ``SR`` or ``DN``.
    compress : str
        Key of `ENDINGS`.

    Raises
    ------
    InputError
        If two inputs would be written to one file.
    """
    paths: dict[Path, Path] = {}
    for item in items:
        folder = Path(out) / item.place if out else item.path.parent
        path = folder / f"{stem_of(item.path)}_{suffix}{ENDINGS[compress]}"
        if path in paths:
            raise InputError(
                f"{paths[path]} and {item.path} would both be written to {path}; name the folder "
                "above both, so that results lie in folders of their own, or run them apart"
            )
        paths[path] = item.path
    return list(paths)


def stem_of(path: Path) -> str:
    """Name of an image without the endings of FITS files and their compression."""
    return _IMAGE.sub("", path.name)


def share(items: Sequence[Any], shard: str) -> list[Any]:
    """Part of the items for one of several processes.

    Parameters
    ----------
    items : sequence
        All of them, the same in every process.
    shard : str
        ``i/n``, i from 1 to n; empty: all.

    Raises
    ------
    InputError
        If it is something else.
    """
    if not shard:
        return list(items)
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    number, total = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= total:
        raise InputError(f"--shard={shard}: say i/n, i from 1 to n, such as 2/8")
    return list(items[number - 1 :: total])


def _items_of(name: str) -> list[Item]:
    """Images of one name, pattern or folder."""
    if Path(name).is_dir():
        found = [Item(path, path.parent.relative_to(name)) for path in _walk(Path(name))]
        if not found:
            raise InputError(f"{name}: no FITS image in this folder or below; check the name")
        return found
    # A name that exists is a name, even with brackets in it.
    if Path(name).exists():
        return [Item(Path(name), Path())]
    paths = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (absolute patterns too)
    if not paths:
        raise InputError(f"{name}: no such file; check the name")
    return [item for path in paths for item in _items_of(path)]


def _walk(folder: Path) -> Iterator[Path]:
    """FITS files of a folder to the bottom, by name; a folder that links lead back to once."""
    seen: set[Path] = set()
    for place, below, files in os.walk(folder, followlinks=True):
        real = Path(os.path.realpath(place))
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(one for one in below if not one.startswith("."))
        for name in sorted(files):
            if _IMAGE.search(name) and not name.startswith("."):
                yield Path(place) / name
