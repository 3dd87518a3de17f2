"""The HTTP server of all roles: binds, starts and stops a Bottle application on one event loop.

Why a server of our own, on asyncio with httptools' parser, and none that exists: the predict path has some ten
microseconds a request. Servers that hand requests over from another thread, or make a task of each, need several times
that for themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import bottle
import uvloop

from serving_image.address import Address
from serving_image.bottle_service import BottleService
from serving_image.handlers import Deferred, json_errors, read_body
from serving_image.http_connection import Connection

__all__ = ["Deferred", "json_errors", "read_body", "run"]

Hook = Callable[[], Awaitable[None]]

DEFAULT_BODY_LIMIT_BYTES = 64 * 1024 * 1024
BACKLOG = 2048  # connections that wait for accept()
STOP_TIMEOUT_S = 10.0  # how long a signal waits for the answers in flight
STOP_CHECK_S = 0.005


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
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = BottleService(app, body_limit_bytes)
    servers = []
    for listener in listeners:
        make = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        servers.append(await make(lambda: Connection(service), sock=listener, backlog=BACKLOG))
    is_started = False
    try:
        if await _started(on_start, stop):
            is_started = True
            service.open()
            await stop.wait()
    finally:
        for server in servers:
            server.close()
        service.close()
        give_up = loop.time() + STOP_TIMEOUT_S
        while service.connections and loop.time() < give_up:
            await asyncio.sleep(STOP_CHECK_S)
        # What did not start has nothing to stop, and an error there would hide why it did not.
        if on_stop and is_started:
            await on_stop()


async def _started(on_start: Hook | None, stop: asyncio.Event) -> bool:
    """Await `on_start`; return whether it ended before a signal came."""
    if on_start is None:
        return True
    starting, stopping = asyncio.ensure_future(on_start()), asyncio.ensure_future(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        return False
    starting.result()
    return True


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
