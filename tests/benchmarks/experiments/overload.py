"""Three times as many queries as the model can answer: it still answers what it can, and nobody waits in vain."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tests.benchmarks import machine
from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, running
from tests.benchmarks.comparison import Effort
from tests.benchmarks.experiments.models import make_slow
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.open_loop import OpenLoad, OpenLoop, run_open_loop
from tests.benchmarks.workloads import make_query

TITLE = "Overload (3 times the capacity; 5 ms a batch of at most 8, SLO 100 ms)"
BATCH_S = 0.005
BATCH_SIZE = 8
SLO_S = 0.100
FACTOR = 3
CONNECTIONS = 64
OPEN_CONNECTIONS = 4096
GRACE_MS = 5.0
PATIENCE_S = 1.0
QUERY = make_query("plain", "w4")


@dataclass(frozen=True)
class Round:
    """A closed loop, whose rate is the capacity, and the overload after it."""

    capacity: float
    loop: OpenLoop
    seconds: float

    @property
    def goodput(self) -> float:
        """Return the right answers a second."""
        return self.loop.good / self.seconds


def measure(effort: Effort) -> list[Figure]:
    """Return the goodput by the capacity, the p99 of all answers, and what memory they cost."""
    with running("overload") as cluster:
        url = cluster.serve("slow", make_slow(BATCH_S), slo_s=SLO_S, batch_size=BATCH_SIZE)
        run_closed_loop(url, QUERY, CONNECTIONS, 1, bad=BAD)
        before_mib = cluster.measure_memory().pss_mib
        rounds = [measure_round(url, effort) for _ in range(effort.rounds)]
        after_mib = cluster.measure_memory().pss_mib
    loops = [round_.loop for round_ in rounds]
    share = statistics.median(round_.goodput / round_.capacity for round_ in rounds)
    p99_ms = statistics.median(loop.p99_from_send_ms or 0.0 for loop in loops)
    from_plan_ms = statistics.median(loop.p99_ms or 0.0 for loop in loops)
    answers = (
        f"{sum(loop.good for loop in loops)} right, {sum(loop.default for loop in loops)} default, "
        f"{sum(loop.refused for loop in loops)} refused"
    )
    note = f"counted from the planned time: {from_plan_ms:.1f} ms"
    return [
        Figure("capacity, closed loop", statistics.median(round_.capacity for round_ in rounds), "/s"),
        Figure("goodput by capacity", share, bound=at_least(0.9), note=answers),
        Figure("p99 of all answers", p99_ms, "ms", at_most(SLO_S * 1e3 + GRACE_MS), note),
        Figure("queries without any answer", sum(loop.errors for loop in loops), bound=at_most(0)),
        Figure("memory gained", after_mib - before_mib, "MiB"),
    ]


def measure_round(url: str, effort: Effort) -> Round:
    """Measure the capacity, then send three times as much."""
    machine.wait_until_quiet(effort.patience_s)
    capacity = run_closed_loop(url, QUERY, CONNECTIONS, effort.seconds, bad=BAD).rate
    load = OpenLoad(
        url, QUERY.body, FACTOR * capacity, float(effort.seconds), OPEN_CONNECTIONS, BAD, patience_s=PATIENCE_S
    )
    return Round(capacity, run_open_loop(load), load.seconds)
