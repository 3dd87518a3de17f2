"""The query frontend's side of one replica: a kept-alive HTTP connection that comes back by itself.

One request is in flight at a time. Answers are given to callbacks, in the very moment in which their last byte is
read: a batch is on the way of every query, so it does not wait for another turn of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import httptools
import msgspec

from serving_image import PROTOCOL_VERSION
from serving_image.address import Address
from serving_image.entities import ModelVersion
from serving_image.protocol import MESSAGEPACK

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.02
LAST_RETRY_S = 1.0
HEALTH_TIMEOUT_S = 5.0

_HEALTH = b"GET /health HTTP/1.1\r\nHost: replica\r\n\r\n"
_PREDICT = b"POST /predict HTTP/1.1\r\nHost: replica\r\nContent-Type: %b\r\nContent-Length: %%d\r\n\r\n"
_PREDICT_HEAD = _PREDICT % MESSAGEPACK.encode()


class ReplicaOwner(Protocol):
    """Who hears from a replica: the dispatcher's slot for it."""

    def replica_ready(self) -> None:
        """Take note that the replica is connected, and no batch is in flight."""

    def replica_answered(self, status: int, body: bytes) -> None:
        """Take the answer to the batch in flight."""

    def replica_lost(self, reason: str) -> None:
        """Take note that the connection broke; what was in flight will not be answered."""


class _Health(msgspec.Struct):
    """What a replica says of itself."""

    name: str
    version: str
    protocol: int


class _Connection(asyncio.Protocol):
    """HTTP/1.1 over one transport, one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._answered: Callable[[int, bytes], None] | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def request(self, message: bytes, answered: Callable[[int, bytes], None]) -> None:
        """Send a request; `answered` gets the status and the body, unless the connection breaks first."""
        assert self._transport is not None
        self._answered = answered
        self._transport.write(message)

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Parse what came; nonsense ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"it answered with something that is not HTTP ({error})")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits on :attr:`lost`."""
        self._end(f"it closed the connection{f' ({exc})' if exc else ''}")

    def _end(self, reason: str) -> None:
        self._answered = None
        if not self.lost.done():
            self.lost.set_result(reason)
        self.close()

    # ---- httptools' callbacks

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        answered, self._answered = self._answered, None
        if answered is None:
            self._end("it answered without being asked")
        else:
            answered(self._parser.get_status_code(), body)


class ReplicaClient:
    """Keep a connection to one replica, and send batches over it.

    Parameters
    ----------
    address : Address
        Where the replica listens. A killed replica comes back there, so it is tried again for ever, with back-off.
    version : ModelVersion
        What must be served there: an address may have been given to another replica meanwhile.
    owner : ReplicaOwner
    """

    def __init__(self, address: Address, version: ModelVersion, owner: ReplicaOwner) -> None:
        self.address = address
        self._expected = (version.model_name, version.model_version)
        self._owner = owner
        self._connection: _Connection | None = None
        self._task = asyncio.ensure_future(self._keep_connected())

    def send(self, body: bytes) -> None:
        """Send one batch; only after ``replica_ready``, and after the answer to the batch before."""
        assert self._connection is not None
        self._connection.request(_PREDICT_HEAD % len(body) + body, self._owner.replica_answered)

    def close(self) -> None:
        """Disconnect for good. The owner hears nothing more."""
        self._task.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _keep_connected(self) -> None:
        retry_s, complaint = FIRST_RETRY_S, ""
        while True:
            try:
                connection = await self._connect()
            except (OSError, ValueError, TimeoutError) as error:
                reason = str(error) or "it does not answer /health"
                # Not while it starts, and once per reason: one that is away for long would fill the log.
                is_long = retry_s == LAST_RETRY_S or isinstance(error, ValueError)
                if is_long and reason != complaint:
                    complaint = reason
                    log.warning("replica at %s is not used: %s", self.address, complaint)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
                continue
            retry_s, complaint = FIRST_RETRY_S, ""
            self._connection = connection
            self._owner.replica_ready()
            reason = await connection.lost
            self._connection = None
            self._owner.replica_lost(reason)

    async def _connect(self) -> _Connection:
        """Connect, and make sure that it is the right model."""
        loop = asyncio.get_running_loop()
        connection: _Connection
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            if self.address.is_unix:
                _, connection = await loop.create_unix_connection(_Connection, self.address.path)
            else:
                _, connection = await loop.create_connection(_Connection, self.address.host, self.address.port)
            try:
                await self._check(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    async def _check(self, connection: _Connection) -> None:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(status: int, body: bytes) -> None:
            if not answer.done():
                answer.set_result(body)

        connection.request(_HEALTH, answered)
        either: list[asyncio.Future[Any]] = [answer, connection.lost]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise OSError(connection.lost.result())
        try:
            found = msgspec.json.decode(answer.result(), type=_Health)
        except msgspec.DecodeError:
            raise ValueError("it does not answer /health as a model replica does") from None
        if (found.name, found.version) != self._expected:
            raise ValueError(f"it serves {found.name}:{found.version}, not {':'.join(self._expected)}")
        if found.protocol != PROTOCOL_VERSION:
            raise ValueError(
                f"it speaks protocol {found.protocol}, this query frontend {PROTOCOL_VERSION}: deploy the model again"
            )
