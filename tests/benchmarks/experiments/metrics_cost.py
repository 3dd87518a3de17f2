"""What the metrics cost the predict path: the same cluster with every counter and histogram taken out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, Cluster, running
from tests.benchmarks.comparison import Effort, compare, join_notes
from tests.benchmarks.experiments.models import make_sum
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.workloads import make_query

TITLE = "Metrics (w1, c=64)"
CONNECTIONS = 64
ROUNDS_FACTOR = 3  # a cost of three in a hundred needs more rounds than a gain of twenty times
PATCH = Path(__file__).with_name("without_metrics")


@contextmanager
def running_without_metrics() -> Iterator[Cluster]:
    """Run a cluster whose processes find `without_metrics` first on their path."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PATCH), before]))
    try:
        with running("no-metrics") as cluster:
            yield cluster
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def measure(effort: Effort) -> list[Figure]:
    """Return the share of the rate that the metrics cost."""
    query = make_query("plain", "w1")
    with running("metrics") as on, running_without_metrics() as off:
        arrangements = {
            cluster.name: partial(run_closed_loop, cluster.serve("sum", make_sum()), query, CONNECTIONS, bad=BAD)
            for cluster in (on, off)
        }
        outcomes = compare(arrangements, replace(effort, rounds=effort.rounds * ROUNDS_FACTOR))
        counted, uncounted = outcomes[on.name], outcomes[off.name]
    note = join_notes(f"{counted.rate:,.0f}/s and {uncounted.rate:,.0f}/s", counted.note, uncounted.note)
    cost = 1 - counted.by(uncounted)
    return [Figure("share of the rate that metrics cost", cost, bound=at_most(0.03), note=note)]
