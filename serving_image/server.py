"""The only module that knows the HTTP server: Bottle applications on granian's RSGI interface, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import bottle
import msgspec
import uvloop
from granian._granian import SocketHolder
from granian.server.embed import Server

from serving_image.address import Address
from serving_image.errors import ServingError
from serving_image.handlers import (
    BODY_KEY,
    JSON,
    Deferred,
    body_too_large,
    http_response,
    json_errors,
    read_body,
)

__all__ = ["BottleAdapter", "Deferred", "json_errors", "read_body", "run"]

log = logging.getLogger(__name__)

Hook = Callable[[], Awaitable[None]]

DEFAULT_BODY_LIMIT_BYTES = 64 * 1024 * 1024
BACKLOG = 2048  # connections that wait for accept()
MAX_CONNECTIONS = 65536  # granian leaves further ones unanswered; without a word from us that is at BACKLOG
DRAIN_FACTOR = 4  # a refused body is read and thrown away up to this many times the limit ...
DRAIN_TIMEOUT_S = 10.0  # ... and for this long, so that an ordinary client gets to read the 413
STOP_TIMEOUT_S = 10.0  # how long a signal waits for the answers in flight


class _Proto(Protocol):
    """What granian gives for one request: the body to read, the response to send."""

    def __call__(self) -> Awaitable[bytes]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class _Environ(dict[str, Any]):
    """A WSGI environ as small as Bottle needs; request headers and ``wsgi.input`` are made when somebody asks."""

    __slots__ = ("request_headers",)
    request_headers: Any

    def __missing__(self, key: str) -> Any:
        if key == "wsgi.input":
            return self.setdefault(key, io.BytesIO(self[BODY_KEY]))
        if key == "wsgi.errors":
            return sys.stderr
        if not key.startswith("HTTP_") and key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            raise KeyError(key)
        value = self.request_headers.get(key.removeprefix("HTTP_").replace("_", "-").lower())
        if value is None:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


class BottleAdapter:
    """Run a Bottle application on granian's RSGI interface, on the event loop.

    Routing, plugins and errors are Bottle's; its hooks are not called and a body is never streamed out.
    """

    def __init__(self, app: bottle.Bottle, body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES) -> None:
        self._app = app
        self._match = app.router.match
        self._limit_bytes = body_limit_bytes
        self._closed: asyncio.Event | None = asyncio.Event()
        self._is_refusing = False
        bottle.response.bind()

    def open(self) -> None:
        """Let requests through; those that came before have waited."""
        if self._closed is not None:
            self._closed.set()
            self._closed = None

    def refuse(self) -> None:
        """Answer those that have waited with 503: the application will not start."""
        if self._closed is not None:
            self._is_refusing = True
            self._closed.set()

    async def __call__(self, scope: Any, proto: _Proto) -> None:
        """Answer one request."""
        if self._closed is not None:
            await self._closed.wait()
            if self._is_refusing:
                _send(proto, http_response(ServingError("unavailable", "The server is shutting down")), False)
                return
        headers = scope.headers
        length = headers.get("content-length")
        if length is not None and int(length) <= self._limit_bytes:
            body: bytes | None = await proto()
        elif length is None and "transfer-encoding" not in headers:
            body = b""
        else:
            body = await self._read_limited(proto, headers)
        result: Any
        if body is None:
            result = http_response(body_too_large(self._limit_bytes))
        else:
            result = self._handle(scope, headers, body)
            if type(result) is Deferred:
                try:
                    result = result.render(await result.future)
                except Exception as error:
                    result = http_response(error)
        if type(result) is bytes and scope.method != "HEAD":
            proto.response_bytes(200, [("content-type", JSON)], result)
        else:
            _send(proto, result, scope.method == "HEAD")

    async def _read_limited(self, proto: _Proto, headers: Any) -> bytes | None:
        """Read a body whose length is unknown or too large; None, after a bounded drain, if it is too large."""
        too_large = "content-length" in headers
        if too_large and "expect" in headers:
            return None  # this client asks before it sends
        parts: list[bytes] = []
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S if too_large else None) as timeout:
                async for chunk in proto:
                    size += len(chunk)
                    if size <= self._limit_bytes and not too_large:
                        parts.append(chunk)
                    elif not too_large:
                        too_large = True
                        parts.clear()
                        timeout.reschedule(asyncio.get_running_loop().time() + DRAIN_TIMEOUT_S)
                    if size > DRAIN_FACTOR * self._limit_bytes:
                        break
        return None if too_large else b"".join(parts)

    def _handle(self, scope: Any, headers: Any, body: bytes) -> Any:
        """Route and call the handler: what Bottle's own WSGI path does, without its detours."""
        environ = _Environ(REQUEST_METHOD=scope.method, PATH_INFO=scope.path, QUERY_STRING=scope.query_string)
        environ.request_headers = headers
        environ[BODY_KEY] = body
        environ["bottle.app"] = self._app
        bottle.request.bind(environ)
        try:
            route, url_args = self._match(environ)
            result = route.call(**url_args)
        except Exception as error:
            result = http_response(error)
        response = bottle.response
        if response._headers or response.status_code != 200:
            status, given = response.status_code, dict(response.headers)
            response.bind()
            if type(result) is Deferred:
                render = result.render
                return Deferred(result.future, lambda value: _with(render(value), status, given))
            return _with(result, status, given)
        return result


def _with(result: Any, status: int, headers: dict[str, str]) -> bottle.HTTPResponse:
    """Carry what a handler set on ``bottle.response`` over to its result; an HTTPResponse stands for itself."""
    return result if isinstance(result, bottle.HTTPResponse) else bottle.HTTPResponse(result, status, headers)


def _send(proto: _Proto, result: Any, is_head: bool) -> None:
    """Send anything but plain bytes."""
    if isinstance(result, bottle.HTTPError):
        result = http_response(result)
    if not isinstance(result, bottle.HTTPResponse):
        result = bottle.HTTPResponse(result)
    if "Content-Type" not in result:
        result.content_type = JSON
    body = result.body
    if body is None or is_head:
        body = b""
    elif isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = msgspec.json.encode(body)
    proto.response_bytes(result.status_code, [(name.lower(), value) for name, value in result.headerlist], body)


class _EmbeddedServer(Server):
    """granian's embedded server, on a socket that already listens and without log lines of its own."""

    def __init__(self, target: BottleAdapter, listener: socket.socket) -> None:
        super().__init__(target, websockets=False, backlog=BACKLOG, backpressure=MAX_CONNECTIONS, log_enabled=False)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        is_unix = self._listener.family == socket.AF_UNIX
        make_holder: Any = SocketHolder  # its published signature lacks the arguments
        self._shd = make_holder(self._listener.detach(), is_unix, BACKLOG)  # it will close the descriptor
        self._ssp = None


def run(
    app: bottle.Bottle,
    listen: Sequence[Address],
    *,
    on_start: Hook | None = None,
    on_stop: Hook | None = None,
    body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES,
    reuse_port: bool = False,
) -> None:
    """Serve `app` at each address until SIGTERM or SIGINT.

    The sockets listen first, then `on_start` runs, then the requests that came meanwhile are let through. On a signal
    the server stops accepting, finishes what is in flight (at most ``STOP_TIMEOUT_S``) and awaits `on_stop`.

    Raises
    ------
    OSError
        If an address is taken.
    """
    listeners = [_listening_socket(address, reuse_port) for address in listen]
    try:
        uvloop.run(_serve(app, body_limit_bytes, listeners, on_start, on_stop))
    finally:
        for address, listener in zip(listen, listeners, strict=True):
            listener.close()
            if address.is_unix:
                Path(address.path).unlink(missing_ok=True)


async def _serve(
    app: bottle.Bottle,
    body_limit_bytes: int,
    listeners: Sequence[socket.socket],
    on_start: Hook | None,
    on_stop: Hook | None,
) -> None:
    adapter = BottleAdapter(app, body_limit_bytes)
    servers: list[Any] = [_EmbeddedServer(adapter, listener) for listener in listeners]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = [asyncio.ensure_future(server.serve()) for server in servers]
    stopping = asyncio.ensure_future(stop.wait())
    is_started = False
    try:
        starting = asyncio.ensure_future(on_start()) if on_start else None
        if starting:
            done, _ = await asyncio.wait([starting, stopping, *serving], return_when=asyncio.FIRST_COMPLETED)
            if starting not in done:  # a signal came first
                starting.cancel()
                return
            starting.result()
        is_started = True
        adapter.open()
        done, _ = await asyncio.wait([stopping, *serving], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        adapter.refuse()
        for server in servers:
            server.stop()
        await asyncio.wait(serving, timeout=STOP_TIMEOUT_S)
        # What did not start has nothing to stop, and an error there would hide why it did not.
        if on_stop and is_started:
            await on_stop()


def _listening_socket(address: Address, reuse_port: bool) -> socket.socket:
    """Bind and listen; a unix socket that a crash left behind is replaced, a live one is an error."""
    family = socket.AF_UNIX if address.is_unix else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if address.is_unix:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                probe = socket.socket(family, socket.SOCK_STREAM)
                with probe:
                    probe.connect(address.path)
                raise OSError(errno.EADDRINUSE, "Another server answers there")
            Path(address.path).unlink(missing_ok=True)
            listener.bind(address.path)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror or str(error), str(address)) from None
    return listener
