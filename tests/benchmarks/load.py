"""Load one server with one workload: closed loops, the highest open-loop rate, memory, wrong answers."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from tests.benchmarks import machine
from tests.benchmarks.closed_loop import ClosedLoop, run_closed_loop
from tests.benchmarks.measured_server import MeasuredServer
from tests.benchmarks.open_loop import OpenLoad, OpenLoop, run_open_loop
from tests.benchmarks.records import Record

WARM_UP_CONNECTIONS = 16
OPEN_TRIES = 2  # a rate has failed when it failed twice: one hiccup of the machine is not the server's limit
LOWEST_SHARE, HIGHEST_SHARE = 0.05, 1.1  # of the best closed-loop rate: where the open loop searches


@dataclass(frozen=True)
class LoadOptions:
    """How to load.

    Attributes
    ----------
    connections : sequence of int
        The steps of the closed loop.
    open_steps : int
        Rates that the open-loop search tries; 0: no search.
    open_limit_ms : float, milliseconds
        An open-loop rate is held when its p99 stays below this.
    patience_s : float
        How long each step waits for a quiet machine.
    tries : int
        How often a step is measured at most, while other programs take part of the machine.
    """

    connections: Sequence[int] = (1, 16, 64, 256)
    seconds: int = 5
    warm_up_s: int = 2
    open_steps: int = 0
    open_seconds: int = 3
    open_limit_ms: float = 20.0
    patience_s: float = 30.0
    tries: int = 3


@contextmanager
def serving(server: MeasuredServer, workload: str) -> Iterator[float | None]:
    """Run ``server``, with a check of its answers before and after; give the seconds that it took to start."""
    start_s = server.start(workload)
    try:
        server.check(workload)
        yield start_s
        server.check(workload)
    finally:
        server.stop()


def measure_load(
    server: MeasuredServer, workload: str, options: LoadOptions, say: Callable[[str], None] = print
) -> list[Record]:
    """Return the records of one server under one workload."""
    records: list[Record] = []

    def keep(kind: str, **figures: object) -> None:
        records.append({"kind": kind, "target": server.name, "workload": workload, **figures})

    with serving(server, workload) as start_s:
        if start_s is not None:
            keep("start", seconds=round(start_s, 3))
        query = server.make_query(workload)
        if options.warm_up_s:
            run_closed_loop(server.url, query, WARM_UP_CONNECTIONS, options.warm_up_s, bad=server.spec.bad)
        best_rate = 0.0
        for connections in options.connections:
            loop, usage = _measure_step(server, workload, connections, options)
            best_rate = max(best_rate, loop.rate)
            keep("closed", **asdict(loop), **usage)
            say(f"{server.name} {workload} c={connections}: {loop.rate:,.0f}/s, p50 {loop.p50_ms} ms, "
                f"p99 {loop.p99_ms} ms, bad {loop.bad}, errors {loop.errors}")  # fmt: skip
        if options.open_steps and best_rate:
            held = search_open_rate(server, workload, best_rate, options)
            keep("open", rate=held.rate if held else 0.0, p50_ms=held and held.p50_ms, p99_ms=held and held.p99_ms)
            say(f"{server.name} {workload} open loop: {held.rate if held else 0:,.0f}/s")
        if server.is_ours_to_watch:
            keep("memory", **asdict(server.measure_memory()))
    return records


def _measure_step(
    server: MeasuredServer, workload: str, connections: int, options: LoadOptions
) -> tuple[ClosedLoop, dict[str, float | None]]:
    """Measure a step of the closed loop, again if other programs took part of the machine meanwhile."""
    query = server.make_query(workload)
    tries: list[tuple[ClosedLoop, dict[str, float | None]]] = []
    while len(tries) < options.tries:
        machine.wait_until_quiet(options.patience_s, server.measure_cpu_s)
        tries.append(
            _watch(
                server, lambda: run_closed_loop(server.url, query, connections, options.seconds, bad=server.spec.bad)
            )
        )
        if (tries[-1][1]["other_cores"] or 0.0) < machine.QUIET_CORES:
            break
    return min(tries, key=lambda measured: measured[1]["other_cores"] or 0.0)


def _watch(server: MeasuredServer, work: Callable[[], ClosedLoop]) -> tuple[ClosedLoop, dict[str, float | None]]:
    """Do ``work``; say which CPU the server used meanwhile, and how many cores other programs did."""
    if not server.is_ours_to_watch:
        return work(), {"cpu_s": None, "other_cores": None}
    server_s, own_s, begin_s = server.measure_cpu_s(), _own_cpu_s(), time.perf_counter()
    busy_s, stolen_s = machine.cpu_seconds()
    loop = work()
    busy_now_s, stolen_now_s = machine.cpu_seconds()
    span_s = time.perf_counter() - begin_s
    server_s, own_s = server.measure_cpu_s() - server_s, _own_cpu_s() - own_s
    others_s = busy_now_s - busy_s - server_s - own_s + stolen_now_s - stolen_s
    return loop, {"cpu_s": round(server_s, 2), "other_cores": round(max(0.0, others_s) / span_s, 2)}


def _own_cpu_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended (the load generators)."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def search_open_rate(server: MeasuredServer, workload: str, best_rate: float, options: LoadOptions) -> OpenLoop | None:
    """Return the open loop of the highest rate held, by bisection; None if not even the lowest was.

    Parameters
    ----------
    best_rate : float, predictions/s
        The best of the closed loops.
    """
    low, high = LOWEST_SHARE * best_rate, HIGHEST_SHARE * best_rate
    held: OpenLoop | None = None
    for _ in range(options.open_steps):
        rate = round((low * high) ** 0.5, 1)
        loop = _try_rate(server, workload, rate, options)
        if loop is None:
            high = rate
        else:
            low, held = rate, loop
    return held


def _try_rate(server: MeasuredServer, workload: str, rate: float, options: LoadOptions) -> OpenLoop | None:
    """Return the open loop at ``rate`` if the server held it in one of two tries."""
    body = server.make_query(workload).body
    load = OpenLoad(server.url, body, rate, options.open_seconds, bad=server.spec.bad)
    for _ in range(OPEN_TRIES):
        machine.wait_until_quiet(options.patience_s, server.measure_cpu_s)
        loop = run_open_loop(load)
        if is_held(loop, options.open_limit_ms):
            return loop
    return None


def is_held(loop: OpenLoop, limit_ms: float) -> bool:
    """Tell whether every query was answered, rightly, and 99 of 100 in time (counted from their planned times)."""
    in_time = loop.p99_ms is not None and loop.p99_ms < limit_ms
    return in_time and loop.good == loop.answered and not loop.errors
