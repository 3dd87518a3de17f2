"""Two query frontends are not slower than one, on two cores and with a payload that costs the frontend time."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, running
from tests.benchmarks.comparison import Effort, compare, join_notes
from tests.benchmarks.experiments.models import make_sum
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.workloads import make_query

TITLE = "Two query frontends (w2, c=256)"
CONNECTIONS = 256


def measure(effort: Effort) -> list[Figure]:
    """Return the rate of two frontends by that of one."""
    query = make_query("plain", "w2")
    with running("one") as one, running("two", num_frontend_replicas=2) as two:
        arrangements = {
            cluster.name: partial(run_closed_loop, cluster.serve("sum", make_sum()), query, CONNECTIONS, bad=BAD)
            for cluster in (one, two)
        }
        outcomes = compare(arrangements, effort)
        first, second = outcomes[one.name], outcomes[two.name]
    note = join_notes(f"{first.rate:,.0f}/s and {second.rate:,.0f}/s", first.note, second.note)
    return [Figure("rate of two by that of one", second.by(first), bound=at_least(1.0), note=note)]
