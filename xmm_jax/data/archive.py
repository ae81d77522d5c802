"""Pipeline products of an observation from the XMM-Newton Science Archive, kept in a folder.

One request per kind of product to the archive's inter-operability service (AIO). It answers with a
tar file (plain or gzip, members ``<obsid>/pps/P*.FTZ``) where there are several files, with the
file itself where there is one, and with text where there is none or the data are proprietary.
"""

import gzip
import http.client
import os
import re
import shutil
import tarfile
import tempfile
import textwrap
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from xmm_jax.data.folder import replace_file
from xmm_jax.data.pps import IMAGING, LIGHT_CURVE, find_products, parse_product
from xmm_jax.errors import InputError

ARCHIVE_URL = "https://nxsa.esac.esa.int/nxsa-sl/servlet/data-action-aio"
"""AIO of the XMM-Newton Science Archive (ESA)."""

URL_VARIABLE = "XMM_JAX_ARCHIVE_URL"
"""Environment variable that names another address with the same interface."""

_PIECE = 1 << 20
_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)


def fetch_pps(
    obs_id: str,
    *,
    folder: str | Path,
    base_url: str | None = None,
    offline: bool = False,
    timeout_s: float = 60.0,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Make sure that the pn event lists and light curves of an observation are at hand.

    What is in ``<folder>/<obs_id>/pps`` already is not asked for again; a file appears there only
    when it is complete.

    Parameters
    ----------
    obs_id : str
        Ten digits.
    folder : str or Path
        Holds one folder per observation.
    base_url : str, optional
        Address of the archive; by default that of the environment variable
        ``XMM_JAX_ARCHIVE_URL``, else the archive of ESA.
    offline : bool
        Ask nobody; fail where the event list is missing.
    timeout_s : float
        Longest silence of the archive [s].
    report : callable
        Takes a line of text before and after each request.

    Returns
    -------
    Path
        ``<folder>/<obs_id>/pps``. An exposure without light curve has none there.

    Raises
    ------
    InputError
        No event list to be had (unknown, proprietary, no pn imaging, offline), the archive cannot
        be reached, its answer is damaged or unsafe, or the files cannot be written.
    """
    if not re.fullmatch(r"[0-9]{10}", obs_id):
        raise InputError(f"{obs_id!r}: an OBS_ID has ten digits, such as 0852030101")
    base_url = base_url or os.environ.get(URL_VARIABLE) or ARCHIVE_URL
    if urlsplit(base_url).scheme not in ("http", "https"):
        raise InputError(f"{base_url}: the address of an archive begins with https:// or http://")
    pps = Path(folder) / obs_id / "pps"
    for kind in (IMAGING, LIGHT_CURVE):
        if _at_hand(pps, obs_id, kind):
            continue
        if offline and kind == IMAGING:
            raise InputError(f"{pps}: no event list of {obs_id}; without --offline it is fetched")
        if offline:
            continue
        report(f"fetching {kind} of {obs_id} from {urlsplit(base_url).netloc}")
        query = urlencode(
            {"obsno": obs_id, "level": "PPS", "instname": "PN", "name": kind, "extension": "FTZ"}
        )
        try:
            names = _fetch(f"{base_url}?{query}", pps, obs_id, kind, timeout_s)
        except OSError as error:
            raise InputError(
                f"{pps}: cannot be written ({error.strerror or error}); choose another folder"
            ) from None
        report(f"fetched {', '.join(names)}" if names else f"the archive has no {kind}")
    return pps


def _at_hand(pps: Path, obs_id: str, kind: str) -> bool:
    """Whether all files of a kind are there: those the archive sent, else those put there."""
    sent = _list_of(pps, kind)
    if sent.is_file():
        return all((pps / name).is_file() for name in sent.read_text().split())
    return any((one.obs_id, one.kind) == (obs_id, kind) for one in find_products(pps))


def _list_of(pps: Path, kind: str) -> Path:
    """Names of what the archive sent, written before the first of them gets its place."""
    return pps / f".{kind}.txt"


def _fetch(url: str, pps: Path, obs_id: str, kind: str, timeout_s: float) -> list[str]:
    """Fetch the products of one kind; returns their names, none if there is no light curve."""
    folder = pps.parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{obs_id}.", dir=folder) as scratch:
        reply = Path(scratch) / "reply"
        sent_name = _download(url, reply, timeout_s)
        message = _message(reply)
        if message is not None and kind != IMAGING:
            return []
        if message is not None:
            raise InputError(
                f"{obs_id}: the archive sent no event list but the message {message!r}; check the "
                "OBS_ID, that the data are public, and that EPIC-pn took images"
            )
        try:
            files = _unpack(reply, sent_name, obs_id, kind)
        except _DAMAGED as error:
            reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
            raise InputError(
                f"{obs_id}: what the archive sent as {kind} is damaged ({reason}); try again"
            ) from None
        pps.mkdir(parents=True, exist_ok=True)
        replace_file(_list_of(pps, kind), "\n".join(path.name for path in files).encode())
        for path in files:
            path.replace(pps / path.name)
    return [path.name for path in files]


def _download(url: str, reply: Path, timeout_s: float) -> str:
    """Save an answer; returns the file name that the archive gives it, empty if none."""
    host = urlsplit(url).netloc
    with _online(host):
        try:
            response = urlopen(url, timeout=timeout_s)
        except HTTPError as error:
            if error.code != 404:
                raise
            response = error  # nothing of that name: the body says so
    with response, reply.open("wb") as file:
        while True:
            with _online(host):
                piece = response.read(_PIECE)
            if not piece:
                break
            file.write(piece)
        length = response.headers.get("Content-Length", str(file.tell()))
        if length != str(file.tell()):
            raise InputError(
                f"{host}: the answer broke off after {file.tell()} of {length} bytes; try again"
            )
        return response.headers.get_filename("")


@contextmanager
def _online(host: str) -> Iterator[None]:
    """Turn what can go wrong between here and the archive into one line."""
    try:
        yield
    except HTTPError as error:
        remedy = "try later"
        if error.code in (401, 403):
            remedy = "proprietary data are fetched with your account: name the folder with them"
        with error:
            raise InputError(f"{host}: answers {error.code} {error.reason}; {remedy}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise InputError(
            f"{host}: cannot be reached ({reason}); try again, or fetch the files by other means "
            "and name their folder"
        ) from None


def _message(reply: Path) -> str | None:
    """Text of an answer that is text, None for files."""
    with reply.open("rb") as file:
        head = file.read(4096)
    if b"\0" in head or head.startswith((b"\x1f\x8b", b"SIMPLE  =")):
        return None
    words = re.sub(r"<[^>]*>", " ", head.decode(errors="replace"))
    return textwrap.shorten(words, 200) or "nothing"


def _unpack(reply: Path, sent_name: str, obs_id: str, kind: str) -> list[Path]:
    """Products of a kind in an answer, each complete, beside the answer."""
    with _opened(reply) as stream:
        single = stream.read(9) == b"SIMPLE  ="
    names = [sent_name] if single else _extract(reply)
    wanted = [
        product.path
        for product in map(parse_product, dict.fromkeys(names))
        if product and (product.obs_id, product.kind) == (obs_id, kind)
    ]
    if not wanted:
        seen = ", ".join(sorted(map(repr, names))[:3]) or "an empty file"
        raise InputError(f"{obs_id}: the archive sent no {kind} of it but {seen}; try again")
    files = [reply.with_name(path.name) for path in wanted]
    if single:
        reply.replace(files[0])
    for path in files:
        with _opened(path) as stream:
            head, size = stream.read(9), 9
            while piece := stream.read(_PIECE):
                size += len(piece)
        # FITS comes in blocks of 2880 bytes (FITS standard 4.0, 3.1).
        if head != b"SIMPLE  =" or size % 2880:
            raise EOFError(f"{path.name} is not a complete FITS file")
    return files


def _extract(reply: Path) -> list[str]:
    """Unpack the pipeline products of a tar file beside it, without the folders they are in."""
    names = []
    with tarfile.open(reply) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
                raise InputError(
                    f"the archive sent a tar file with the unsafe member {member.name!r}; "
                    "nothing was kept"
                )
            content = archive.extractfile(member)
            if content is None or parse_product(name.name) is None:
                continue
            with reply.with_name(name.name).open("wb") as file:
                shutil.copyfileobj(content, file)
            names.append(name.name)
        end = archive.offset
    with _opened(reply) as stream:
        # tarfile takes any end for the end; a whole archive ends with a block of zeros. Reading on
        # to the end of a gzip stream checks its sum.
        stream.seek(end)
        if stream.read(512) != bytes(512):
            raise EOFError("the tar file breaks off")
        while stream.read(_PIECE):
            pass
    return names


def _opened(path: Path):
    """Content of a file, uncompressed if it is gzip."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")
