"""Bottle's side of a request: what the connections of one server hand over goes to its routes and handlers."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Any

import bottle
import msgspec

from serving_image.errors import ServingError
from serving_image.handlers import BODY_KEY, JSON, AnyFuture, Deferred, http_response
from serving_image.http_connection import Connection, Request, find_header

ROUTES_KEPT = 4096  # paths whose route is remembered ...
ROUTE_KEPT_BYTES = 256  # ... if they are no longer than this
ROUND_S = 1.0  # how often the date changes, and silent clients are looked for
READ_TIMEOUT_S = 60  # silence in the middle of a request
IDLE_TIMEOUT_S = 600  # silence between requests
LOOKED_AT = 100  # clients at a time: to look at ten thousand takes 6 ms, in which no query would be served ...
PAUSE_S = 0.001  # ... so others get their turn

_JSON_HEAD = b"content-type: application/json\r\n"


class _Environ(dict[str, Any]):
    """A WSGI environ as small as Bottle needs; everything but the body is made when somebody asks."""

    __slots__ = ("app", "request")
    app: bottle.Bottle
    request: Request

    def __missing__(self, key: str) -> Any:
        value = self._make(key)
        if value is None:
            raise KeyError(key)
        self[key] = value
        return value

    def _make(self, key: str) -> Any:
        request = self.request
        if key == "PATH_INFO":
            return request.split_target()[0]
        if key == "QUERY_STRING":
            return request.split_target()[1]
        if key == "REQUEST_METHOD":
            return request.method
        if key == "wsgi.input":
            return io.BytesIO(request.body)
        if key == "wsgi.errors":
            return sys.stderr
        if key == "bottle.app":
            return self.app
        if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = key.removeprefix("HTTP_").replace("_", "-").lower()
            value = find_header(request.headers, name.encode())
            return None if value is None else value.decode("latin-1")
        return None

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


class BottleService:
    """Answer the requests of all connections with a Bottle application, on the event loop.

    Routing and errors are Bottle's; its hooks and plugins are not called and a body is never streamed out.

    Handlers run one at a time and do not wait, so they share one environ and one ``bottle.response``, which are bound
    once and emptied between requests.
    """

    def __init__(self, app: bottle.Bottle, body_limit_bytes: int) -> None:
        self.body_limit_bytes = body_limit_bytes
        self.connections: set[Connection] = set()
        self.date_line = b""
        self._match = app.router.match
        self._routes: dict[tuple[str, bytes], tuple[Any, dict[str, str]]] = {}
        self._environ = _Environ()
        self._environ.app = app
        self._early: list[tuple[Connection, Request]] | None = []  # came before the application has started
        self._round()

    def _bind(self) -> None:
        bottle.request.bind(self._environ)
        bottle.response.bind()
        self._given_headers = bottle.response._headers

    # ---- starting and stopping

    def open(self) -> None:
        """Let requests through; those that came before have waited."""
        early, self._early = self._early, None
        self._bind()
        for connection, request in early or ():
            self.answer(connection, request)

    def close(self) -> None:
        """Let connections end after the answer that they wait for; what has waited for the start is refused."""
        early, self._early = self._early, None
        self._timer.cancel()
        for connection in list(self.connections):
            connection.end()
        for connection, _ in early or ():
            self.refuse(connection, ServingError("unavailable", "The server is shutting down"))

    def _round(self) -> None:
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n".encode()
        self._look_at(list(self.connections))
        self._timer = asyncio.get_running_loop().call_later(ROUND_S, self._round)

    def _look_at(self, clients: list[Connection]) -> None:
        """Disconnect from those that have been silent for too long, when it is their turn."""
        for connection in clients[-LOOKED_AT:]:
            if connection.is_answering:
                continue
            connection.silent_rounds += 1
            timeout_s = READ_TIMEOUT_S if connection.is_reading else IDLE_TIMEOUT_S
            if connection.silent_rounds * ROUND_S > timeout_s:
                connection.abandon()
        del clients[-LOOKED_AT:]
        if clients:
            asyncio.get_running_loop().call_later(PAUSE_S, self._look_at, clients)

    # ---- requests

    def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request, now or when the future of its Deferred is done."""
        if self._early is not None:
            self._early.append((connection, request))
            return
        result = self._call(request)
        if type(result) is bytes:
            connection.respond(200, _JSON_HEAD, result)
        elif type(result) is Deferred:
            result.future.add_done_callback(partial(_finish, connection, result.render))
        else:
            _send(connection, result)

    def refuse(self, connection: Connection, error: ServingError) -> None:
        """Answer a request that cannot be served."""
        _send(connection, http_response(error))

    def _call(self, request: Request) -> Any:
        """Route and call the handler: what Bottle's own WSGI path does, without its detours."""
        environ = self._environ
        environ.clear()
        environ.request = request
        environ[BODY_KEY] = request.body
        try:
            route, url_args = self._route(request)
            result = route.callback(**url_args)
        except Exception as error:
            result = http_response(error)
        if self._given_headers or bottle.response._status_code != 200:
            return self._with_given(result)
        return result

    def _route(self, request: Request) -> tuple[Any, dict[str, str]]:
        key = (request.method, request.target)
        found = self._routes.get(key)
        if found is None:
            found = self._match(self._environ)
            if len(self._routes) < ROUTES_KEPT and len(request.target) <= ROUTE_KEPT_BYTES:
                self._routes[key] = found
        return found

    def _with_given(self, result: Any) -> Any:
        """Carry what a handler set on ``bottle.response`` over to its result; an HTTPResponse stands for itself."""
        status, headers = bottle.response.status_code, dict(bottle.response.headers)
        self._bind()

        def with_given(body: Any) -> bottle.HTTPResponse:
            return body if isinstance(body, bottle.HTTPResponse) else bottle.HTTPResponse(body, status, headers)

        if type(result) is Deferred:
            render = result.render
            return Deferred(result.future, lambda value: with_given(render(value)))
        return with_given(result)


def _finish(connection: Connection, render: Callable[[Any], Any], future: AnyFuture[Any]) -> None:
    """Send the answer that a Deferred promised."""
    try:
        result = render(future.result())
    except Exception as error:
        result = http_response(error)
    if type(result) is bytes:
        connection.respond(200, _JSON_HEAD, result)
    else:
        _send(connection, result)


def _send(connection: Connection, result: Any) -> None:
    """Send anything but plain bytes."""
    if isinstance(result, bottle.HTTPError):
        result = http_response(result)
    if not isinstance(result, bottle.HTTPResponse):
        result = bottle.HTTPResponse(result)
    if "Content-Type" not in result:
        result.content_type = JSON
    body = result.body
    if body is None:
        body = b""
    elif isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = msgspec.json.encode(body)
    head = "".join(f"{name.lower()}: {value}\r\n" for name, value in result.headerlist if name != "Content-Length")
    connection.respond(result.status_code, head.encode("latin-1"), body)
