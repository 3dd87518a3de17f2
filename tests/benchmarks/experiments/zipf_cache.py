"""What the prediction cache brings when some questions are asked more often than others (Zipf's law)."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, Cluster, running
from tests.benchmarks.comparison import Effort, compare, join_notes
from tests.benchmarks.experiments.models import make_forest
from tests.benchmarks.figures import Figure
from tests.benchmarks.workloads import make_query

TITLE = "Prediction cache (w3, c=64, 100,000 different queries, Zipf exponent 1)"
QUERIES = 100_000
DRAWS = 500_000
EXPONENT = 1.0
CONNECTIONS = 64
CACHE_BYTES = {"4 MiB": 4 * 2**20, "32 MiB (the default)": 32 * 2**20}
LOOKUPS, HITS = "internal:prediction_cache_lookups", "internal:prediction_cache_hits"


def draw_queries() -> list[int]:
    """Return numbers of queries, the k-th most frequent in proportion to 1 / k."""
    weights = 1.0 / np.arange(1, QUERIES + 1) ** EXPONENT
    draws = np.random.default_rng(1).choice(QUERIES, size=DRAWS, p=weights / weights.sum())
    return [int(number) for number in draws]


def measure(effort: Effort) -> list[Figure]:
    """Return hit ratio and gain of caches of several sizes."""
    query, keys, forest = make_query("plain", "w3"), draw_queries(), make_forest()
    with (
        running("no-cache", cache_size=0) as without,
        running("small", cache_size=CACHE_BYTES["4 MiB"]) as small,
        running("large", cache_size=CACHE_BYTES["32 MiB (the default)"]) as large,
    ):
        arrangements = {
            cluster.name: partial(
                run_closed_loop, cluster.serve("forest", forest), query, CONNECTIONS, bad=BAD, keys=keys
            )
            for cluster in (without, small, large)
        }
        outcomes = compare(arrangements, effort)
        hits = {cluster.name: read_hit_ratio(cluster) for cluster in (small, large)}
        base = outcomes[without.name]
        figures = [Figure("no cache", base.rate, "/s", note=base.note)]
        for size, cluster in zip(CACHE_BYTES, (small, large), strict=True):
            outcome = outcomes[cluster.name]
            note = join_notes(f"{outcome.rate:,.0f}/s", outcome.note)
            figures.append(Figure(f"{size}: hit ratio", hits[cluster.name]))
            figures.append(Figure(f"{size}: rate by that of no cache", outcome.rate / base.rate, note=note))
    return figures


def read_hit_ratio(cluster: Cluster) -> float:
    """Return which share of the queries so far the cache has answered."""
    metrics = cluster.read_metrics()
    return metrics[HITS] / max(1.0, metrics[LOOKUPS])
