"""The prediction cache: pure, without I/O and without a clock.

A key is ``(deployment, input)``: the unique id of a registration of a model version, and one input in its wire form.
A version that is registered again gets another id, so it never answers with what its predecessor computed.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Key = tuple[str, bytes | str]
Q = TypeVar("Q")

# What CPython keeps for one entry beside its input and its output: the tuple, two bytes headers, the slots in the
# ring and in dictionaries that are rebuilt as entries come and go. Measured as resident memory of full caches with
# inputs of 8 to 8,000 bytes: 230 to 290.
ENTRY_BYTES = 290

# One dictionary of all entries would be copied whole each time as many as it holds have come and gone: every query
# would wait 4 ms for 80,000 entries, and the memory of both copies never came back.
SHARDS = 256


class PredictionCache(Generic[Q]):
    """Outputs by key, bounded in bytes, evicted by CLOCK; and the queries in flight, so that equal ones are asked once.

    Parameters
    ----------
    capacity_bytes : int
        Inputs, outputs and what it takes to keep them. 0 or 1 turns the cache off, single flight included (as in
        Clipper).

    Notes
    -----
    CLOCK: entries stand in a ring; a hit marks its entry. To make room the hand goes round: a marked entry loses its
    mark and stays, the first one without a mark goes. It approximates LRU, and a hit moves nothing.
    Source: Crankshaw et al., NSDI'17, section 4.2.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.size_bytes = 0
        self._shards: list[dict[Key, bytes]] = [{} for _ in range(SHARDS)]
        self._marks: list[set[Key]] = [set() for _ in range(SHARDS)]
        self._ring: deque[Key] = deque()  # the hand points at the left end
        self._in_flight: dict[Key, Q] = {}

    def __len__(self) -> int:
        """Return how many outputs are kept."""
        return len(self._ring)

    def get(self, key: Key) -> bytes | None:
        """Return the output kept for `key`, None if there is none."""
        shard = hash(key[1]) % SHARDS
        output = self._shards[shard].get(key)
        if output is not None:
            self._marks[shard].add(key)
        return output

    def put(self, key: Key, output: bytes) -> None:
        """Keep `output`; one that is larger than the cache is not kept."""
        size = _size_bytes(key, output)
        if size > self.capacity_bytes:  # true of everything if the cache is off
            return
        outputs = self._shards[hash(key[1]) % SHARDS]
        old = outputs.get(key)
        if old is not None:
            outputs[key] = output
            size = len(output) - len(old)
        self.size_bytes += size
        while self.size_bytes > self.capacity_bytes:
            self._evict()
        if old is None:
            outputs[key] = output
            self._ring.append(key)  # just behind the hand

    def _evict(self) -> None:
        while True:
            key = self._ring.popleft()
            shard = hash(key[1]) % SHARDS
            if key not in self._marks[shard]:
                break
            self._marks[shard].discard(key)
            self._ring.append(key)
        self.size_bytes -= _size_bytes(key, self._shards[shard].pop(key))

    # ---- single flight

    def in_flight(self, key: Key) -> Q | None:
        """Return the query that was already asked for `key` and is not answered yet, None if there is none."""
        return self._in_flight.get(key)

    def ask(self, key: Key, query: Q) -> None:
        """Note that `query` is the one in flight for `key`; nothing if the cache is off."""
        if self.capacity_bytes > 1:
            self._in_flight[key] = query

    def forget(self, key: Key, query: Q) -> None:
        """Note that `query` is answered or given up."""
        if self._in_flight.get(key) is query:
            del self._in_flight[key]


def _size_bytes(key: Key, output: bytes) -> int:
    wire = key[1]
    return ENTRY_BYTES + len(output) + (len(wire) if type(wire) is bytes else 4 * len(wire))
