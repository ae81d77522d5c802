"""A table of what became of each input, kept through kills."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.errors import InputError
from xmm_jax.status import COLUMNS, DONE, FAILED, THERE, Status, append, read, total

ROWS = [
    Status("a.fits", "sr", "a_SR.fits.gz", DONE, "", 1.5, 20e3, 100_000, 5.4, 12, 1, 0),
    Status('b,  "c"  Ærø.fits', "sr", "", FAILED, "b.fits: not\na FITS file, or so"),
]


def test_rows_come_back(tmp_path):
    path = tmp_path / "deep/status.csv"
    assert read(path) == {}
    for row in ROWS:
        append(path, [row])
    found = read(path)
    assert found["a.fits", "sr"] == ROWS[0]
    assert found[ROWS[1].input, "sr"].reason == "b.fits: not a FITS file, or so"
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert len(path.read_text().splitlines()) == 3


def test_a_later_row_replaces_an_earlier_one(tmp_path):
    path = tmp_path / "status.csv"
    again = Status("a.fits", "sr", "a_SR.fits.gz", THERE)
    other = Status("a.fits", "dn", "a_DN.fits.gz", DONE)
    append(path, [*ROWS, again, other])
    assert read(path) == {
        ("a.fits", "sr"): again,
        (ROWS[1].input, "sr"): read(path)[ROWS[1].input, "sr"],
        ("a.fits", "dn"): other,
    }
    assert total(read(path).values()) == "1 done, 1 there, 1 failed"
    assert total([]) == "nothing"


@given(cut=st.integers(0, 200))
def test_a_torn_row_is_as_good_as_none(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("status") / "status.csv"
    append(path, ROWS[:1])
    whole = path.read_bytes()
    append(path, [Status("b.fits", "sr", "b_SR.fits.gz", DONE, "", 2.0)])
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    append(path, [Status("c.fits", "sr", "c_SR.fits.gz", DONE)])
    found = read(path)
    assert found["a.fits", "sr"] == ROWS[0]
    assert found["c.fits", "sr"].output == "c_SR.fits.gz"
    assert set(found) <= {("a.fits", "sr"), ("b.fits", "sr"), ("c.fits", "sr")}


def test_a_table_that_is_none(tmp_path):
    (tmp_path / "status.csv").write_bytes(b"\xff\xfe what, is, this\n1,2,3\n")
    assert read(tmp_path / "status.csv") == {}
    with pytest.raises(InputError, match="cannot be written"):
        append(tmp_path, ROWS)
