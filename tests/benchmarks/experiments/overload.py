"""Three times as many queries as the model can answer: it still answers what it can, and nobody waits in vain."""

from __future__ import annotations

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, running
from tests.benchmarks.comparison import Effort
from tests.benchmarks.experiments.models import make_slow
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.open_loop import OpenLoad, run_open_loop
from tests.benchmarks.workloads import make_query

TITLE = "Overload (3 times the capacity; 5 ms a batch of at most 8, SLO 100 ms)"
BATCH_S = 0.005
BATCH_SIZE = 8
SLO_S = 0.100
FACTOR = 3
CONNECTIONS = 64
OPEN_CONNECTIONS = 4096
GRACE_MS = 5.0


def measure(effort: Effort) -> list[Figure]:
    """Return the goodput by the capacity, the p99 of all answers, and what memory they cost."""
    query = make_query("plain", "w4")
    with running("overload") as cluster:
        url = cluster.serve("slow", make_slow(BATCH_S), slo_s=SLO_S, batch_size=BATCH_SIZE)
        run_closed_loop(url, query, CONNECTIONS, 1, bad=BAD)
        capacity = run_closed_loop(url, query, CONNECTIONS, effort.seconds, bad=BAD).rate
        before_mib = cluster.measure_memory().pss_mib
        load = OpenLoad(url, query.body, FACTOR * capacity, 2.0 * effort.seconds, OPEN_CONNECTIONS, BAD, patience_s=1.0)
        loop = run_open_loop(load)
        after_mib = cluster.measure_memory().pss_mib
    goodput = loop.good / load.seconds
    answers = f"{loop.good} right, {loop.default} default, {loop.refused} refused, {loop.errors} errors"
    late_ms = f"counted from the planned time: {loop.p99_ms} ms"
    return [
        Figure("capacity, closed loop", capacity, "/s"),
        Figure("goodput by capacity", goodput / capacity, bound=at_least(0.9), note=answers),
        Figure("p99 of all answers", loop.p99_from_send_ms or 0.0, "ms", at_most(SLO_S * 1e3 + GRACE_MS), late_ms),
        Figure("queries without any answer", loop.errors, bound=at_most(0)),
        Figure("memory gained", after_mib - before_mib, "MiB"),
    ]
