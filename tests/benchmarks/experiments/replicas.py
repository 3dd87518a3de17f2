"""N replicas do N times the work of one.

The model costs 10 ms a batch and takes 8 at a time, so that eight replicas are the limit and not two cores.
"""

from __future__ import annotations

from functools import partial

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, running
from tests.benchmarks.comparison import Effort, compare
from tests.benchmarks.experiments.models import make_slow
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.workloads import make_query

TITLE = "Replicas (10 ms a batch of at most 8)"
COUNTS = (1, 2, 4, 8)
BATCH_SIZE = 8
BATCH_S = 0.010
CONNECTIONS_PER_REPLICA = 4 * BATCH_SIZE
SHARE = 0.95


def measure(effort: Effort) -> list[Figure]:
    """Return the rate of N replicas as a share of N times that of one."""
    query = make_query("plain", "w4")
    with running("replicas") as cluster:
        arrangements = {}
        for count in COUNTS:
            url = cluster.serve(f"slow-{count}", make_slow(BATCH_S), replicas=count, batch_size=BATCH_SIZE)
            connections = CONNECTIONS_PER_REPLICA * count
            arrangements[str(count)] = partial(run_closed_loop, url, query, connections, bad=BAD)
        outcomes = compare(arrangements, effort)
    single = outcomes["1"]
    figures = [Figure("1 replica", single.rate, "/s", note=single.note)]
    for count in COUNTS[1:]:
        outcome = outcomes[str(count)]
        share = outcome.rate / (count * single.rate)
        name = f"{count} replicas, share of {count} times one"
        figures.append(Figure(name, share, bound=at_least(SHARE), note=outcome.note or f"{outcome.rate:,.0f}/s"))
    return figures
