"""A registry that takes images and keeps their names: the upload half of Docker's registry protocol, version 2."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class _Handler(BaseHTTPRequestHandler):
    """An upload is POST, then PATCH with the data, then PUT with the digest."""

    protocol_version = "HTTP/1.1"
    server: Registry

    def do_GET(self) -> None:
        self._answer(200)

    def do_HEAD(self) -> None:
        self._answer(200 if self.path.rpartition("/")[2] in self.server.digests else 404)

    def do_POST(self) -> None:
        self._read_body()
        self._answer(202, Location=f"http://{self.server.address}{self.path}upload")

    def do_PATCH(self) -> None:
        size = len(self._read_body())
        self._answer(202, Location=f"http://{self.server.address}{self.path}", Range=f"0-{size - 1}")

    def do_PUT(self) -> None:
        body = self._read_body()
        if "/manifests/" in self.path:
            self.server.pushed.append(self.path.removeprefix("/v2/").replace("/manifests/", ":"))
        else:
            self.server.digests.add(unquote(self.path.partition("digest=")[2]))
        self._answer(201, **{"Docker-Content-Digest": f"sha256:{hashlib.sha256(body).hexdigest()}"})

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Registry(ThreadingHTTPServer):
    """The server; ``pushed`` has the ``name:tag`` of each image that it was given."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.digests: set[str] = set()
        self.pushed: list[str] = []

    @property
    def address(self) -> str:
        """``host:port``: an engine takes plain HTTP from the loopback interface."""
        return f"127.0.0.1:{self.server_port}"


@contextmanager
def running_registry() -> Iterator[Registry]:
    """Run a registry for a while."""
    with Registry() as registry:
        thread = threading.Thread(target=registry.serve_forever)
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()
