"""What the metrics cost the predict path: the same cluster with every counter and histogram taken out of it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import machine
from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, Cluster, running
from tests.benchmarks.comparison import Effort, join_notes
from tests.benchmarks.experiments.models import make_sum
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.workloads import make_query

TITLE = "Metrics (w1, c=64)"
CONNECTIONS = 64
PAIRS_FACTOR = 3  # a cost of three in a hundred needs more of them than a gain of twenty times
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


@dataclass(frozen=True)
class Slice:
    """A second of load: what a prediction took of the cluster's processes, and the rate."""

    cpu_s: float
    rate: float
    failures: int


def measure(effort: Effort) -> list[Figure]:
    """Return the shares of a prediction's CPU time and of the rate that the metrics cost.

    What is looked for is smaller than what the machine's speed varies by from second to second. So the two clusters
    take turns each second, neighbours are compared, and the median of those comparisons counts. Which of the two is
    first changes from pair to pair.
    """
    pairs = effort.seconds * effort.rounds * PAIRS_FACTOR
    with running("metrics") as on, running_without_metrics() as off:
        urls = {cluster: cluster.serve("sum", make_sum()) for cluster in (on, off)}
        slices: dict[Cluster, list[Slice]] = {on: [], off: []}
        for cluster, url in urls.items():
            measure_slice(cluster, url)
        machine.wait_until_quiet(effort.patience_s)
        for number in range(pairs):
            for cluster in (on, off) if number % 2 else (off, on):
                slices[cluster].append(measure_slice(cluster, urls[cluster]))
    compared = list(zip(slices[on], slices[off], strict=True))
    failures = sum(with_.failures + without.failures for with_, without in compared)
    note = join_notes(f"median of {pairs} pairs", f"{failures} queries without a right answer" if failures else "")
    cpu = statistics.median(1 - without.cpu_s / with_.cpu_s for with_, without in compared)
    rate = statistics.median(1 - with_.rate / without.rate for with_, without in compared)
    return [
        Figure("share of a prediction's CPU time that metrics cost", cpu, bound=at_most(0.03), note=note),
        Figure("share of the rate that metrics cost", rate, bound=at_most(0.03), note=note),
    ]


def measure_slice(cluster: Cluster, url: str) -> Slice:
    """Load one application for a second."""
    before_s = cluster.measure_cpu_s()
    loop = run_closed_loop(url, make_query("plain", "w1"), CONNECTIONS, 1, bad=BAD)
    return Slice((cluster.measure_cpu_s() - before_s) / loop.requests, loop.rate, loop.failures)
