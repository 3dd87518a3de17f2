"""What adaptive batching brings to a model whose batches cost nearly the same whatever their size (the paper: 26x)."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, running
from tests.benchmarks.comparison import Effort, compare, join_notes
from tests.benchmarks.experiments.models import make_forest
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.workloads import make_query

TITLE = "Batching (w3, c=64)"
CONNECTIONS = 64
SLO_S = 2.0  # long enough for the arrangement without batching, where 63 others are served first
BATCH_SIZES = {"none": 1, "adaptive": -1}


def measure(effort: Effort) -> list[Figure]:
    """Return the rate with adaptive batching by that without batching."""
    query, forest = make_query("plain", "w3"), make_forest()
    with running("batching", cache_size=0) as cluster:
        arrangements = {}
        for name, batch_size in BATCH_SIZES.items():
            url = cluster.serve(name, forest, slo_s=SLO_S, batch_size=batch_size)
            arrangements[name] = partial(run_closed_loop, url, query, CONNECTIONS, bad=BAD)
        outcomes = compare(arrangements, effort)
    alone, together = outcomes["none"], outcomes["adaptive"]
    note = join_notes(f"{alone.rate:,.0f}/s and {together.rate:,.0f}/s", alone.note, together.note)
    return [Figure("rate, adaptive by none", together.by(alone), bound=at_least(20), note=note)]
