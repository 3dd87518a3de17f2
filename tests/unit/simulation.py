"""A model version with simulated replicas and clients, on virtual time: the real dispatcher, no socket, no clock."""

from __future__ import annotations

import random
from collections.abc import Callable

from virtual_time import VirtualLoop

from serving_image.address import Address
from serving_image.cache import PredictionCache
from serving_image.dispatcher import Dispatcher
from serving_image.entities import ModelVersion, Replica
from serving_image.metrics import Registry
from serving_image.protocol import decode_batch, encode_answer
from serving_image.query import Query
from serving_image.replica_client import ReplicaOwner
from serving_image.serving_metrics import ModelMetrics

Cost = Callable[[int], float]  # seconds for a batch of so many queries


class SimulatedReplica:
    """Answers a batch after ``cost(size)`` seconds; ``hang`` and ``die`` are what they say."""

    def __init__(self, loop: VirtualLoop, cost: Cost, owner: ReplicaOwner) -> None:
        self.loop = loop
        self.cost = cost
        self.owner = owner
        self.batches: list[int] = []
        self.is_hung = False
        self.bodies: list[bytes] = []
        self._pending = None
        loop.call_soon(owner.replica_ready)

    def send(self, body: bytes) -> None:
        self.bodies.append(body)
        size = len(decode_batch(body))
        self.batches.append(size)
        if not self.is_hung:
            self._pending = self.loop.call_later(self.cost(size), self.answer)

    def answer(self) -> None:
        inputs = decode_batch(self.bodies[-1])
        self.owner.replica_answered(200, encode_answer([b"%d" % len(x) for x in inputs], {}))

    def die(self, reason: str = "it closed the connection") -> None:
        if self._pending:
            self._pending.cancel()
        self.owner.replica_lost(reason)

    def close(self) -> None:
        if self._pending:
            self._pending.cancel()


class Model:
    """A dispatcher with its simulated replicas.

    Parameters
    ----------
    cost : callable
        Seconds for a batch of n queries.
    """

    def __init__(
        self,
        cost: Cost,
        *,
        replicas: int = 1,
        batch_size: int = 64,
        max_batch_delay_ms: float = 0.0,
        slo_s: float = 1.0,
        cache_bytes: int = 0,
    ) -> None:
        self.loop = VirtualLoop()
        self.cost = cost
        self.slo_s = slo_s
        self.cache: PredictionCache[Query] = PredictionCache(cache_bytes)
        self.replicas: list[SimulatedReplica] = []
        self.registry = Registry(self.loop.time)
        version = ModelVersion("m", "1", "bytes", (), "image", "/", batch_size, "deployed", max_batch_delay_ms)
        self.dispatcher = Dispatcher(
            version, self.loop, self.cache, ModelMetrics(self.registry, "m", "1"), self.loop.time, self._connect
        )
        self.dispatcher.slo_s = slo_s
        self._asked = 0
        self.run(0.0, lambda: self.set_replicas(replicas))

    def _connect(self, address: Address, version: ModelVersion, owner: ReplicaOwner) -> SimulatedReplica:
        replica = SimulatedReplica(self.loop, lambda size: self.cost(size), owner)
        self.replicas.append(replica)
        return replica

    def set_replicas(self, count: int) -> None:
        self.dispatcher.set_replicas([Replica(i, f"unix:/replica-{i}") for i in range(count)])

    def run(self, seconds: float, *first: Callable[[], None]) -> None:
        """Let `seconds` pass, after calling `first` on the loop."""
        for callback in first:
            self.loop.call_soon(callback)
        self.loop.call_later(seconds, self.loop.stop)
        self.loop.run_forever()

    def ask(self, done: Callable[[Client], None] | None = None) -> Client:
        """Put one new query in the queue."""
        self._asked += 1
        client = Client(self, b"%d" % self._asked, done)
        client.query.waiters.append(client)
        self.dispatcher.put(client.query)
        self.loop.call_at(client.deadline, client.due)
        return client


class Client:
    """One waiting prediction: it gives up at its deadline, as the endpoint's timer would have it."""

    def __init__(self, model: Model, wire: bytes, done: Callable[[Client], None] | None) -> None:
        self.model = model
        self.asked = model.loop.time()
        self.deadline = self.asked + model.slo_s
        self.done = False
        self.output: bytes | None = None
        self.reason = ""
        self.explanation = ""
        self.finished_at = 0.0
        self.query = Query(("deployed", wire), self.asked, self.deadline)
        self._then = done

    @property
    def latency_s(self) -> float:
        return self.finished_at - self.asked

    def answer(self, output: bytes, now: float) -> None:
        self.output = output
        self._finish()

    def give_up(self, reason: str, explanation: str, now: float) -> None:
        self.reason, self.explanation = reason, explanation
        self._finish()

    def due(self) -> None:
        if not self.done:
            self.give_up("deadline", "", self.deadline)
            self.model.dispatcher.timed_out(self.query)

    def _finish(self) -> None:
        if self.done:
            return
        self.done = True
        self.finished_at = self.model.loop.time()
        if self._then:
            self._then(self)


def closed_loop(
    model: Model, clients: int, seconds: float, *, warm_up_s: float = 1.0, path_s: float = 22e-6
) -> list[Client]:
    """Let `clients` ask again whenever they are answered; return the answers after the warm-up.

    Answers leave and questions arrive one after another, as they do through one event loop: an answer and the next
    question take ``path_s`` of it, and 200 microseconds the way there and back.
    """
    found: list[Client] = []
    start = model.loop.time() + warm_up_s
    busy_until = 0.0
    is_over = False

    def answered(client: Client) -> None:
        nonlocal busy_until
        now = model.loop.time()
        if now >= start:
            found.append(client)
        busy_until = max(now, busy_until) + path_s
        model.loop.call_at(busy_until + 200e-6, ask)

    def ask() -> None:
        if not is_over:
            model.ask(answered)

    model.run(warm_up_s + seconds, *[ask] * clients)
    is_over = True
    return found


def open_loop(model: Model, per_s: float, seconds: float, *, warm_up_s: float = 1.0, seed: int = 0) -> list[Client]:
    """Ask at Poisson times whatever comes back; return all questions after the warm-up that have been answered."""
    chance = random.Random(seed)
    found: list[Client] = []
    start = model.loop.time() + warm_up_s
    is_over = False

    def ask() -> None:
        if not is_over:
            model.ask(found.append)
            model.loop.call_later(chance.expovariate(per_s), ask)

    model.run(warm_up_s + seconds, ask)
    is_over = True
    return [client for client in found if client.asked >= start]
