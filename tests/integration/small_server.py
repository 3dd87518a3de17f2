"""A Bottle application on `serving_image.server`, for test_server.py: python small_server.py BODY_LIMIT ADDRESS..."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import bottle

from serving_image.address import Address
from serving_image.errors import ServingError
from serving_image.server import Deferred, json_errors, read_body, run

app = bottle.Bottle()
json_errors(app)
waiting: dict[str, asyncio.Future[str]] = {}


@app.post("/echo/<name>")
def echo(name: str) -> bytes:
    body = read_body(1000)
    return b"%b %b %b" % (name.encode(), bottle.request.query_string.encode(), body)


@app.get("/wait/<name>")
def wait(name: str) -> Deferred[str]:
    """Answer when somebody asks for /wake/<name>."""
    waiting[name] = asyncio.get_running_loop().create_future()
    return Deferred(waiting[name], lambda word: f"{name} {word}")


@app.post("/wake/<name>")
def wake(name: str) -> str:
    waiting.pop(name).set_result(read_body(1000).decode())
    return "woken"


@app.get("/waiting")
def waits() -> dict[str, int]:
    return {"number": len(waiting)}


@app.get("/fail-later")
def fail_later() -> Deferred[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_exception(ServingError("overloaded", "too much of it", {"Retry-After": "7"}))
    return Deferred(future, str)


@app.get("/render-fails")
def render_fails() -> Deferred[int]:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(0)
    return Deferred(future, lambda zero: str(1 // zero))


@app.get("/headers")
def headers() -> str:
    bottle.response.status = 201
    bottle.response.set_header("X-Given", bottle.request.get_header("X-Sent", "nothing"))
    bottle.response.content_type = "text/plain; charset=utf-8"
    return "é"


@app.get("/deferred-headers")
def deferred_headers() -> Deferred[str]:
    bottle.response.status = 202
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "later")
    return Deferred(future, str)


@app.get("/plain")
def plain() -> bytes:
    return b"{}"


@app.get("/http-response")
def http_response() -> bottle.HTTPResponse:
    return bottle.HTTPResponse("made", 203, {"Content-Type": "text/x"})


@app.get("/abort")
def abort() -> None:
    bottle.abort(418, "I'm a teapot")


@app.get("/boom")
def boom() -> None:
    raise ValueError("boom")


def marker(word: str, then: str = "") -> Callable[[], Awaitable[None]]:
    async def mark() -> None:
        sys.stdout.write(f"{word}\n")
        sys.stdout.flush()
        if then == "wait":
            await asyncio.Event().wait()
        if then == "fail":
            raise RuntimeError("cannot start")

    return mark


if __name__ == "__main__":
    limit, then, *addresses = sys.argv[1:]
    run(
        app,
        [Address.parse(address) for address in addresses],
        on_start=marker("starting", then),
        on_stop=marker("stopped"),
        body_limit_bytes=int(limit),
    )
