"""What the management frontend makes of query frontends that answer, restart, hang or are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from serving_image.address import Address
from serving_image.frontend_sync import FrontendSync

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(revision: int, status: bytes = b"200 OK") -> Behaviour:
    """Return a frontend that answers with its revision."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"POST /-/sync HTTP/1.1\r\n")
        assert await reader.readexactly(len(b'{"revision":5}')) == b'{"revision":5}'
        body = b'{"revision":%d}' % revision
        writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()

    return serve


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End in the middle, as a frontend that is killed."""


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until the other side gives up."""
    await reader.read(-1)


def push(directory: Path, frontends: list[list[Behaviour] | None], timeout_s: float = 20.0) -> list[int]:
    """Push revision 5; return which frontends did not confirm.

    Each is a list of what it does with its first, second … connection (the last one repeats), or None: it does not
    listen.
    """

    async def run() -> list[int]:
        servers = []
        addresses = [Address.parse(f"unix:{directory}/{number}.sock") for number in range(len(frontends))]
        for address, behaviours in zip(addresses, frontends, strict=True):
            if behaviours is not None:
                servers.append(await asyncio.start_unix_server(in_turn(behaviours), address.path))
        unconfirmed = await FrontendSync(addresses, timeout_s).push(5)
        for server in servers:
            server.close()
        return [addresses.index(address) for address in unconfirmed]

    return asyncio.run(run())


def in_turn(behaviours: list[Behaviour]) -> Behaviour:
    left = list(behaviours)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        await behaviour(reader, writer)
        writer.close()

    return serve


def test_a_frontend_that_serves_the_revision_confirms(tmp_path: Path) -> None:
    assert push(tmp_path, [[answer(5)], [answer(6)]]) == []


def test_a_frontend_that_does_not_listen_is_skipped(tmp_path: Path) -> None:
    assert push(tmp_path, [None, [answer(5)]]) == []


def test_a_refused_connection_is_skipped(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async def run() -> list[Address]:
        return await FrontendSync([Address.parse(f"127.0.0.1:{free_port()}")]).push(5)

    assert asyncio.run(run()) == []


def test_a_frontend_that_restarts_is_asked_again(tmp_path: Path) -> None:
    assert push(tmp_path, [[hang_up, hang_up, answer(5)]]) == []


def test_a_frontend_that_is_behind_or_fails_is_asked_again(tmp_path: Path) -> None:
    assert push(tmp_path, [[answer(4), answer(5, b"500 Internal Server Error"), answer(5)]]) == []


def test_a_frontend_that_hangs_is_unconfirmed_and_does_not_delay_the_others(tmp_path: Path) -> None:
    assert push(tmp_path, [[answer(5)], [hang], [answer(4)]], timeout_s=0.2) == [1, 2]
