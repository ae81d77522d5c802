"""Writing a file or a folder in one stroke: it has its name only when it is complete."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xmm_jax.errors import InputError


def replace_file(path: Path, content: bytes) -> None:
    """Write a small file under a temporary name beside it, then rename it.

    Parameters
    ----------
    path : Path
        Final name; an older file is replaced.
    content : bytes
        All of it.
    """
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


@contextmanager
def replacing(folder: Path, *, overwrite: bool, ours: str, resume: str = "") -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, and rename it to `folder` at the end.

    When anything is raised inside, the temporary folder is removed and `folder` stays as it was.
    A process killed outright leaves the temporary folder, ``.NAME.XXXXXXXX.partial``.

    Parameters
    ----------
    folder : Path
        Final name, absolute.
    overwrite : bool
        Replace a folder that is there, if it is ours.
    ours : str
        Name of the file by which a folder of this kind is known.
    resume : str, optional
        What tells this content from any other. The temporary folder is then
        ``.NAME.RESUME.partial``, stays when anything is raised, and is used again the next time.

    Yields
    ------
    Path
        Folder to fill; empty unless `resume` found one.

    Raises
    ------
    InputError
        If `folder` is in the way, or the temporary folder cannot be made.
    """
    _refuse(folder, overwrite=overwrite, ours=ours)
    # A sibling, because renaming is atomic only within one file system.
    partial = _sibling(folder, "partial", resume)
    try:
        partial.mkdir(parents=True, exist_ok=bool(resume))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from None
    try:
        yield partial
        _refuse(folder, overwrite=overwrite, ours=ours)
        _rename(partial, folder)
    except BaseException:
        if not resume:
            shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold a lock beside a folder: of several processes one fills it, others wait for that.

    Parameters
    ----------
    folder : Path
        Not yet there, or being filled. The lock is the file ``.NAME.lock`` beside it; it is gone
        with its process, the empty file stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        with suppress(OSError):  # file systems without locks: as before
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _refuse(folder: Path, *, overwrite: bool, ours: str) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / ours).is_file():
        raise InputError(f"{folder}: in the way and not ours (no {ours}); choose another --out")
    if not overwrite:
        raise InputError(f"{folder}: exists already; choose another --out or pass --overwrite")


def _rename(partial: Path, folder: Path) -> None:
    if not folder.exists():
        partial.rename(folder)
        return
    old = _sibling(folder, "old")
    folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _sibling(folder: Path, kind: str, mark: str = "") -> Path:
    return folder.with_name(f".{folder.name}.{mark or secrets.token_hex(4)}.{kind}")


def cache_folder() -> Path:
    """``$XMM_JAX_CACHE``, else ``xmm_jax`` in the cache folder of the user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("XMM_JAX_CACHE") or Path(base) / "xmm_jax")
