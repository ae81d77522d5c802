"""The archive client against a server on this machine that answers as the archive does, or not."""

import errno
import gzip
import io
import shutil
import tarfile
from functools import partial

import archive_server
import numpy as np
import pytest
from archive_server import reply
from astropy.io import fits

from xmm_jax.data import archive
from xmm_jax.data.archive import fetch_pps
from xmm_jax.errors import InputError

OBS_ID = "0852030101"
PROPRIETARY = (
    b"<html><body><h1>Error</h1>The data of this observation are\nproprietary</body></html>"
)


def name_of(exposure, kind, obs_id=OBS_ID):
    return f"P{obs_id}PN{exposure}{kind}0000.FTZ"


def product(seed, size=400):
    """A gzipped FITS file that gzip can hardly shrink."""
    noise = np.random.default_rng(seed).integers(0, 256, size * 64, np.uint8)
    file = io.BytesIO()
    fits.PrimaryHDU(noise.reshape(64, size)).writeto(file)
    return gzip.compress(file.getvalue(), mtime=0)


LISTS = {name_of("S003", "PIEVLI"): product(1), name_of("U002", "PIEVLI"): product(2)}
CURVES = {name_of("S003", "FBKTSR"): product(3), name_of("U002", "FBKTSR"): product(4)}


tar_of = partial(archive_server.tar_of, below=f"{OBS_ID}/pps/")


@pytest.fixture
def server():
    with archive_server.serving() as state:
        yield state


def contents(folder):
    """Files below a folder, hidden ones left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def in_place(files):
    return {f"{OBS_ID}/pps/{name}": content for name, content in files.items()}


def fails(server, folder, says, **options):
    """The fetch fails in one line and leaves nothing behind."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match=says) as caught:
        fetch_pps(OBS_ID, folder=folder, base_url=server.url, **options)
    assert "\n" not in str(caught.value)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("below", [f"{OBS_ID}/pps/", f"./{OBS_ID}/pps/", ""])
def test_tar(mode, below, server, tmp_path):
    for kind, files in (("PIEVLI", LISTS), ("FBKTSR", CURVES)):
        server.replies[kind] = reply(
            tar_of(files, mode=mode, below=below or "./"), name=f"{OBS_ID}.tar.gz"
        )
    said = []
    pps = fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url, report=said.append)
    assert pps == tmp_path / OBS_ID / "pps"
    assert contents(tmp_path) == in_place(LISTS | CURVES)
    assert [query["obsno"] for query in server.queries] == [OBS_ID, OBS_ID]
    assert {(q["level"], q["instname"], q["extension"]) for q in server.queries} == {
        ("PPS", "PN", "FTZ")
    }
    assert len(said) == 4
    # All is there, so nobody is asked again: not even a server that is gone.
    assert fetch_pps(OBS_ID, folder=tmp_path, base_url="http://127.0.0.1:1/") == pps
    assert server.asked == ["PIEVLI", "FBKTSR"]


def test_single_files_and_the_address_from_the_environment(server, tmp_path, monkeypatch):
    (events, content), (curve, rates) = next(iter(LISTS.items())), next(iter(CURVES.items()))
    server.replies["PIEVLI"] = reply(content, name=events)
    server.replies["FBKTSR"] = reply(rates, name=curve, length=None)
    monkeypatch.setenv("XMM_JAX_ARCHIVE_URL", server.url)
    fetch_pps(OBS_ID, folder=tmp_path)
    assert contents(tmp_path) == in_place({events: content, curve: rates})


def test_no_light_curve_is_asked_for_again(server, tmp_path):
    server.replies["PIEVLI"] = reply(tar_of(LISTS))
    said = []
    fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url, report=said.append)
    assert contents(tmp_path) == in_place(LISTS)
    assert said[-1] == "the archive has no FBKTSR"
    server.replies["FBKTSR"] = reply(b"not there", status=404)
    fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url)
    server.replies["FBKTSR"] = reply(tar_of(CURVES))
    fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url)
    assert contents(tmp_path) == in_place(LISTS | CURVES)
    assert server.asked == ["PIEVLI", "FBKTSR", "FBKTSR", "FBKTSR"]


def test_a_fetch_that_broke_goes_on_with_the_files_that_are_missing(server, tmp_path):
    server.replies["PIEVLI"] = reply(tar_of(LISTS))
    server.replies["FBKTSR"] = reply(tar_of(CURVES)[:5000])
    with pytest.raises(InputError, match="FBKTSR is damaged"):
        fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url)
    assert contents(tmp_path) == in_place(LISTS)
    server.replies["FBKTSR"] = reply(tar_of(CURVES))
    fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url)
    assert contents(tmp_path) == in_place(LISTS | CURVES)
    assert server.asked == ["PIEVLI", "FBKTSR", "FBKTSR"]
    # One of several event lists is missing, as after a kill between two renames.
    (tmp_path / OBS_ID / "pps" / name_of("U002", "PIEVLI")).unlink()
    fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url)
    assert contents(tmp_path) == in_place(LISTS | CURVES)
    assert server.asked[-1] == "PIEVLI"


def test_files_put_there_by_hand_and_offline(server, tmp_path):
    fails(server, tmp_path, "no event list of 0852030101; without --offline", offline=True)
    pps = tmp_path / OBS_ID / "pps"
    pps.mkdir(parents=True)
    (pps / name_of("S003", "PIEVLI", "0000000001")).touch()
    fails(server, tmp_path, "no event list of 0852030101; without --offline", offline=True)
    (pps / name_of("S003", "PIEVLI")).touch()
    assert fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url, offline=True) == pps
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(PROPRIETARY), "'Error The data of this observation are proprietary'"),
        (reply(PROPRIETARY, status=404), "'Error The data of this observation are proprietary'"),
        (reply(b""), "message 'nothing'"),
        (reply(b"x y " * 2000), r"message 'x y .{180,200}'"),
        (reply(PROPRIETARY, status=401), "answers 401 Unauthorized; proprietary data"),
        (reply(b"no", status=403), "answers 403 Forbidden; proprietary data"),
        (reply(b"no", status=503), "answers 503 Service Unavailable; try later"),
        (reply(LISTS[name_of("S003", "PIEVLI")]), r"sent no PIEVLI of it but '';"),
        (reply(product(1), name="P0852030101PNS003PIEVLI0000.EXE.FTZ"), "sent no PIEVLI"),
        (reply(product(1), name=name_of("S003", "PIEVLI", "0000000001")), "sent no PIEVLI"),
        (reply(tar_of({name_of("S003", "PIEVLI", "0000000001"): product(1)})), "sent no PIEVLI"),
        (reply(tar_of({})), "sent no PIEVLI of it but an empty file"),
        (reply(tar_of({name_of("S003", "PIEVLI"): b"\x1f\x8b text"})), "damaged"),
        (reply(tar_of({name_of("S003", "PIEVLI"): b"text"})), "is not a complete FITS file"),
        (reply(tar_of({name_of("S003", "PIEVLI"): product(1)[:-30]})), "damaged"),
        (reply(gzip.compress(b"text")), "damaged"),
        (reply(b"\x1f\x8b"), "damaged"),
        (reply(bytes(2000)), "an empty file"),
    ],
)
def test_answers_that_are_no_event_list(answer, says, server, tmp_path):
    server.replies["PIEVLI"] = answer
    fails(server, tmp_path, says)


def member(name, kind=tarfile.REGTYPE, link=""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    made.size = 8 if kind == tarfile.REGTYPE else 0
    return made


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/P0852030101PNS003PIEVLI0000.FTZ"),
        member("../P0852030101PNS003PIEVLI0000.FTZ"),
        member(f"{OBS_ID}/../../evil"),
        member("..", tarfile.DIRTYPE),
        member(name_of("S003", "PIEVLI"), tarfile.SYMTYPE, "/etc/passwd"),
        member(name_of("S003", "PIEVLI"), tarfile.LNKTYPE, "../../target"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
    ],
    ids=lambda bad: bad.name.replace("/", "|") + str(bad.type),
)
def test_unsafe_tar_files_are_refused_whole(bad, mode, server, tmp_path):
    folder = tmp_path / "products"
    folder.mkdir()
    server.replies["PIEVLI"] = reply(tar_of(LISTS, mode=mode, extra=[bad]))
    fails(server, folder, "unsafe member")
    assert [path.name for path in tmp_path.iterdir()] == ["products"]


def test_other_files_in_a_tar_file_are_passed_over(server, tmp_path):
    extra = [member("MANIFEST"), member(f"{OBS_ID}/pps/PP{OBS_ID}EEVLIS000_0.HTM")]
    server.replies["PIEVLI"] = reply(tar_of(LISTS | CURVES, extra=extra))
    fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url)
    assert contents(tmp_path) == in_place(LISTS)


@pytest.mark.parametrize("mode", ["w", "w:gz", "single"])
@pytest.mark.parametrize("announced", [True, False])
def test_bodies_cut_anywhere(mode, announced, server, tmp_path):
    name, content = next(iter(LISTS.items()))
    body = content if mode == "single" else tar_of(LISTS, mode=mode)
    # The last bytes of a plain tar file are padding; after the first block of zeros it is whole.
    whole = len(body.rstrip(b"\0")) + 512 if mode == "w" else len(body)
    cuts = np.random.default_rng(5).integers(100, whole, 12).tolist()
    if mode == "w":
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:  # which sees nothing wrong cut here
            cuts += [offset for one in tar for offset in (one.offset, one.offset_data)]
    for cut in {*cuts, whole - 1} - {0}:
        server.replies["PIEVLI"] = reply(
            body[:cut], name=name, length=len(body) if announced else None
        )
        says = f"broke off after {cut} of {len(body)} bytes" if announced else "is damaged"
        fails(server, tmp_path, says)


def test_slow_answers(server, tmp_path):
    server.replies["PIEVLI"] = reply(tar_of(LISTS), wait_s=5.0)
    fails(server, tmp_path, "127.0.0.1:.*: cannot be reached .*timed out", timeout_s=0.2)
    # Slow but steady is no reason to give up: the limit is on silence.
    server.replies["PIEVLI"] = reply(tar_of(LISTS), pieces=20)
    fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url, timeout_s=0.3)
    assert contents(tmp_path) == in_place(LISTS)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1/aio", "127.0.0.1:1: cannot be reached .*refused"),
        ("http://nowhere.invalid/aio", "nowhere.invalid: cannot be reached"),
        ("http://127.0.0.1:port/aio", "cannot be reached"),
        ("file:///etc/passwd", "begins with https:// or http://"),
        ("nxsa.esac.esa.int", "begins with https:// or http://"),
    ],
)
def test_addresses_that_lead_nowhere(url, says, server, tmp_path):
    server.url = url
    fails(server, tmp_path, says)


@pytest.mark.parametrize(
    "obs_id", ["852030101", "08520301011", "../../../etc", "085203010x", "", "\u0660" * 10]
)
def test_no_observation(obs_id, server, tmp_path):
    with pytest.raises(InputError, match="an OBS_ID has ten digits"):
        fetch_pps(obs_id, folder=tmp_path, base_url=server.url)
    assert server.asked == []


def test_no_room(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    server.replies["PIEVLI"] = reply(tar_of(LISTS))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    fails(server, tmp_path, "cannot be written .No space left on device")
    monkeypatch.undo()
    monkeypatch.setattr(archive, "replace_file", full)
    with pytest.raises(InputError, match="cannot be written"):
        fetch_pps(OBS_ID, folder=tmp_path, base_url=server.url)
    assert contents(tmp_path) == {}
    (tmp_path / "file").touch()
    fails(server, tmp_path / "file", "cannot be written")


@pytest.mark.parametrize("mode", ["w", "w:gz", "single"])
def test_a_damaged_byte_is_noticed(mode, server, tmp_path):
    name, content = next(iter(LISTS.items()))
    body = content if mode == "single" else tar_of(LISTS, mode=mode)
    rng = np.random.default_rng(6)
    places = rng.integers(0, len(body.rstrip(b"\0")), 60).tolist()
    noticed = 0
    for place in [*places, *range(0, 300, 5)]:
        changed = bytearray(body)
        changed[place] ^= 1 << rng.integers(8)
        server.replies["PIEVLI"] = reply(bytes(changed), name=name)
        folder = tmp_path / str(place)
        folder.mkdir(exist_ok=True)
        try:
            fetch_pps(OBS_ID, folder=folder, base_url=server.url)
        except InputError:
            noticed += 1
            assert contents(folder) == {}
            continue
        # What is not noticed (the date in a header) has done no harm.
        unpacked = {path: gzip.decompress(kept) for path, kept in contents(folder).items()}
        whole = in_place({name: content} if mode == "single" else LISTS)
        assert unpacked == {path: gzip.decompress(kept) for path, kept in whole.items()}
    assert noticed > 60
