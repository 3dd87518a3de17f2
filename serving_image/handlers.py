"""What the Bottle handlers of all three roles share: answers that come later, request bodies, errors as JSON.

Handlers are plain functions and run on the event loop, one at a time. A handler that has to wait for something
returns a :class:`Deferred`; :mod:`serving_image.server` sends the answer when its future is done, so no thread is
parked per request. The same application under any WSGI server (``app(environ, start_response)`` in a unit test)
resolves a Deferred by blocking, through the plugin that :func:`json_errors` installs.

Answers are JSON unless a handler says otherwise: ``bytes`` and ``str`` leave as ``application/json``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

import bottle
import msgspec

from serving_image.errors import ServingError
from serving_image.http_connection import body_too_large
from serving_image.metrics import PROMETHEUS, Registry, wants_prometheus

log = logging.getLogger(__name__)

T = TypeVar("T")

JSON = "application/json"
BODY_KEY = "clipper.body"  # in the environ of server.py: the whole body, already read


class PromptFuture(Generic[T]):
    """A future without a turn of the event loop between its result and its callback, of which it has one.

    For the predict path, where that turn, and what an asyncio.Future does to be awaited, cost every request
    microseconds. Whoever sets the result must be ready for what the callback does: it may take up the next request.
    """

    __slots__ = ("_callback", "_loop", "_result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callback: Callable[[PromptFuture[T]], object] | None = None
        self._result: T | None = None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop on which the result will be set."""
        return self._loop

    def done(self) -> bool:
        """Whether the result is there."""
        return self._result is not None

    def result(self) -> T:
        """Return the result; only once it is there."""
        assert self._result is not None
        return self._result

    def set_result(self, result: T, /) -> None:
        """Set the result, which is not None, and call back."""
        self._result = result
        if self._callback is not None:
            self._callback(self)

    def add_done_callback(self, callback: Callable[[PromptFuture[T]], object], /) -> None:
        """Call back when the result is there, now if it is."""
        self._callback = callback
        if self._result is not None:
            callback(self)


AnyFuture: TypeAlias = asyncio.Future[T] | PromptFuture[T]


class Deferred(Generic[T]):
    """An answer that is not known yet.

    Parameters
    ----------
    future : asyncio.Future or PromptFuture
        Done when the answer is known.
    render : callable
        Makes the response body from the future's result. It must not use ``bottle.request`` or ``bottle.response``,
        which belong to another request by then.
    """

    __slots__ = ("future", "render")

    def __init__(self, future: AnyFuture[T], render: Callable[[T], bytes | str | bottle.HTTPResponse]) -> None:
        self.future = future
        self.render = render


def read_body(limit_bytes: int) -> bytes:
    """Return the body of ``bottle.request``.

    Raises
    ------
    ServingError
        ``body-too-large`` if it is longer than `limit_bytes`.
    """
    environ = bottle.request.environ
    if BODY_KEY in environ:
        body: bytes = environ[BODY_KEY]
    else:  # a WSGI server, or BytesIO in a unit test
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > limit_bytes:
            raise body_too_large(limit_bytes)
        body = environ["wsgi.input"].read(length)
    if len(body) > limit_bytes:
        raise body_too_large(limit_bytes)
    return body


def json_errors(app: bottle.Bottle) -> None:
    """Give `app` JSON error pages (``{"error", "cause"}``) and let its handlers return a Deferred under WSGI.

    Bottle's own plugins (templates, JSON of dictionaries) are taken out; dictionaries and lists become JSON anyway.
    """
    app.default_error_handler = _error_page
    app.uninstall(True)
    app.install(_wsgi_plugin)


def serve_metrics(app: bottle.Bottle, registry: Registry) -> None:
    """Give `app` ``GET /metrics``: Clipper's JSON, or Prometheus text if the client asks for it."""

    def metrics() -> bytes:
        if wants_prometheus(bottle.request.get_header("Accept", "")):
            bottle.response.content_type = PROMETHEUS
            return registry.prometheus()
        return registry.json()

    app.get("/metrics", callback=metrics)


def http_response(error: BaseException) -> bottle.HTTPResponse:
    """Return the JSON response for an exception that a handler or Bottle's router raised."""
    if isinstance(error, bottle.HTTPError):
        error = _from_bottle(error)
    if isinstance(error, bottle.HTTPResponse):
        return error
    if not isinstance(error, ServingError):
        log.error("a request handler failed", exc_info=error)
        error = ServingError("internal", f"An unexpected error occurred! {type(error).__name__}: {error}")
    return bottle.HTTPResponse(error.json(), error.status, {"Content-Type": JSON, **error.headers})


def _from_bottle(error: bottle.HTTPError) -> BaseException:
    if isinstance(error.exception, BaseException):
        return error.exception
    path, method = bottle.request.path, bottle.request.method
    if error.status_code == 404:
        return ServingError("not-found", f"Nothing is served at {path}")
    if error.status_code == 405:
        allowed = error.get_header("Allow", "")
        cause = f"{method} is not allowed at {path}, use {allowed}"
        return ServingError("method-not-allowed", cause, {"Allow": allowed})
    body = msgspec.json.encode({"error": error.status_line.partition(" ")[2], "cause": str(error.body or "")})
    response: BaseException = bottle.HTTPResponse(body, error.status, {"Content-Type": JSON})
    return response


def _error_page(error: bottle.HTTPError) -> bytes:
    """Bottle calls this under WSGI for the errors that it found itself (404, 405)."""
    response = http_response(error)
    response.apply(bottle.response)
    body: bytes = response.body
    return body


def _wsgi_plugin(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Do under WSGI what our server does by itself: await a Deferred, turn exceptions into JSON, answer JSON."""

    def call(**url_args: Any) -> Any:
        try:
            result = callback(**url_args)
            if isinstance(result, Deferred):
                result = result.render(_wait(result.future))
        except Exception as error:
            return http_response(error)
        if isinstance(result, bottle.HTTPResponse):
            return result
        if "Content-Type" not in bottle.response:
            bottle.response.content_type = JSON
        return result if isinstance(result, bytes | str | None) else msgspec.json.encode(result)

    return call


def _wait(future: AnyFuture[T]) -> T:
    loop = future.get_loop()
    if not loop.is_running():
        ended = loop.create_future()
        future.add_done_callback(lambda _: ended.set_result(None))
        loop.run_until_complete(ended)
        return future.result()
    done = threading.Event()
    loop.call_soon_threadsafe(future.add_done_callback, lambda _: done.set())
    done.wait()
    return future.result()
