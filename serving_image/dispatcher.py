"""From the queue of one model version to its replicas, in batches, and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from serving_image.batch_delay import BatchDelay, ServiceTime, fair_share
from serving_image.batching import SLO_SHARE, AIMDBatchSizer, BatchSizer, DeadlineQueue, FixedBatchSizer
from serving_image.cache import PredictionCache
from serving_image.entities import ModelVersion, Replica
from serving_image.errors import ServingError
from serving_image.protocol import NO_CONNECTED_MODELS, BatchAnswer, encode_batch
from serving_image.query import Query
from serving_image.replica_client import ReplicaClient
from serving_image.replica_slot import Connect, Slot, checked
from serving_image.serving_metrics import MODEL_ERROR, NO_REPLICAS, REPLICA_FAILURE, ModelMetrics

MAX_SENDS = 2  # a query whose replica failed is sent once more
SETTLE_TIMEOUT_S = 5.0  # how long a new replica may take to connect, and a removed one to finish its batch
TIMER_S = 0.001  # the event loop's timers count milliseconds
PATIENCE = 3.0  # a batch is late when it takes so many times the longest time seen lately ...
PATIENCE_FLOOR_S = 0.05  # ... and this, or a quarter of the SLO if that is less
FADING = 0.98  # of the longest time seen, with each batch


class Dispatcher:
    """The queue of one model version and its replicas, each of which works on at most one batch.

    Everything happens on one event loop; nothing here blocks.

    Parameters
    ----------
    version : ModelVersion
    loop : event loop
    cache : PredictionCache
        Gets every output, that of a late batch too.
    metrics : ModelMetrics
    clock : callable
        Seconds, monotonic.
    connect : callable
        Makes the connection to a replica; another one in tests.
    """

    def __init__(
        self,
        version: ModelVersion,
        loop: asyncio.AbstractEventLoop,
        cache: PredictionCache[Query],
        metrics: ModelMetrics,
        clock: Callable[[], float],
        connect: Connect = ReplicaClient,
    ) -> None:
        self.version = version
        self.metrics = metrics
        self.slo_s = 0.1  # the shortest one among the applications linked
        self._name = f"{version.model_name}:{version.model_version}"
        self._cache = cache
        self._clock = clock
        self._connect = connect
        self._loop = loop
        self._queue: DeadlineQueue[Query] = DeadlineQueue()
        self._slots: dict[Replica, Slot] = {}
        self._leaving: set[Slot] = set()
        self._free: deque[Slot] = deque()
        self._service = ServiceTime()
        self._delay = BatchDelay(version.max_batch_delay_ms / 1e3, self._service)
        self._longest_s = 0.0
        self._will_feed = False
        self._hold_timer: asyncio.TimerHandle | None = None
        self._watch_timer: asyncio.TimerHandle | None = None

    # ---- what the query frontend does

    @property
    def has_replicas(self) -> bool:
        """Whether any replica is registered, connected or not."""
        return bool(self._slots)

    @property
    def is_settled(self) -> bool:
        """Whether every new replica is connected and every removed one has finished."""
        return not self._leaving and all(slot.settled.done() for slot in self._slots.values())

    def put(self, query: Query) -> None:
        """Queue a query. It is sent at the end of this turn of the event loop, with all that came in it."""
        self._delay.arrived(query.asked)
        self._enqueue(query)

    def _enqueue(self, query: Query) -> None:
        self._queue.put(query, query.deadline)
        if self._free and not self._will_feed:
            self._will_feed = True
            self._loop.call_soon(self._feed)

    def timed_out(self, query: Query) -> None:
        """One who waited for `query` got the default output. Keep it for those who came later, else forget it."""
        self._queue.drop_expired(self._clock())  # while no replica is free, nothing else would
        if query.flights or query.answered:
            return  # its late answer still fills the cache
        query.waiters = [waiter for waiter in query.waiters if not waiter.done]
        if query.waiters:
            query.deadline = max(waiter.deadline for waiter in query.waiters)
            self._enqueue(query)
        else:
            self._cache.forget(query.key, query)

    def set_replicas(self, replicas: Sequence[Replica]) -> None:
        """Connect to new replicas, let removed ones finish."""
        wanted = set(replicas)
        for replica in [replica for replica in self._slots if replica not in wanted]:
            slot = self._slots.pop(replica)
            if slot in self._free:
                self._free.remove(slot)
            slot.remove()
            if not slot.settled.done():
                self._leaving.add(slot)
        for replica in replicas:
            if replica not in self._slots:
                self._slots[replica] = Slot(self, replica, self._new_sizer(), self._connect)
        if not self._slots:
            self._flush()

    def _new_sizer(self) -> BatchSizer:
        fixed = self.version.batch_size
        return FixedBatchSizer(fixed) if fixed > 0 else AIMDBatchSizer()

    def _flush(self) -> None:
        """Without any replica there is nothing to wait for."""
        now = self._clock()
        for query in self._queue.get_batch(now, max(1, len(self._queue))):
            if not query.answered and not query.flights:
                self._give_up(query, NO_REPLICAS, NO_CONNECTED_MODELS, now)

    async def settle(self) -> None:
        """Wait until new replicas are connected and removed ones have finished (at most ``SETTLE_TIMEOUT_S``)."""
        slots = [slot for slot in (*self._slots.values(), *self._leaving) if not slot.settled.done()]
        if slots:
            await asyncio.wait([slot.settled for slot in slots], timeout=SETTLE_TIMEOUT_S)
        for slot in slots:
            slot.settle()  # one that cannot be reached is waited for only once; it is still tried
            if slot in self._leaving:
                self._leaving.discard(slot)
                self._retry(slot.disconnect(), "it was removed", self._clock(), slot)

    async def close(self) -> None:
        """Answer what is queued with default outputs, finish what is in flight, disconnect."""
        self.set_replicas(())
        await self.settle()
        self.disconnect()

    def disconnect(self) -> None:
        """Leave the replicas at once: the process ends."""
        for slot in (*self._slots.values(), *self._leaving):
            slot.disconnect()
        for timer in (self._hold_timer, self._watch_timer):
            if timer is not None:
                timer.cancel()

    # ---- sending

    def slot_free(self, slot: Slot) -> None:
        """Take note that a replica can take a batch."""
        self._free.append(slot)
        self._feed()

    def _feed(self) -> None:
        """Send batches while there are queries and free replicas, and no reason to wait for more queries."""
        self._will_feed = False
        now = self._clock()
        while self._free:
            queue, slot = self._queue, self._free[0]
            queue.drop_expired(now)
            queued = len(queue)
            if not queued:
                return
            hold_s = self._delay.hold_s(now, queued, slot.sizer.size)
            if hold_s > 0:
                self._hold(hold_s)
                return
            size = min(slot.sizer.size, fair_share(queued, len(self._free), self._service))
            batch = queue.get_batch(now, size, self._service.cautious_s(min(size, queued)))
            batch = [query for query in batch if not query.answered]
            if batch:
                self._free.popleft()
                self._send(slot, batch, now)

    def _hold(self, hold_s: float) -> None:
        if self._hold_timer is None:
            self._hold_timer = self._loop.call_later(max(hold_s, TIMER_S), self._held)

    def _held(self) -> None:
        self._hold_timer = None
        self._feed()

    def _send(self, slot: Slot, batch: list[Query], now: float) -> None:
        self._delay.sent()
        for query in batch:
            query.sends += 1
            query.flights += 1
        slot.flight, slot.sent_at = batch, now
        self.metrics.queueing.record((now - batch[0].asked) * 1e6)
        slot.client.send(encode_batch([query.key[1] for query in batch]))
        if self._watch_timer is None and len(self._slots) > 1:
            self._watch_timer = self._loop.call_later(min(self._patience_s(), PATIENCE_FLOOR_S), self._watch)

    # ---- answers

    def slot_answered(self, slot: Slot, flight: list[Query], status: int, body: bytes) -> None:
        """Feed the replica again, then answer the queries of the batch that it sent back."""
        now = self._clock()
        latency_s = now - slot.sent_at
        self._delay.answered(now, slot.sent_at)
        try:
            answer = checked(status, body, len(flight))
        except ServingError as error:
            self._released(slot)
            self._retry(flight, error.cause, now, slot)
            return
        size = len(flight)
        slot.sizer.observe(size, latency_s, SLO_SHARE * self.slo_s)
        self._service.observe(size, latency_s)
        self._longest_s = max(latency_s, FADING * self._longest_s)
        self._released(slot)
        self.metrics.batch(size, latency_s)
        self._resolve(flight, answer, now)

    def _released(self, slot: Slot) -> None:
        if slot.is_removed:
            slot.disconnect()
            self._leaving.discard(slot)
        else:
            self.slot_free(slot)

    def _resolve(self, flight: list[Query], answer: BatchAnswer, now: float) -> None:
        cache = self._cache
        for i, (query, output) in enumerate(zip(flight, answer.outputs, strict=True)):
            query.flights -= 1
            if query.answered:
                continue
            if output is None:
                self.metrics.errors.count += 1
                kind, message = answer.errors.get(i, ("Exception", ""))
                self._give_up(query, MODEL_ERROR, f"Model {self._name} raised {kind}: {message}", now)
            else:
                cache.forget(query.key, query)
                cache.put(query.key, output)
                query.answer(output, now)

    def _give_up(self, query: Query, reason: str, explanation: str, now: float) -> None:
        self._cache.forget(query.key, query)
        query.give_up(reason, explanation, now)

    # ---- failures

    def slot_lost(self, slot: Slot, flight: list[Query], reason: str) -> None:
        """Send the batch of a replica that went away to another one, or to this one when it is back."""
        if slot in self._free:
            self._free.remove(slot)
        if slot.is_removed:
            self._leaving.discard(slot)
            slot.disconnect()
        self._retry(flight, reason, self._clock(), slot)

    def _retry(self, flight: list[Query], reason: str, now: float, slot: Slot) -> None:
        """Queue what a failed batch held once more, as far as there is time; give up what failed again."""
        if flight:
            self.metrics.failures.count += 1
        explanation = f"Replica {self._name}:{slot.replica.replica_id} failed: {reason}"
        for query in flight:
            query.flights -= 1
            if query.answered:
                continue
            if query.deadline <= now:
                self.timed_out(query)
            elif query.sends < MAX_SENDS and self._slots:
                self._enqueue(query)
            elif not query.flights:
                self._give_up(query, REPLICA_FAILURE, explanation, now)

    def _patience_s(self) -> float:
        if not self._longest_s:
            return self.slo_s / 2  # nothing is known of this model yet
        return max(PATIENCE * self._longest_s, min(PATIENCE_FLOOR_S, self.slo_s / 4))

    def _watch(self) -> None:
        """Find batches that are late beyond what their history explains: another replica gets their queries too.

        A late replica gets no batch until it answers, by itself, because it still has one in flight.
        """
        self._watch_timer = None
        now, patience_s = self._clock(), self._patience_s()
        busy = [slot for slot in self._slots.values() if slot.flight and not slot.is_late]
        late = [slot for slot in busy if now - slot.sent_at >= patience_s]
        if late and len(late) < len(busy) + len(self._free):
            for slot in late:
                slot.is_late = True
                for query in slot.flight:
                    if not query.answered and query.sends < MAX_SENDS and query.deadline > now:
                        self._enqueue(query)
        if busy and len(self._slots) > 1:
            oldest = min((slot.sent_at for slot in busy if not slot.is_late), default=now)
            again_s = min(max(TIMER_S, oldest + patience_s - now), PATIENCE_FLOOR_S)
            self._watch_timer = self._loop.call_later(again_s, self._watch)
