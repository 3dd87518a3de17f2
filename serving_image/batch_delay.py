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
from math import sqrt

WEIGHT = 1 / 8  # of the newest sample in each moving average
GRID = 8  # the waits considered: max_delay_s * 1/8, 2/8, ... 8/8
SURE = 2 * sqrt(WEIGHT / (2 - WEIGHT))  # two standard errors of such an average of chance arrivals, over its root
MARGIN = 1.1  # a wait must save this much more of a replica's time than it costs


class ServiceTime:
    """How long a batch takes: a moving linear fit of a fixed cost and a cost per query."""

    def __init__(self) -> None:
        self._n = self._s = self._nn = self._ns = 0.0  # moving averages of n, s, n*n and n*s
        self._slope = 0.0
        self._error_s = 0.0  # moving average of how far off the expectation was
        self.samples = 0

    def observe(self, size: int, latency_s: float) -> None:
        """Learn that a batch of `size` queries took `latency_s`."""
        self.samples += 1
        weight = max(WEIGHT, 1 / self.samples)
        if self.samples > 1:
            self._error_s += weight * (abs(latency_s - self.expected_s(size)) - self._error_s)
        self._n += weight * (size - self._n)
        self._s += weight * (latency_s - self._s)
        self._nn += weight * (size * size - self._nn)
        self._ns += weight * (size * latency_s - self._ns)
        variance = self._nn - self._n * self._n
        if variance > 0.01 * self._nn:  # sizes that hardly differ say nothing new about the cost per query
            self._slope = (self._ns - self._n * self._s) / variance

    def expected_s(self, size: float) -> float:
        """Return the expected time for a batch of `size` queries, 0 before the first sample.

        As long as all batches had one size nothing is known of the cost per query. It is taken for nothing then, so
        that a larger batch is tried.
        """
        if not self.samples:
            return 0.0
        slope = min(max(self._slope, 0.0), self._s / self._n)
        return max(0.0, self._s + slope * (size - self._n))

    @property
    def rate(self) -> float:
        """Queries per second of a replica that is never idle; 0 before the first sample."""
        return self._n / self._s if self._s > 0 else 0.0

    def cautious_s(self, size: float) -> float:
        """Return a time in which most batches of `size` queries are done: twice the usual error is added."""
        return self.expected_s(size) + 2 * self._error_s


class BatchDelay:
    """Decide for one queue how long a batch is held back for more queries to join it.

    Each time a replica could take a batch, the queries that arrive next are counted by how long after that moment
    they came, whether or not the batch was held. Their moving average ``more(w)`` says what a wait of ``w`` brings.
    These queries would else be served later, each for a share of a replica's time, so the wait pays if

        more(w)  >  MARGIN * rate * (held(w) + service(queued + more(w)) - service(queued))

    where ``rate`` is what a busy replica serves, in queries per second, and ``held(w)`` is how long the batch is really
    held: until as many are there as usually come, and one gap between two of them longer to be sure. Arrivals that do
    not depend on the answers never reach it, as a replica that keeps up is at least as fast as they are. But clients
    who wait for their answers come back within a millisecond or two, all those of a batch at once.

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
        self._more = [0.0] * GRID  # moving averages: queries that came within each wait ...
        self._together = [0.0] * GRID  # ... and together with those that were there
        self._last_s = [0.0] * GRID  # ... and when the last of them came
        self._windows = 0
        self._opened: float | None = None  # the moment that the open window counts from
        self._queued_then = self._max_size_then = 0
        self._arrivals: list[float] = []
        self._held_since: float | None = None
        self._wait_s, self._enough = 0.0, 0  # the plan for the batch that is held

    def arrived(self, now: float) -> None:
        """Note that a query was put in the queue."""
        if self._opened is not None:
            self._arrivals.append(now)

    def answered(self, now: float, sent_at: float) -> None:
        """Note that a batch came back. If it could have been held, its clients would not come back yet."""
        if self._opened is not None and sent_at >= self._opened:
            self._close()

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
            self._close()
        if self._opened is None:
            self._opened, self._queued_then, self._max_size_then = now, queued, max_size
        if queued >= max_size:
            return 0.0
        if self._held_since is None:
            self._held_since = now
            self._wait_s, self._enough = self._best(queued, max_size)
        if queued >= self._enough:
            return 0.0
        return max(0.0, self._held_since + self._wait_s - now)

    def _close(self) -> None:
        """Add the open window to the averages; if it ends early, a longer wait is taken to bring no more."""
        assert self._opened is not None
        self._windows += 1
        weight = max(WEIGHT, 1 / self._windows)
        for i, wait_s in enumerate(self._waits_s):
            came = bisect_right(self._arrivals, self._opened + wait_s)
            together = min(self._queued_then + came, self._max_size_then)
            last_s = self._arrivals[came - 1] - self._opened if came else 0.0
            self._more[i] += weight * (came - self._more[i])
            self._last_s[i] += weight * (last_s - self._last_s[i])
            self._together[i] += weight * (together - self._together[i])
        self._opened = None
        self._arrivals.clear()

    def _best(self, queued: int, max_size: int) -> tuple[float, int]:
        """Return the wait that saves most, and how many queries are enough to end it; (0, 0) if none pays."""
        if self._more[-1] <= SURE * SURE:
            return 0.0, 0  # nobody comes, however long the wait
        service = self._service
        rate = service.rate
        now_s = service.expected_s(queued)
        best_saving, best = 0.0, (0.0, 0)
        for wait_s, more, together, last_s in zip(self._waits_s, self._more, self._together, self._last_s, strict=True):
            gain = min(more - SURE * sqrt(more), max_size - queued)
            held_s = min(wait_s, last_s * (1 + 1 / max(more, 1)))
            cost = MARGIN * rate * (held_s + service.expected_s(queued + gain) - now_s)
            if gain - cost > best_saving:
                best_saving, best = gain - cost, (wait_s, round(max(queued + gain, together)))
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
