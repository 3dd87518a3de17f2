"""How long after its SLO a default answer leaves, while ten thousand queries wait for a model that does not answer."""

from __future__ import annotations

import resource

from tests.benchmarks.clusters import BAD, LeftOutError, running
from tests.benchmarks.comparison import Effort
from tests.benchmarks.experiments.models import make_silent
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.open_loop import OpenLoad, run_open_loop
from tests.benchmarks.workloads import make_query

TITLE = "Default answers (10,000 queries/s, SLO 1 s: 10,000 outstanding)"
RATE = 10_000
SLO_S = 1.0
CONNECTIONS = 11_000
SILENCE_S = 60.0
LATE_MS = 2.0


def measure(effort: Effort) -> list[Figure]:
    """Return the lateness of the default answers, seen by the client, counted from when a query left it."""
    allow_open_files(CONNECTIONS + 500)
    query = make_query("plain", "w1")
    with running("lateness") as cluster:
        url = cluster.serve("silent", make_silent(SILENCE_S), slo_s=SLO_S)
        load = OpenLoad(
            url, query.body, RATE, 1.0 + effort.seconds, CONNECTIONS, BAD, open_first=True, patience_s=SLO_S
        )
        loop = run_open_loop(load)
    slo_ms = SLO_S * 1e3
    counts = f"{loop.default} default, {loop.good} right, {loop.refused} refused, {loop.errors} errors"
    return [
        Figure("p50 of the lateness", (loop.p50_from_send_ms or 0.0) - slo_ms, "ms", note=counts),
        Figure("p99 of the lateness", (loop.p99_from_send_ms or 0.0) - slo_ms, "ms", at_most(LATE_MS)),
        Figure("most queries outstanding", loop.most_outstanding, bound=at_least(0.9 * RATE * SLO_S)),
        Figure("answers other than the default output", loop.good + loop.refused + loop.errors, bound=at_most(0)),
    ]


def allow_open_files(count: int) -> None:
    """Let this process and those that it starts open so many files.

    Raises
    ------
    LeftOutError
        If the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise LeftOutError(f"a process may open {hard} files here, {count} are needed (ulimit -n)")
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
