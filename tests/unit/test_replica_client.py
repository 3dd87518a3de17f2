"""The connection to a replica, against a small replica on a unix socket in the same process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from serving_image import PROTOCOL_VERSION
from serving_image.address import Address
from serving_image.entities import ModelVersion
from serving_image.protocol import decode_batch, encode_answer, encode_batch
from serving_image.replica_client import ReplicaClient

PATIENCE_S = 10.0
VERSION = ModelVersion("m", "1", "bytes", (), "image", "/", -1, "deployed")
HEALTH = {"name": "m", "version": "1", "protocol": PROTOCOL_VERSION}

Test = Callable[[Path], Coroutine[Any, Any, None]]


def on_uvloop(test: Test) -> Callable[[Path], None]:
    """Run an asynchronous test on the event loop that the roles use."""

    def run(tmp_path: Path) -> None:
        uvloop.run(asyncio.wait_for(test(tmp_path), PATIENCE_S))

    run.__name__ = test.__name__
    return run


class SmallReplica:
    """Answers ``GET /health`` and batches; ``reply`` may be replaced."""

    def __init__(self) -> None:
        self.health: Any = HEALTH
        self.connections = 0
        self.reply = self.answer
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /health "):
                    self.write(writer, msgspec.json.encode(self.health))
                else:
                    assert head.startswith(b"POST /predict ")
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    self.reply(writer, await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def write(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def answer(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        self.write(writer, encode_answer([bytes(reversed(wire)) for wire in decode_batch(body)], {}))  # type: ignore[arg-type]

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self.serve, path)
        try:
            yield
        finally:
            server.close()
            self.drop()
            path.unlink(missing_ok=True)
            while self._writers:
                await asyncio.sleep(0)


class Owner:
    """Notes what it hears, in order."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def replica_ready(self) -> None:
        self.heard.put_nowait(("ready", None))

    def replica_answered(self, status: int, body: bytes) -> None:
        self.heard.put_nowait(("answered", (status, body)))

    def replica_lost(self, reason: str) -> None:
        self.heard.put_nowait(("lost", reason))

    async def hears(self, word: str) -> Any:
        heard, what = await self.heard.get()
        assert heard == word, (heard, what)
        return what


@asynccontextmanager
async def connected_to(path: Path) -> AsyncIterator[tuple[ReplicaClient, Owner]]:
    owner = Owner()
    client = ReplicaClient(Address(path=str(path)), VERSION, owner)
    try:
        yield client, owner
    finally:
        client.close()


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    while text not in caplog.text:
        await asyncio.sleep(0.005)


@on_uvloop
async def test_batches_go_over_one_connection(tmp_path: Path) -> None:
    replica, path = SmallReplica(), tmp_path / "r.sock"
    async with replica.listening(path), connected_to(path) as (client, owner):
        await owner.hears("ready")
        for inputs in ([b"abc", b"de"], [b"x" * 300_000], [b""] * 500):
            client.send(encode_batch(list(inputs)))
            status, body = await owner.hears("answered")
            assert status == 200
            assert body == encode_answer([bytes(reversed(wire)) for wire in inputs], {})
    assert replica.connections == 1


@on_uvloop
async def test_a_replica_that_starts_later_and_one_that_comes_back_are_found(tmp_path: Path) -> None:
    replica, path = SmallReplica(), tmp_path / "r.sock"
    async with connected_to(path) as (client, owner):
        async with replica.listening(path):
            await owner.hears("ready")
            replica.reply = lambda writer, body: replica.drop()
            client.send(encode_batch([b"abc"]))
            assert "closed the connection" in await owner.hears("lost")
            await owner.hears("ready")  # it is still listening
        assert "closed the connection" in await owner.hears("lost")
        replica.reply = replica.answer
        async with replica.listening(path):
            await owner.hears("ready")
            client.send(encode_batch([b"abc"]))
            assert (await owner.hears("answered"))[0] == 200


@on_uvloop
async def test_nonsense_ends_the_connection(tmp_path: Path) -> None:
    replica, path = SmallReplica(), tmp_path / "r.sock"
    nonsense = itertools.cycle([b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
    replica.reply = lambda writer, body: writer.write(next(nonsense))
    async with replica.listening(path), connected_to(path) as (client, owner):
        for _ in range(2):
            await owner.hears("ready")
            client.send(encode_batch([b"abc"]))
            assert "not HTTP" in await owner.hears("lost")


@on_uvloop
async def test_an_answer_in_pieces_is_put_together(tmp_path: Path) -> None:
    replica, path = SmallReplica(), tmp_path / "r.sock"

    async def in_pieces(writer: asyncio.StreamWriter) -> None:
        for piece in (
            b"HTTP/1.1 200 OK\r\nTransfer-Enc",
            b"oding: chunked\r\n\r\n3\r\nabc\r\n",
            b"2\r\nde\r\n0\r\n\r\n",
        ):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    tasks: list[Awaitable[None]] = []
    replica.reply = lambda writer, body: tasks.append(asyncio.ensure_future(in_pieces(writer)))
    async with replica.listening(path), connected_to(path) as (client, owner):
        await owner.hears("ready")
        client.send(encode_batch([b"abc"]))
        assert await owner.hears("answered") == (200, b"abcde")
        await asyncio.gather(*tasks)


@on_uvloop
async def test_closing_is_for_good(tmp_path: Path) -> None:
    replica, path = SmallReplica(), tmp_path / "r.sock"
    async with replica.listening(path), connected_to(path) as (client, owner):
        await owner.hears("ready")
        client.close()
    assert owner.heard.empty()
    assert replica.connections == 1


@pytest.mark.parametrize(
    ("health", "complaint"),
    [
        ({**HEALTH, "name": "other"}, "it serves other:1, not m:1"),
        ({**HEALTH, "version": "2"}, "it serves m:2, not m:1"),
        ({**HEALTH, "protocol": 99}, f"it speaks protocol 99, this query frontend {PROTOCOL_VERSION}"),
        ({"status": "ok"}, "it does not answer /health as a model replica does"),
    ],
)
def test_another_server_at_the_address_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, health: dict[str, Any], complaint: str
) -> None:
    async def scenario(path: Path) -> None:
        replica = SmallReplica()
        replica.health = health
        async with replica.listening(path), connected_to(path) as (_, owner):
            await logged(caplog, complaint)
            assert owner.heard.empty()
            replica.health = HEALTH
            await owner.hears("ready")

    uvloop.run(asyncio.wait_for(scenario(tmp_path / "r.sock"), PATIENCE_S))
    assert caplog.text.count(complaint) == 1
