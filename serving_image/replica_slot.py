"""One replica as its dispatcher sees it: a place that takes one batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from serving_image.address import Address
from serving_image.batching import BatchSizer
from serving_image.entities import ModelVersion, Replica
from serving_image.errors import ServingError
from serving_image.protocol import BatchAnswer, decode_answer
from serving_image.query import Query
from serving_image.replica_client import ReplicaOwner


class Client(Protocol):
    """A connection to a replica (`serving_image.replica_client.ReplicaClient`)."""

    def send(self, body: bytes) -> None:
        """Send one batch."""

    def close(self) -> None:
        """Disconnect for good."""


Connect = Callable[[Address, ModelVersion, ReplicaOwner], Client]


class SlotOwner(Protocol):
    """The dispatcher."""

    version: ModelVersion

    def slot_free(self, slot: Slot) -> None:
        """Take note that the replica can take a batch."""

    def slot_answered(self, slot: Slot, flight: list[Query], status: int, body: bytes) -> None:
        """Take the answer to a batch."""

    def slot_lost(self, slot: Slot, flight: list[Query], reason: str) -> None:
        """Take back a batch that will not be answered."""


class Slot:
    """One replica: its connection, its batch size, and the batch that it is working on."""

    def __init__(self, owner: SlotOwner, replica: Replica, sizer: BatchSizer, connect: Connect) -> None:
        self._owner = owner
        self.replica = replica
        self.sizer = sizer
        self.flight: list[Query] = []  # empty while it is idle or away
        self.sent_at = 0.0
        self.is_late = False
        self.is_removed = False
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.client = connect(Address.parse(replica.address), owner.version, self)

    def replica_ready(self) -> None:
        """Take batches: it is connected."""
        if not self.is_removed:
            self.settle()
            self._owner.slot_free(self)

    def replica_answered(self, status: int, body: bytes) -> None:
        """Hand over the answer to its batch."""
        flight, self.flight, self.is_late = self.flight, [], False
        self._owner.slot_answered(self, flight, status, body)

    def replica_lost(self, reason: str) -> None:
        """Hand over the batch that will not come back, as it disconnected."""
        flight, self.flight, self.is_late = self.flight, [], False
        self._owner.slot_lost(self, flight, reason)

    def remove(self) -> None:
        """Take no more batches; disconnect when the one in flight is back."""
        self.is_removed = True
        if self.settled.done():
            self.settled = asyncio.get_running_loop().create_future()
        if not self.flight:
            self.disconnect()

    def disconnect(self) -> list[Query]:
        """Disconnect for good; return what was in flight."""
        self.client.close()
        self.settle()
        flight, self.flight = self.flight, []
        return flight

    def settle(self) -> None:
        """Take note that what was asked of this slot is done: it is connected, or gone."""
        if not self.settled.done():
            self.settled.set_result(None)


def checked(status: int, body: bytes, size: int) -> BatchAnswer:
    """Return the answer to a batch of `size` queries.

    Raises
    ------
    ServingError
        If it is none, with the replica's own cause where it gave one.
    """
    if status != 200:
        try:
            cause = msgspec.json.decode(body, type=dict[str, str])["cause"]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
            cause = "no cause given"
        raise ServingError("bad-request", f"it answered with status {status}: {cause}")
    answer = decode_answer(body)
    if len(answer.outputs) != size:
        raise ServingError("bad-request", f"it answered {size} queries with {len(answer.outputs)} outputs")
    return answer
