"""What the prediction cache brings when some questions are asked more often than others (Zipf's law)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

import numpy as np

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, running
from tests.benchmarks.comparison import Effort, compare, join_notes
from tests.benchmarks.experiments.models import make_forest
from tests.benchmarks.figures import Figure
from tests.benchmarks.workloads import make_query

TITLE = "Prediction cache (w3, c=64, 50,000 different queries, Zipf exponent 1)"
QUERIES = 50_000
DRAWS = 500_000
EXPONENT = 1.0
CONNECTIONS = 64
WARM_UP_FACTOR = 3
SIZES = {"4 MiB": 4 * 2**20, "32 MiB (the default)": 32 * 2**20}
LOOKUPS, HITS = "internal:prediction_cache_lookups", "internal:prediction_cache_hits"


def draw_queries() -> list[int]:
    """Return numbers of queries, the k-th most frequent in proportion to 1 / k."""
    weights = 1.0 / np.arange(1, QUERIES + 1) ** EXPONENT
    draws = np.random.default_rng(1).choice(QUERIES, size=DRAWS, p=weights / weights.sum())
    return [int(number) for number in draws]


def measure(effort: Effort) -> list[Figure]:
    """Return hit ratio and gain of caches of two sizes, when they are warm."""
    query, keys, forest = make_query("plain", "w3"), draw_queries(), make_forest()
    with running("none", cache_size=0) as none, ExitStack() as stack:
        cached = {size: stack.enter_context(running("cache", cache_size=bound)) for size, bound in SIZES.items()}
        arrangements = {
            cluster.name: partial(
                run_closed_loop, cluster.serve("forest", forest), query, CONNECTIONS, bad=BAD, keys=keys
            )
            for cluster in (none, *cached.values())
        }
        for cluster in cached.values():
            arrangements[cluster.name](WARM_UP_FACTOR * effort.seconds)
        before = {size: cluster.read_metrics() for size, cluster in cached.items()}
        outcomes = compare(arrangements, effort)
        after = {size: cluster.read_metrics() for size, cluster in cached.items()}
        base = outcomes[none.name]
        figures = [Figure("no cache", base.rate, "/s", note=base.note)]
        for size, cluster in cached.items():
            outcome = outcomes[cluster.name]
            note = join_notes(f"{outcome.rate:,.0f}/s", outcome.note)
            figures.append(Figure(f"{size}: hit ratio", hit_ratio(before[size], after[size])))
            figures.append(Figure(f"{size}: rate by that of no cache", outcome.by(base), note=note))
    return figures


def hit_ratio(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return which share of the queries between two looks at the metrics the cache has answered."""
    return (after[HITS] - before[HITS]) / max(1.0, after[LOOKUPS] - before[LOOKUPS])
