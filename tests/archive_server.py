"""A server on this machine that answers as the XMM-Newton Science Archive does, or badly."""

import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit


def tar_of(files, *, below, mode="w", extra=()):
    """A tar file of `files` (contents by name) in the folder `below`; `extra` members first."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        folder = tarfile.TarInfo(below.rstrip("/"))
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for member in extra:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        for name, content in files.items():
            member = tarfile.TarInfo(below + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def reply(body, *, name="", status=200, length=True, wait_s=0.0, pieces=1):
    """What the server says: `length` of the body it announces (None: nothing), and how slowly."""
    length = len(body) if length is True else length
    return SimpleNamespace(
        body=body, name=name, status=status, length=length, wait_s=wait_s, pieces=pieces
    )


@contextmanager
def serving() -> Iterator[SimpleNamespace]:
    """Serve ``replies`` by product at ``url``; ``queries`` and ``asked`` say what was wanted."""
    state = SimpleNamespace(replies={}, asked=[], queries=[], stop=threading.Event())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            state.asked.append(query["name"])
            state.queries.append(query)
            answer = state.replies.get(query["name"], reply(b"No results found"))
            state.stop.wait(answer.wait_s)
            self.send_response(answer.status)
            if answer.name:
                self.send_header("Content-Disposition", f'inline; filename="{answer.name}"')
            if answer.length is not None:
                self.send_header("Content-Length", str(answer.length))
            self.end_headers()
            step = -(-len(answer.body) // answer.pieces) or 1
            for first in range(0, len(answer.body), step):
                self.wfile.write(answer.body[first : first + step])
                if answer.pieces > 1:
                    state.stop.wait(0.02)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/aio"
    try:
        yield state
    finally:
        state.stop.set()
        http.shutdown()
        http.server_close()
        thread.join()
