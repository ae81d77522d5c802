from pathlib import Path

import pytest

from xmm_jax.data.folder import replace_file, replacing
from xmm_jax.errors import InputError


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _make(folder, text, *, overwrite=False):
    with replacing(folder, overwrite=overwrite, ours="mark") as partial:
        (partial / "mark").write_text(text)


def _make_half(folder, error):
    with replacing(folder, overwrite=True, ours="mark") as partial:
        (partial / "mark").write_text("half")
        raise error


def test_appears_when_complete(tmp_path):
    folder = tmp_path / "deep" / "new"
    with replacing(folder, overwrite=False, ours="mark") as partial:
        (partial / "mark").touch()
        assert partial.parent == folder.parent
        assert not folder.exists()
    assert _names(folder.parent) == ["new"]
    assert _names(folder) == ["mark"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [False, True])
def test_interrupted(tmp_path, error, before):
    folder = tmp_path / "new"
    if before:
        _make(folder, "old")
    with pytest.raises(error):
        _make_half(folder, error)
    assert _names(tmp_path) == (["new"] if before else [])
    if before:
        assert (folder / "mark").read_text() == "old"


def test_overwrite(tmp_path):
    folder = tmp_path / "new"
    _make(folder, "old")
    (folder / "more").touch()
    with pytest.raises(InputError, match=r"new: exists already; .*--overwrite"):
        _make(folder, "new")
    assert (folder / "mark").read_text() == "old"
    _make(folder, "new", overwrite=True)
    assert (folder / "mark").read_text() == "new"
    assert _names(folder) == ["mark"]
    assert _names(tmp_path) == ["new"]


def test_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    folder = tmp_path / "new"
    _make(folder, "old")
    rename = Path.rename

    def refuse(path, target):
        if path.suffix == ".partial":
            raise PermissionError
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        _make(folder, "new", overwrite=True)
    assert _names(tmp_path) == ["new"]
    assert (folder / "mark").read_text() == "old"


def test_empty_folder_is_free(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    _make(folder, "text")
    assert _names(folder) == ["mark"]


def test_never_replaces_what_is_not_ours(tmp_path):
    folder, file = tmp_path / "thesis", tmp_path / "file"
    folder.mkdir()
    (folder / "chapter").touch()
    file.touch()
    for path in (folder, file):
        with pytest.raises(InputError, match="in the way and not ours"):
            _make(path, "text", overwrite=True)
    assert _names(tmp_path) == ["file", "thesis"]
    assert _names(folder) == ["chapter"]


def test_filled_by_somebody_else_meanwhile(tmp_path):
    folder = tmp_path / "new"
    with (
        pytest.raises(InputError, match="exists already"),
        replacing(folder, overwrite=False, ours="mark"),
    ):
        _make(folder, "other")
    assert (folder / "mark").read_text() == "other"
    assert _names(tmp_path) == ["new"]


def test_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        _make(tmp_path / "file" / "new", "text")


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("old, and longer than the new")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
