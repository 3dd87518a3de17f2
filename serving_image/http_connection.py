"""HTTP/1.1 for one client on asyncio, parsed by httptools; it knows nothing of Bottle.

A request is handed over whole, one at a time and in order; its answer may come at any later time. What a client may
do wrong ends here: requests that are too large, malformed, endless or abandoned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Protocol, cast
from urllib.parse import unquote

import httptools

from serving_image.errors import ServingError

HEAD_LIMIT_BYTES = 65536
PIPELINE_LIMIT = 16  # requests that may wait behind the one in progress, on one connection
DRAIN_FACTOR = 4  # a refused body is read up to this many times the limit: ordinary clients read the 413 after it

_CLOSE = b"connection: close\r\n"
_KEEP_ALIVE = b"connection: keep-alive\r\n"  # only for HTTP/1.0, where it is not the rule
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus}

Headers = list[tuple[bytes, bytes]]


class Request:
    """One request, read completely.

    Attributes
    ----------
    method : str
    target : bytes
        As in the request line: path and query string.
    headers : list of (bytes, bytes)
    body : bytes
    """

    __slots__ = ("body", "headers", "is_kept_alive", "is_old", "is_too_large", "method", "target")

    def __init__(self, method: str, target: bytes, headers: Headers, body: bytes) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.is_kept_alive = True
        self.is_old = False  # HTTP/1.0
        self.is_too_large = False

    def split_target(self) -> tuple[str, str]:
        """Return the path, decoded, and the query string, as it is."""
        target = self.target
        if not target.startswith(b"/") and b"://" in target:  # a proxy's form, which servers must understand
            target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        path, _, query = target.partition(b"?")
        return unquote(path.decode("latin-1")) if b"%" in path else path.decode("latin-1"), query.decode("latin-1")


def find_header(headers: Headers, name: bytes) -> bytes | None:
    """Return the value of the header `name` (in lower case), None if it is not there."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


class Service(Protocol):
    """What the connections of one server share."""

    body_limit_bytes: int
    date_line: bytes
    connections: set[Connection]

    def answer(self, connection: Connection, request: Request) -> None:
        """Answer `request` with one call of ``connection.respond``, now or later."""

    def refuse(self, connection: Connection, error: ServingError) -> None:
        """Answer a request that cannot be served with one call of ``connection.respond``, now."""


class Connection(asyncio.Protocol):
    """One client.

    Attributes
    ----------
    silent_rounds : int
        Counted up by the server, to find clients that have gone silent; 0 at every sign of life.
    """

    def __init__(self, service: Service) -> None:
        self.silent_rounds = 0
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._target = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._is_reading = False  # in the middle of a request ...
        self._has_head = False  # ... whose headers are complete ...
        self._is_checked = False  # ... and looked at
        self._current: Request | None = None  # waits for its answer
        self._next: deque[Request] = deque()
        self._is_ending = False  # the next answer is the last
        self._is_deaf = False  # nothing that comes is read any more
        self._is_gone = False

    @property
    def is_reading(self) -> bool:
        """Whether the client owes us the rest of a request."""
        return self._is_reading

    @property
    def is_answering(self) -> bool:
        """Whether we owe the client an answer."""
        return self._current is not None

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; whatever is in progress for it will find that nobody listens."""
        self._is_gone = self._is_deaf = True
        self._current = None
        self._next.clear()
        self._service.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.silent_rounds = 0
        if self._is_deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.end()  # the request itself was read, and is answered in HTTP/1.1
            self._is_deaf = True
        except httptools.HttpParserError as error:
            self.refuse(ServingError("bad-request", f"This is not HTTP/1.1: {error}"))
        else:
            if self._is_reading:
                self._check_unfinished(len(data))

    def pause_writing(self) -> None:
        """Read no more from a client that does not read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if not self._is_gone and len(self._next) < PIPELINE_LIMIT:
            self._transport.resume_reading()

    # ---- httptools' callbacks

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_reading = True
        self._has_head = self._is_checked = False
        self._target = b""
        self._headers = []
        self._head_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Collect the target, which may come in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note it: from here on the body comes."""
        self._has_head = True

    def on_body(self, part: bytes) -> None:
        """Collect a part of the body, as long as it is not too large."""
        self._body_bytes += len(part)
        if self._body_bytes <= self._service.body_limit_bytes:
            self._parts.append(part)
        else:
            self._parts.clear()

    def on_message_complete(self) -> None:
        """Hand the request over, or let it wait for the one before."""
        self._is_reading = False
        parts, parser = self._parts, self._parser
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        request = Request(parser.get_method().decode("latin-1"), self._target, self._headers, body)
        request.is_kept_alive = parser.should_keep_alive()
        request.is_old = parser.get_http_version() == "1.0"
        request.is_too_large = self._body_bytes > self._service.body_limit_bytes
        if self._current is None:
            self._begin(request)
            return
        self._next.append(request)
        if len(self._next) >= PIPELINE_LIMIT:
            self._transport.pause_reading()

    def _check_unfinished(self, received_bytes: int) -> None:
        """Refuse a request that is too large before all of it has come."""
        limit_bytes = self._service.body_limit_bytes
        if not self._has_head:
            self._head_bytes += received_bytes
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self.refuse(ServingError("bad-request", f"The headers are larger than {HEAD_LIMIT_BYTES} bytes"))
        elif not self._is_checked:
            self._is_checked = True
            if find_header(self._headers, b"expect") is not None:  # it asks before it sends
                if int(find_header(self._headers, b"content-length") or 0) > limit_bytes:
                    self.refuse(body_too_large(limit_bytes))
                elif self._current is None:
                    self._transport.write(_CONTINUE)
        elif self._body_bytes > DRAIN_FACTOR * limit_bytes:
            self.refuse(body_too_large(limit_bytes))

    # ---- answers

    def _begin(self, request: Request) -> None:
        self._current = request
        if request.is_too_large:
            self._service.refuse(self, body_too_large(self._service.body_limit_bytes))
        else:
            self._service.answer(self, request)

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """Answer the request in progress, then take up the next one.

        Parameters
        ----------
        head : bytes
            Header lines, each with its end of line; those of the connection and the length are added.
        """
        request = self._current
        if request is None:
            return  # the client is gone
        self._current = None
        is_last = self._is_ending or not request.is_kept_alive
        if is_last:
            head += _CLOSE
        elif request.is_old:
            head += _KEEP_ALIVE
        sent = b"" if request.method == "HEAD" else body
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
        self._transport.write(
            b"%b%b%bcontent-length: %d\r\n\r\n%b" % (line, self._service.date_line, head, len(body), sent)
        )
        if is_last:
            self.abandon()
        elif self._next:
            if len(self._next) == PIPELINE_LIMIT:
                self._transport.resume_reading()
            self._begin(self._next.popleft())

    def refuse(self, error: ServingError) -> None:
        """Say what is wrong with what comes, read no more of it, and disconnect."""
        self._is_deaf = self._is_ending = True
        self._is_reading = False
        if self._current is None:  # else its answer is the last
            self._current = Request("", b"", [], b"")
            self._service.refuse(self, error)

    def end(self) -> None:
        """Disconnect after the request in progress, at once if there is none."""
        self._is_ending = True
        self._next.clear()
        if self._current is None and not self._is_reading:
            self.abandon()

    def abandon(self) -> None:
        """Disconnect when what was written has been sent."""
        self._is_deaf = True
        self._next.clear()
        self._transport.close()


def body_too_large(limit_bytes: int) -> ServingError:
    """Return the error for a body beyond `limit_bytes`."""
    return ServingError("body-too-large", f"The request body is larger than the limit of {limit_bytes} bytes")
