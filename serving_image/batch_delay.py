"""Whether to send a batch at once or to wait a moment for more queries: pure, the caller passes the clock.

A replica that is fed the moment it is free works against clients that wait for their answer before they ask again: 64
of them fall into two half batches that take turns, each half arriving just after the other was sent. A short wait for
those that are about to return nearly doubles the throughput of a model whose batches cost the same whatever their
size. With independent arrivals the same wait gains nothing and costs latency. The rule here tells them apart by
watching what a wait would have brought.

Source: "delayed batching" in Crankshaw et al., NSDI'17, section 4.3.2, where the delay is a constant.
"""

from __future__ import annotations

from bisect import bisect_right

WEIGHT = 1 / 8  # of the newest sample in each moving average
GRID = 8  # the waits considered: max_delay_s * 1/8, 2/8, ... 8/8
MARGIN = 1.1  # a wait must promise this much more throughput than none


class ServiceTime:
    """How long a batch takes: a moving linear fit of a fixed cost and a cost per query."""

    def __init__(self) -> None:
        self._n = self._s = self._nn = self._ns = 0.0  # moving averages of n, s, n*n and n*s
        self.samples = 0

    def observe(self, size: int, latency_s: float) -> None:
        """Learn that a batch of `size` queries took `latency_s`."""
        self.samples += 1
        weight = max(WEIGHT, 1 / self.samples)
        self._n += weight * (size - self._n)
        self._s += weight * (latency_s - self._s)
        self._nn += weight * (size * size - self._nn)
        self._ns += weight * (size * latency_s - self._ns)

    def expected_s(self, size: float) -> float:
        """Return the expected time for a batch of `size` queries, 0 before the first sample.

        Batches of one size only say nothing about the cost per query; it is taken for nothing then, so that a larger
        batch is tried.
        """
        if not self.samples:
            return 0.0
        variance = self._nn - self._n * self._n
        slope = (self._ns - self._n * self._s) / variance if variance > 0.01 * self._nn else 0.0
        slope = min(max(slope, 0.0), self._s / self._n)
        return max(0.0, self._s + slope * (size - self._n))


class BatchDelay:
    """Decide for one queue how long a batch is held back for more queries to join it.

    Each time a replica could take a batch, the queries that arrive next are counted by how long after that moment
    they came, whether or not the batch was held. The moving averages say what a wait of ``w`` brings: ``more(w)``
    queries beside those that are there. It pays if

        (queued + more(w)) / (w + service(queued + more(w)))  >  MARGIN * queued / service(queued)

    where all quantities are averages. For arrivals that do not depend on the answers the left side is never larger.
    Where clients wait for answers, those just answered come back within the first millisecond, and it is.

    Parameters
    ----------
    max_delay_s : float, seconds, >= 0
        The longest wait; 0 turns waiting off.
    service : ServiceTime
        What batches of this model take.
    """

    def __init__(self, max_delay_s: float, service: ServiceTime) -> None:
        self._max_delay_s = max_delay_s
        self._service = service
        self._waits_s = [max_delay_s * step / GRID for step in range(1, GRID + 1)]
        self._more = [0.0] * GRID  # moving averages: queries that came within each wait
        self._queued = 0.0  # moving average: queries that were there
        self._windows = 0
        self._opened: float | None = None  # the moment that the open window counts from
        self._queued_then = 0
        self._arrivals: list[float] = []
        self._held_since: float | None = None
        self._wait_s = self._enough = 0.0  # the plan for the batch that is held

    def arrived(self, now: float) -> None:
        """Note that a query was put in the queue."""
        if self._opened is not None:
            self._arrivals.append(now)

    def answered(self, now: float) -> None:
        """Note that a batch came back. What arrives from now on would not have come while it was waited for."""
        if self._opened is not None:
            self._close(now)

    def sent(self) -> None:
        """Note that a batch was sent, so that the next one is held on its own account."""
        self._held_since = None

    def hold_s(self, now: float, queued: int, max_size: int) -> float:
        """Return how much longer to hold the next batch back, when a replica could take it; 0: send it now.

        Parameters
        ----------
        now : float, seconds
        queued : int, queries, >= 1
        max_size : int, queries
            The largest batch that the replica may get: a full one is never held.
        """
        if self._max_delay_s <= 0:
            return 0.0
        if self._opened is not None and now - self._opened > self._max_delay_s:
            self._close(now)
        if self._opened is None:
            self._opened, self._queued_then = now, queued
        if queued >= max_size:
            return 0.0
        if self._held_since is None:
            self._held_since = now
            self._wait_s, self._enough = self._best(max_size)
        if queued >= self._enough:
            return 0.0
        return max(0.0, self._held_since + self._wait_s - now)

    def _close(self, now: float) -> None:
        """Add the open window to the averages; waits beyond its end would have brought no more than it did."""
        assert self._opened is not None
        self._windows += 1
        weight = max(WEIGHT, 1 / self._windows)
        self._queued += weight * (self._queued_then - self._queued)
        for i, wait_s in enumerate(self._waits_s):
            came = bisect_right(self._arrivals, self._opened + wait_s)
            self._more[i] += weight * (came - self._more[i])
        self._opened = None
        self._arrivals.clear()

    def _best(self, max_size: int) -> tuple[float, float]:
        """Return the wait that promises most, and how many queries are enough to end it; (0, 0) if none pays."""
        service, queued = self._service, self._queued
        now_s = service.expected_s(queued)
        if now_s <= 0 or self._windows == 0:
            return 0.0, 0.0
        best_rate, best = MARGIN * min(queued, max_size) / now_s, (0.0, 0.0)
        for wait_s, more in zip(self._waits_s, self._more, strict=True):
            size = min(queued + more, max_size)
            rate = size / (wait_s + service.expected_s(size))
            if rate > best_rate:
                best_rate, best = rate, (wait_s, float(round(size)))
        return best


def fair_share(queued: int, free: int, service: ServiceTime) -> int:
    """Return how many of `queued` queries one of `free` idle replicas should take.

    Where the cost is per query, idle replicas share the queue. Where a batch costs the same whatever its size, the
    first one takes all: a half batch would only keep a second replica from the queries that come next.
    """
    if free == 1 or queued == 1:
        return queued
    share = -(-queued // free)
    return share if service.expected_s(share) < 0.75 * service.expected_s(queued) else queued
