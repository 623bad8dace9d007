"""A file server on the loopback address with chosen faults; it can also act as the Hugging Face hub."""

import re
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Served:
    """A file as the server gives it."""

    data: bytes
    etag: str | None = '"version-1"'
    ranges: bool = True
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    delay_s: float = 0.0
    chunked: bool = False
    """Send one chunk of the whole without saying its length beforehand."""


@dataclass
class Loopback:
    """What the server serves, by path, and what it was asked for."""

    url: str = ""
    files: dict[str, Served] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    """Paths that answer with nothing but a status."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range header of every request."""

    def serve_model(self, repository: str, folder: Path, **changes: Any) -> None:
        """Serve a folder's files as the hub serves a model's."""
        for file in folder.iterdir():
            served = Served(file.read_bytes(), etag=f'"{file.name}"')
            self.files[f"/{repository}/resolve/main/{file.name}"] = replace(served, **changes)

    def gets(self, path: str) -> list[str | None]:
        """The Range headers of all GET requests for a path."""
        return [asked for method, at, asked in self.requests if (method, at) == ("GET", path)]


class _Handler(BaseHTTPRequestHandler):
    @property
    def loopback(self) -> Loopback:
        assert isinstance(self.server, LoopbackServer)
        return self.server.loopback

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _answer(self, *, body: bool) -> None:
        self.loopback.requests.append((self.command, self.path, self.headers.get("Range")))
        served = self.loopback.files.get(self.path)
        if served is None or self.path in self.loopback.statuses:
            self._refuse(self.loopback.statuses.get(self.path, 404))
        else:
            self._give(served, body=body)

    def _refuse(self, status: int) -> None:
        repository = self.path.partition("/resolve/")[0]
        known = any(path.startswith(f"{repository}/resolve/") for path in self.loopback.files)
        self.send_response(status)
        self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _give(self, served: Served, *, body: bool) -> None:
        start = self._start(served)
        if start >= len(served.data) > 0:
            return self._refuse(416)
        data = served.data[start:]
        self.send_response(206 if start else 200)
        if start:
            last = len(served.data) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(served.data)}")
        if served.etag:
            self.send_header("ETag", served.etag)
        self.send_header("X-Repo-Commit", COMMIT)
        if served.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            time.sleep(served.delay_s)
            self.wfile.write(data[: served.cut_after])
        return None

    def _start(self, served: Served) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        same = self.headers.get("If-Range") in (None, served.etag)
        return int(asked[1]) if asked and served.ranges and same else 0


class LoopbackServer(ThreadingHTTPServer):
    """The server; what it serves may change while it runs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.loopback = Loopback(url=f"http://127.0.0.1:{self.server_port}")

    def handle_error(self, *_: object) -> None:
        """A client that leaves early is part of the tests."""
