"""The deadline queue and the batch sizers, on clocks that the tests set."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from simulation import Model, closed_loop, open_loop

from serving_image.batching import BACKOFF, AIMDBatchSizer, DeadlineQueue, FixedBatchSizer


def queue_of(*deadlines: float) -> DeadlineQueue[float]:
    """Return a queue whose items are their deadlines."""
    queue: DeadlineQueue[float] = DeadlineQueue()
    for deadline in deadlines:
        queue.put(deadline, deadline)
    return queue


# ---- DeadlineQueue


def test_a_queue_emptied_by_expiry_gives_an_empty_batch() -> None:
    queue = queue_of(1.0, 2.0, 3.0)
    assert queue.get_batch(now=3.0, max_size=10) == []
    assert len(queue) == 0
    assert queue.get_batch(now=3.0, max_size=10) == []


def test_the_earliest_deadlines_come_first_whatever_the_order_of_arrival() -> None:
    queue = queue_of(5.0, 7.0, 3.0, 9.0, 4.0, 6.0)
    assert queue.get_batch(now=0.0, max_size=4) == [3.0, 4.0, 5.0, 6.0]
    assert queue.get_batch(now=0.0, max_size=4) == [7.0, 9.0]


def test_equal_deadlines_keep_the_order_of_arrival() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    queue.put("last", 2.0)
    for item in ("a", "b", "c"):
        queue.put(item, 1.0)
    assert queue.get_batch(now=0.0, max_size=4) == ["a", "b", "c", "last"]


def test_a_query_whose_deadline_is_now_is_never_sent() -> None:
    assert queue_of(1.0, 2.0).get_batch(now=1.0, max_size=2) == [2.0]


def test_queries_that_cannot_be_met_make_room_for_those_that_can() -> None:
    queue = queue_of(1.0, 2.0, 5.0, 6.0)
    assert queue.get_batch(now=0.5, max_size=2, needed_s=2.0) == [5.0, 6.0]
    assert len(queue) == 0


def test_queries_that_cannot_be_met_are_tried_when_no_other_is_left() -> None:
    assert queue_of(1.0, 2.0, 3.0).get_batch(now=0.5, max_size=2, needed_s=9.0) == [2.0, 3.0]


def test_drop_expired_counts_what_it_forgets() -> None:
    queue = queue_of(4.0, 1.0, 2.0)
    assert queue.drop_expired(now=2.0) == 2
    assert queue.earliest() == 4.0
    assert queue_of().earliest() == float("inf")


@given(
    deadlines=st.lists(st.integers(0, 20)),
    now=st.integers(0, 20),
    max_size=st.integers(1, 8),
    needed=st.integers(0, 5),
)
def test_a_batch_is_what_a_sorted_list_would_give(deadlines: list[int], now: int, max_size: int, needed: int) -> None:
    batch = queue_of(*deadlines).get_batch(now, max_size, needed)
    feasible = sorted(deadline for deadline in deadlines if deadline > now + needed)
    hopeless = sorted(deadline for deadline in deadlines if now < deadline <= now + needed)
    assert batch == (feasible[:max_size] if feasible else hopeless[-max_size:])


class QueueMachine(RuleBasedStateMachine):
    """The queue against a sorted list, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: DeadlineQueue[int] = DeadlineQueue()
        self.model: list[int] = []
        self.now = 0

    @rule(slo=st.integers(1, 9))
    def put(self, slo: int) -> None:
        self.queue.put(self.now + slo, self.now + slo)
        bisect.insort(self.model, self.now + slo)

    @rule(passed=st.integers(0, 4))
    def wait(self, passed: int) -> None:
        self.now += passed

    @rule(max_size=st.integers(1, 5))
    def get_batch(self, max_size: int) -> None:
        live = [deadline for deadline in self.model if deadline > self.now]
        assert self.queue.get_batch(self.now, max_size) == live[:max_size]
        self.model = live[max_size:]

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) >= len(self.model)
        assert self.queue.earliest() <= min(self.model, default=float("inf"))


TestQueueMachine = QueueMachine.TestCase


# ---- sizers


def test_a_fixed_size_is_a_maximum_that_never_moves() -> None:
    sizer = FixedBatchSizer(8)
    sizer.observe(8, latency_s=9.0, budget_s=0.1)
    assert sizer.size == 8
    with pytest.raises(ValueError, match="at least 1"):
        FixedBatchSizer(0)


def test_aimd_adds_a_step_after_each_full_batch_in_time() -> None:
    sizer = AIMDBatchSizer(step=2)
    sizes = []
    for _ in range(4):
        sizes.append(sizer.size)
        sizer.observe(sizer.size, latency_s=0.01, budget_s=0.02)
    assert sizes == [1, 3, 5, 7]


def test_aimd_learns_nothing_from_a_batch_that_was_not_full() -> None:
    sizer = AIMDBatchSizer(step=5)
    sizer.observe(1, 0.01, 0.02)
    sizer.observe(5, 0.01, 0.02)
    assert sizer.size == 6


def test_aimd_backs_off_by_a_tenth_from_the_batch_that_was_late() -> None:
    sizer = AIMDBatchSizer(step=99)
    sizer.observe(1, 0.01, 0.02)
    sizer.observe(100, 0.03, 0.02)
    assert sizer.size == int(100 * BACKOFF)
    sizer.observe(50, 0.03, 0.02)
    assert sizer.size == int(50 * BACKOFF)


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0, 1)), max_size=200))
def test_aimd_stays_within_one_and_its_maximum(batches: list[tuple[int, float]]) -> None:
    sizer = AIMDBatchSizer(step=7, max_size=100)
    for size, latency_s in batches:
        sizer.observe(min(size, sizer.size), latency_s, budget_s=0.5)
        assert 1 <= sizer.size <= 100


# ---- simulated: the dispatcher with its queue, sizers and delays, on virtual time


def cost(size: int) -> float:
    return 0.001 + 0.001 * size


def goodput(model: Model, clients: int, seconds: float) -> float:
    """Return right answers per second under saturation, after the sizes have settled."""
    return sum(not client.reason for client in closed_loop(model, clients, seconds)) / seconds


def test_aimd_reaches_nine_tenths_of_the_best_fixed_size_and_keeps_the_slo() -> None:
    clients, slo_s = 40, 0.05
    fixed = {
        size: goodput(Model(cost, batch_size=size, slo_s=slo_s), clients, 1.0) for size in (1, 4, 8, 16, 20, 24, 32)
    }
    model = Model(cost, batch_size=-1, slo_s=slo_s)
    answers = closed_loop(model, clients, 3.0)
    in_time = sum(not client.reason for client in answers) / 3.0
    assert in_time >= 0.9 * max(fixed.values())
    latencies = sorted(client.latency_s for client in answers)
    assert latencies[int(0.99 * len(latencies))] <= slo_s


def test_aimd_recovers_when_the_model_becomes_three_times_slower() -> None:
    model = Model(cost, batch_size=-1, slo_s=0.05)
    before = goodput(model, 20, 1.0)
    model.cost = lambda size: 3 * cost(size)
    after = goodput(model, 20, 1.0)
    slower = goodput(Model(lambda size: 3 * cost(size), batch_size=-1, slo_s=0.05), 20, 1.0)
    assert after >= 0.9 * slower
    assert after < before


def test_overload_at_three_times_the_capacity_keeps_the_goodput_and_the_slo() -> None:
    def batch_cost(size: int) -> float:
        return 0.002 + 0.0002 * size

    slo_s, capacity = 0.05, 64 / batch_cost(64)
    answers = open_loop(Model(batch_cost, batch_size=64, slo_s=slo_s), 3 * capacity, 1.0)
    in_time = sum(not client.reason for client in answers)
    assert in_time >= 0.9 * capacity * (1.0 - slo_s)
    assert max(client.latency_s for client in answers) <= slo_s + 1e-9


def test_batching_pays_twenty_times_for_a_model_with_a_fixed_cost() -> None:
    def forest(size: int) -> float:
        return 0.002 + 0.000002 * size

    without = goodput(Model(forest, batch_size=1), 128, 0.5)
    assert goodput(Model(forest, batch_size=64), 128, 0.5) >= 20 * without
