"""An open loop: queries leave at Poisson times whether or not answers came back, as those of many strangers do.

It runs as a process of its own, so that the load does not share an interpreter with anything:
``python -m tests.benchmarks.open_loop`` reads an `OpenLoad` as JSON on standard input and writes an `OpenLoop`.
"""

from __future__ import annotations

import gc
import json
import os
import random
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from tests.benchmarks.workloads import MARK

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
GIVE_UP_S = 2.0  # how long after the last query its answer is waited for, beyond the longest that one may take
REFUSED = b"HTTP/1.1 503"
RIGHT = b"HTTP/1.1 200"


@dataclass(frozen=True)
class OpenLoad:
    """What to send.

    Attributes
    ----------
    body : str
        A JSON body with `MARK` in the place of nine digits, once or more.
    rate : float, queries/s
        The mean; the gaps are exponential.
    connections : int
        At most so many; they are opened when needed, or with ``open_first`` all before the start. Then each has had an
        answer to ``GET /health``: the server has taken it, and the first queries need not wait for thousands of them.
    bad : str
        An answer with this text is a default answer.
    patience_s : float
        How long an answer may take.
    core : int or None
        The only core to run on.
    """

    url: str
    body: str
    rate: float
    seconds: float
    connections: int = 256
    bad: str = ""
    open_first: bool = False
    patience_s: float = 0.0
    core: int | None = None


@dataclass(frozen=True)
class OpenLoop:
    """What came back: counts of answers, latency from the planned time, and from the moment a query really left."""

    rate: float
    seconds: float
    good: int
    default: int
    refused: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    p50_from_send_ms: float | None
    p99_from_send_ms: float | None
    most_outstanding: int

    @property
    def answered(self) -> int:
        """Return the number of answers of any kind."""
        return self.good + self.default + self.refused


@dataclass
class _Connection:
    socket: socket.socket
    planned_s: float = 0.0
    sent_s: float = 0.0
    received: bytes = b""


@dataclass
class _Tally:
    from_plan_s: list[float] = field(default_factory=list)
    from_send_s: list[float] = field(default_factory=list)
    good: int = 0
    default: int = 0
    refused: int = 0
    errors: int = 0
    most_outstanding: int = 0


class _Client:
    """Connections to one server, and the queries that wait for one."""

    def __init__(self, load: OpenLoad) -> None:
        self._url = parts = urlsplit(load.url)
        request = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(load.body)}\r\n\r\n{load.body}"
        )
        self._parts = request.encode().split(MARK.encode())
        self._address = (parts.hostname or "", parts.port or 80)
        self._bad = load.bad.encode()
        self._limit = load.connections
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: list[int] = []
        self._number = random.randrange(10**9)
        self.waiting: deque[float] = deque()
        self.tally = _Tally()
        if load.open_first:
            for _ in range(load.connections):
                self._greet(self._connect())

    @property
    def outstanding(self) -> int:
        """Return how many queries have left and are not answered."""
        return len(self._connections) - len(self._idle)

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(self._address)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connected.fileno()] = _Connection(connected)
        self._poll.register(connected, select.EPOLLIN)
        self._idle.append(connected.fileno())
        return connected

    def _greet(self, connected: socket.socket) -> None:
        connected.sendall(f"GET /health HTTP/1.1\r\nHost: {self._url.netloc}\r\n\r\n".encode())
        received = b""
        while not is_whole(received):
            data = connected.recv(65536)
            if not data:
                raise ConnectionError(f"{self._url.netloc} closed a connection before it was used")
            received += data

    def _drop(self, number: int) -> None:
        self._poll.unregister(number)
        self._connections.pop(number).socket.close()

    def close(self) -> None:
        """Close every connection."""
        for number in list(self._connections):
            self._drop(number)
        self._poll.close()

    def send_waiting(self) -> None:
        """Send what is due, as far as there are connections."""
        while self.waiting and (self._idle or len(self._connections) < self._limit):
            if not self._idle:
                self._connect()
            connection = self._connections[self._idle.pop()]
            connection.planned_s = self.waiting.popleft()
            connection.received = b""
            self._number = (self._number + 1) % 10**9
            connection.sent_s = time.perf_counter()
            connection.socket.sendall((b"%09d" % self._number).join(self._parts))
        self.tally.most_outstanding = max(self.tally.most_outstanding, self.outstanding)

    def receive(self, timeout_s: float) -> None:
        """Take the answers that are there, or wait for one."""
        ready = self._poll.poll(timeout_s)
        now_s = time.perf_counter()  # they are all there now; what this process does with them is not the server's time
        for number, _ in ready:
            connection = self._connections[number]
            try:
                data = connection.socket.recv(65536)
            except ConnectionError:
                data = b""
            connection.received += data
            if is_whole(connection.received):
                self._count(connection, now_s)
                if b"connection: close" in connection.received.lower():
                    self._drop(number)
                else:
                    self._idle.append(number)
            elif not data:
                if number in self._idle:
                    self._idle.remove(number)
                else:
                    self.tally.errors += 1
                self._drop(number)

    def _count(self, connection: _Connection, now_s: float) -> None:
        self.tally.from_plan_s.append(now_s - connection.planned_s)
        self.tally.from_send_s.append(now_s - connection.sent_s)
        if connection.received.startswith(REFUSED):
            self.tally.refused += 1
        elif not connection.received.startswith(RIGHT):
            self.tally.errors += 1
        elif self._bad and self._bad in connection.received:
            self.tally.default += 1
        else:
            self.tally.good += 1


def is_whole(data: bytes) -> bool:
    """Tell whether ``data`` is a complete HTTP response."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(data, 0, end + 2)
    return len(data) >= end + 4 + int(length[1]) if length else data.endswith(b"\r\n0\r\n\r\n")


def drive(load: OpenLoad) -> OpenLoop:
    """Send ``load`` from this process.

    It ends early when the server is a whole second of queries behind: that rate is more than it can do.
    """
    client, dice = _Client(load), random.Random(1)
    start_s = time.perf_counter()
    due_s, stop_s = start_s + dice.expovariate(load.rate), start_s + load.seconds
    try:
        while True:
            now_s = time.perf_counter()
            while due_s <= now_s and due_s < stop_s:
                client.waiting.append(due_s)
                due_s += dice.expovariate(load.rate)
            client.send_waiting()
            if due_s >= stop_s and not client.waiting and not client.outstanding:
                break
            if now_s > stop_s + load.patience_s + GIVE_UP_S or len(client.waiting) > load.rate + 100:
                client.tally.errors += len(client.waiting) + client.outstanding
                break
            client.receive(max(0.0, min(0.001, due_s - time.perf_counter())))
    finally:
        client.close()
    return _summarise(load.rate, time.perf_counter() - start_s, client.tally)


def _summarise(rate: float, seconds: float, tally: _Tally) -> OpenLoop:
    return OpenLoop(
        rate=rate,
        seconds=round(seconds, 3),
        good=tally.good,
        default=tally.default,
        refused=tally.refused,
        errors=tally.errors,
        p50_ms=percentile_ms(tally.from_plan_s, 0.5),
        p99_ms=percentile_ms(tally.from_plan_s, 0.99),
        p50_from_send_ms=percentile_ms(tally.from_send_s, 0.5),
        p99_from_send_ms=percentile_ms(tally.from_send_s, 0.99),
        most_outstanding=tally.most_outstanding,
    )


def percentile_ms(latencies_s: list[float], share: float) -> float | None:
    """Return the latency below which ``share`` of them lie, in milliseconds; None if there are none."""
    if not latencies_s:
        return None
    ordered = sorted(latencies_s)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3, 3)


def run_open_loop(load: OpenLoad) -> OpenLoop:
    """Send ``load`` from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.open_loop"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        timeout=load.seconds + load.patience_s + 60,
    )
    if done.returncode:
        raise RuntimeError(f"the open loop failed: {done.stderr[-2000:]}")
    return OpenLoop(**json.loads(done.stdout))


if __name__ == "__main__":
    gc.disable()  # a collection among ten thousand connections would count as lateness of the server
    given = OpenLoad(**json.load(sys.stdin))
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    print(json.dumps(asdict(drive(given))))
