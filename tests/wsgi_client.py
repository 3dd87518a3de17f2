"""Calls a Bottle application as a WSGI server does, without sockets."""

from __future__ import annotations

import io
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

import bottle
import msgspec


class Response(NamedTuple):
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def call(
    app: bottle.Bottle,
    method: str,
    path: str,
    body: bytes = b"",
    content_type: str = "application/json",
    accept: str = "*/*",
) -> Response:
    """Send one request to ``app``."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_TYPE": content_type,
        "HTTP_ACCEPT": accept,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    started: list[Any] = []
    parts = app(environ, lambda status, headers, exc_info=None: started.extend((status, headers)))
    answer = b"".join(parts)
    return Response(int(started[0].split()[0]), {k.lower(): v for k, v in started[1]}, answer)
