"""What is to be enhanced, and where results go."""

from pathlib import Path

import pytest

from xmm_jax.errors import InputError
from xmm_jax.worklist import Item, find_items, outputs, share


@pytest.fixture
def folder(tmp_path):
    """Images, results, notes, links that lead back, names of all kinds."""
    for name in (
        "b.fits", "a.fits.gz", "c.FTZ", "deep/a.fits.gz", "deep/er/Ærø [1].fit", "notes.txt",
        "a_SR.fits.gz", "a_SR.fits.fz", "b_DN.fits", ".hidden.fits", ".old/x.fits", "table.csv",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "deep/loop").symlink_to(tmp_path)
    (tmp_path / "deep/again.fits").symlink_to(tmp_path / "b.fits")
    return tmp_path


def test_a_folder_is_searched_to_the_bottom(folder):
    found = find_items([str(folder)])
    names = [str(item.path.relative_to(folder)) for item in found]
    assert names == ["a.fits.gz", "b.fits", "c.FTZ", "deep/a.fits.gz", "deep/er/Ærø [1].fit"]
    assert [str(item.place) for item in found] == [".", ".", ".", "deep", "deep/er"]


def test_names_patterns_and_folders_give_each_file_once(folder):
    named = folder / "deep/er/Ærø [1].fit"
    found = find_items([str(named), str(folder / "*.fits"), str(folder), str(folder / "b.fits")])
    assert found[0] == Item(named, Path())
    assert found[1] == Item(folder / "b.fits", Path())
    assert len(found) == 5
    # What is named is taken, whatever it is called.
    assert find_items([str(folder / "notes.txt")])[0].path.name == "notes.txt"
    assert find_items([str(folder / "a_SR.fits.gz")])[0].path.name == "a_SR.fits.gz"


def test_a_list_names_files_from_where_it_lies(folder):
    (folder / "deep/list.txt").write_text("# two of them\n a.fits.gz  # good\n\n../b.fits\n")
    found = find_items([], lists=[str(folder / "deep/list.txt")])
    assert [item.path.resolve() for item in found] == [folder / "deep/a.fits.gz", folder / "b.fits"]
    (folder / "deep/list.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match="names no file"):
        find_items([], lists=[str(folder / "deep/list.txt")])
    with pytest.raises(InputError, match="cannot be read as a list"):
        find_items([], lists=[str(folder / "none.txt")])
    (folder / "list.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no UTF-8 text"):
        find_items([], lists=[str(folder / "list.bin")])


def test_nothing_to_do(folder):
    with pytest.raises(InputError, match="name at least one image"):
        find_items([])
    with pytest.raises(InputError, match="no such file"):
        find_items([str(folder / "*.png")])
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no FITS image in this folder"):
        find_items([str(folder / "empty")])


def test_results_lie_beside_their_input_or_as_it_lay(folder):
    items = find_items([str(folder)])
    beside = outputs(items, "", "SR")
    assert beside[0] == folder / "a_SR.fits.gz"
    assert beside[-1] == folder / "deep/er/Ærø [1]_SR.fits.gz"
    below = outputs(items, "out", "DN")
    assert below[0] == Path("out/a_DN.fits.gz")
    assert below[3] == Path("out/deep/a_DN.fits.gz")
    assert outputs(items, "", "SR", compress="tiles")[0] == folder / "a_SR.fits.fz"
    twice = find_items([str(folder / "a.fits.gz"), str(folder / "deep/a.fits.gz")])
    assert len(outputs(twice, "", "SR")) == 2
    with pytest.raises(InputError, match="would both be written to"):
        outputs(twice, "out", "SR")


def test_processes_share_the_work():
    items = [Item(Path(str(number)), Path()) for number in range(7)]
    parts = [share(items, f"{number}/3") for number in (1, 2, 3)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert share(items, "") == items
    assert share(items, "9/9") == []
    for wrong in ("0/3", "4/3", "1", "a/b", "1/0", "-1/3"):
        with pytest.raises(InputError, match="say i/n"):
            share(items, wrong)
