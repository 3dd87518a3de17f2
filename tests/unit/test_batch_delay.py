"""Adaptive delayed batching: pays in a closed loop, costs nothing elsewhere. All on virtual time."""

from __future__ import annotations

import pytest
from simulation import Client, Model, closed_loop, open_loop

from serving_image.batch_delay import BatchDelay, ServiceTime, fair_share
from serving_image.entities import DEFAULT_MAX_BATCH_DELAY_MS

MAX_MS = DEFAULT_MAX_BATCH_DELAY_MS


def ten_ms(size: int) -> float:
    return 0.010


def mean_ms(clients: list[Client]) -> float:
    return 1e3 * sum(client.latency_s for client in clients) / len(clients)


# ---- ServiceTime


def test_the_service_time_finds_the_fixed_cost_and_the_cost_per_query() -> None:
    service = ServiceTime()
    assert (service.expected_s(5), service.rate) == (0.0, 0.0)
    for size in (1, 9, 3, 20, 7, 12, 2, 16) * 5:
        service.observe(size, 0.004 + 0.0005 * size)
    assert service.expected_s(40) == pytest.approx(0.024, rel=1e-3)
    assert service.cautious_s(40) == pytest.approx(0.024, rel=1e-2)


def test_batches_of_one_size_leave_the_cost_per_query_open_so_larger_ones_are_tried() -> None:
    service = ServiceTime()
    for _ in range(10):
        service.observe(32, 0.010)
    assert service.expected_s(64) == pytest.approx(0.010)


def test_a_batch_is_never_expected_to_cost_more_per_query_when_it_is_larger() -> None:
    service = ServiceTime()
    for size, latency_s in ((1, 0.001), (2, 0.010), (1, 0.001), (2, 0.010)):
        service.observe(size, latency_s)
    assert service.expected_s(20) <= 20 * service.expected_s(1) * (1 + 1e-9)
    assert service.expected_s(0) >= 0


def test_idle_replicas_share_a_queue_only_where_the_cost_is_per_query() -> None:
    fixed, per_query = ServiceTime(), ServiceTime()
    for size in (1, 8, 32, 64):
        fixed.observe(size, 0.010)
        per_query.observe(size, 0.001 * size)
    assert fair_share(64, 2, fixed) == 64
    assert fair_share(64, 2, per_query) == 32
    assert fair_share(65, 2, per_query) == 33
    assert fair_share(1, 8, per_query) == fair_share(1, 1, per_query) == 1


# ---- BatchDelay by hand


def test_no_batch_is_held_before_anything_is_known_nor_when_it_is_off() -> None:
    service = ServiceTime()
    assert BatchDelay(0.002, service).hold_s(now=0.0, queued=1, max_size=64) == 0.0
    service.observe(1, 0.010)
    assert BatchDelay(0.0, service).hold_s(now=0.0, queued=1, max_size=64) == 0.0


def test_a_batch_is_held_until_those_who_usually_come_are_there() -> None:
    service = ServiceTime()
    service.observe(4, 0.010)
    delay = BatchDelay(0.002, service)
    for start in (0.0, 1.0, 2.0):  # seven arrive within the millisecond after the first one
        delay.hold_s(start, queued=1, max_size=64)
        for i in range(7):
            delay.arrived(start + 0.0001 * (i + 1))
        delay.sent()
    assert 0.0 < delay.hold_s(now=3.0, queued=1, max_size=64) <= 0.002
    assert delay.hold_s(now=3.0005, queued=7, max_size=64) > 0.0
    assert delay.hold_s(now=3.0006, queued=8, max_size=64) == 0.0
    assert delay.hold_s(now=3.0001, queued=4, max_size=4) == 0.0  # a full batch never waits
    assert delay.hold_s(now=3.0021, queued=5, max_size=64) == 0.0  # nor any longer than the maximum


# ---- BatchDelay in its place


def test_a_closed_loop_of_64_fills_its_batches_instead_of_alternating_between_halves() -> None:
    without, held = Model(ten_ms), Model(ten_ms, max_batch_delay_ms=MAX_MS)
    slow, fast = len(closed_loop(without, 64, 1.0)), len(closed_loop(held, 64, 1.0))
    assert sum(without.replicas[0].batches[-20:]) / 20 == 32  # two parts that take turns
    assert min(held.replicas[0].batches[-20:]) >= 60
    # 64 in 10 ms, in 1.4 ms for as many ways through the event loop, and in 0.2 ms for the way there and back
    assert fast >= 0.95 * 64 / 0.0116
    assert fast >= 1.6 * slow


@pytest.mark.parametrize("path_us", [22, 35, 45, 60])
def test_batches_are_filled_on_a_slow_machine_too(path_us: float) -> None:
    """Where a query takes longer on its way, it also takes longer until all those of a batch are back."""
    model = Model(ten_ms, max_batch_delay_ms=MAX_MS)
    answers = closed_loop(model, 64, 1.0, path_s=path_us * 1e-6)
    assert sum(model.replicas[0].batches[-20:]) / 20 >= 63
    assert len(answers) >= 0.98 * 64 / (0.010 + 64 * path_us * 1e-6 + 0.0002)


@pytest.mark.parametrize("clients", [2, 16])
def test_smaller_closed_loops_fill_their_batches_too(clients: int) -> None:
    model = Model(ten_ms, max_batch_delay_ms=MAX_MS)
    closed_loop(model, clients, 0.5)
    assert min(model.replicas[0].batches[-10:]) == clients


def test_one_client_never_waits() -> None:
    answers = closed_loop(Model(ten_ms, max_batch_delay_ms=MAX_MS), 1, 1.0)
    assert max(client.latency_s for client in answers) == pytest.approx(0.010)


@pytest.mark.parametrize("per_s", [50, 300, 1000, 3000, 5000])
def test_independent_arrivals_lose_nothing(per_s: int) -> None:
    without = open_loop(Model(ten_ms), per_s, 2.0)
    held = open_loop(Model(ten_ms, max_batch_delay_ms=MAX_MS), per_s, 2.0)
    assert mean_ms(held) <= 1.02 * mean_ms(without)


def test_a_model_that_costs_per_query_is_not_held_up() -> None:
    def per_query(size: int) -> float:
        return 0.0003 * size

    without = closed_loop(Model(per_query), 64, 0.5)
    held = closed_loop(Model(per_query, max_batch_delay_ms=MAX_MS), 64, 0.5)
    assert len(held) >= 0.98 * len(without)


def test_eight_replicas_do_eight_times_as_much() -> None:
    one = len(closed_loop(Model(ten_ms, max_batch_delay_ms=MAX_MS), 64, 0.3, warm_up_s=0.3))
    eight = len(closed_loop(Model(ten_ms, replicas=8, max_batch_delay_ms=MAX_MS), 512, 0.3, warm_up_s=0.3))
    assert eight >= 0.95 * 8 * one
