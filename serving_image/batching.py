"""Which queries go into the next batch, and how many: pure algorithms, without I/O; the caller passes the clock.

Times are seconds on one monotonic clock.

Source: Crankshaw et al., "Clipper: A Low-Latency Online Prediction Serving System", NSDI'17, section 4.3.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

ADAPTIVE_MAX_SIZE = 4096  # bounds the memory of one batch; the paper's fastest model stays under 2,000
SLO_SHARE = 0.45  # a query may wait for the batch before its own, so two batches and some slack fit in an SLO
BACKOFF = 0.9  # the paper's multiplicative decrease


class DeadlineQueue(Generic[T]):
    """Queries in order of their deadlines, earliest first.

    The queries of one application come with ever later deadlines, so they only need a double-ended queue; those that
    come out of order (an application with a shorter SLO on the same model) go to a heap beside it.

    Examples
    --------
    >>> queue = DeadlineQueue()
    >>> queue.put("later", 2.0); queue.put("sooner", 1.5); queue.put("expired", 0.5)
    >>> queue.get_batch(now=1.0, max_size=10)
    ['sooner', 'later']
    """

    def __init__(self) -> None:
        self._run: deque[tuple[float, T]] = deque()  # ascending deadlines
        self._heap: list[tuple[float, int, T]] = []  # the others; the number keeps equal deadlines in order
        self._number = 0

    def __len__(self) -> int:
        """Return how many queries wait, with those that expired since the last :meth:`drop_expired`."""
        return len(self._run) + len(self._heap)

    def put(self, item: T, deadline: float) -> None:
        """Add `item`, which is of no use any more once its `deadline` has come."""
        run = self._run
        if not run or deadline >= run[-1][0]:
            run.append((deadline, item))
        else:
            self._number += 1
            heappush(self._heap, (deadline, self._number, item))

    def earliest(self) -> float:
        """Return the earliest deadline, infinity for an empty queue."""
        first = self._run[0][0] if self._run else float("inf")
        return min(first, self._heap[0][0]) if self._heap else first

    def drop_expired(self, now: float) -> int:
        """Forget the queries whose deadline has come; return how many."""
        dropped = 0
        while self.earliest() <= now:
            self._pop()
            dropped += 1
        return dropped

    def get_batch(self, now: float, max_size: int, needed_s: float = 0.0) -> list[T]:
        """Take up to `max_size` queries, those with the earliest deadlines that can still be met.

        Parameters
        ----------
        now : float, seconds
        max_size : int, >= 1
        needed_s : float, seconds, >= 0
            How long a batch is expected to take. Under overload the earliest deadlines are those that would be missed
            anyway: such queries are dropped, unless no other is left. Then the batch holds them, because an
            expectation may be wrong, and a late answer still fills the cache.

        Returns
        -------
        list
            Empty if the queue is, or if all of it has expired. An expired query is never in it.
        """
        if not self._heap and self._run and self._run[0][0] > now + needed_s:
            pop = self._run.popleft
            return [pop()[1] for _ in range(min(max_size, len(self._run)))]
        batch: list[T] = []
        hopeless: deque[T] = deque(maxlen=max_size)  # the latest of them have the best chance
        while len(batch) < max_size and len(self):
            deadline, item = self._pop()
            if deadline > now + needed_s:
                batch.append(item)
            elif deadline > now:
                hopeless.append(item)
        return batch or list(hopeless)

    def _pop(self) -> tuple[float, T]:
        if self._heap and (not self._run or self._heap[0][0] < self._run[0][0]):
            deadline, _, item = heappop(self._heap)
            return deadline, item
        return self._run.popleft()


class BatchSizer(Protocol):
    """How large the next batch of one replica may be."""

    @property
    def size(self) -> int:
        """The largest batch to send now, >= 1."""
        ...

    def observe(self, size: int, latency_s: float, budget_s: float) -> None:
        """Learn that a batch of `size` queries took `latency_s`, when `budget_s` was the most that it should take."""
        ...


class FixedBatchSizer:
    """The batch size that the user chose: a maximum, smaller batches are sent when fewer queries wait."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a batch size must be at least 1, not {size}")
        self._size = size

    @property
    def size(self) -> int:
        """The largest batch to send."""
        return self._size

    def observe(self, size: int, latency_s: float, budget_s: float) -> None:
        """Nothing to learn."""


class AIMDBatchSizer:
    """Find the largest batch that a replica answers in time: additive increase, multiplicative decrease.

    Parameters
    ----------
    step : float, queries
        Added after each full batch within its budget.
    max_size : int, queries
        Never more than this.

    Notes
    -----
    Source: NSDI'17, section 4.3.1: "we additively increase the batch size by a fixed amount until the latency to
    process a batch exceeds the latency objective. At this point, we perform a small multiplicative backoff", of 10 %.
    A batch that was not full says nothing about larger ones, so it never increases the size.
    """

    def __init__(self, step: float = 1.0, max_size: int = ADAPTIVE_MAX_SIZE) -> None:
        self._step = step
        self._max_size = max_size
        self._size = 1.0

    @property
    def size(self) -> int:
        """The largest batch to send now, in [1, max_size]."""
        return int(self._size)

    def observe(self, size: int, latency_s: float, budget_s: float) -> None:
        """Learn that a batch of `size` queries took `latency_s`, when `budget_s` was the most that it should take.

        Parameters
        ----------
        size : int, queries
        latency_s : float, seconds
        budget_s : float, seconds
            The batch's share of the SLO: ``SLO_SHARE`` of the shortest one among the applications linked.
        """
        if latency_s > budget_s:
            # A smaller batch than allowed was already too slow: back off from what it held, not from what it might.
            self._size = max(1.0, min(self._size, float(size)) * BACKOFF)
        elif size >= self.size:
            self._size = min(float(self._max_size), self._size + self._step)
