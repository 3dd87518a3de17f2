"""What the metrics cost the predict path: a cluster with every counter and histogram switched off and on by turns."""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tests.benchmarks import machine
from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, Cluster, running
from tests.benchmarks.comparison import Effort, join_notes
from tests.benchmarks.experiments.models import make_sum
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.measured_server import post
from tests.benchmarks.workloads import MARK, make_query

TITLE = "Metrics (w1, c=64)"
CONNECTIONS = 64
COUNTER = "app:sum:num_predictions"
PAIRS_FACTOR = 8  # of a cost of three in a hundred, in seconds that differ by five
ON_THE_PATH = Path(__file__).with_name("switchable_metrics")


@contextmanager
def running_switchable() -> Iterator[Cluster]:
    """Run a cluster whose processes find `switchable_metrics` first on their path."""
    path = os.pathsep.join(filter(None, [str(ON_THE_PATH), os.environ.get("PYTHONPATH")]))
    with patch.dict(os.environ, PYTHONPATH=path), running("metrics") as cluster:
        yield cluster


@dataclass(frozen=True)
class Slice:
    """A second of load: what a prediction took of the cluster's processes, and the rate."""

    cpu_s: float
    rate: float
    failures: int


def measure(effort: Effort) -> list[Figure]:
    """Return the shares of a prediction's CPU time and of the rate that the metrics cost.

    What is looked for is smaller than what the machine's speed varies by from second to second. So the metrics are on
    and off by turns, neighbours are compared, and the median of those comparisons counts. Which of the two is first
    changes from pair to pair.

    Raises
    ------
    RuntimeError
        If the counters do not tell the two apart.
    """
    pairs = effort.seconds * effort.rounds * PAIRS_FACTOR
    with running_switchable() as cluster:
        url = cluster.serve("sum", make_sum())
        measure_slice(cluster, url)
        check_switch(cluster, url)
        machine.wait_until_quiet(effort.patience_s)
        slices: dict[bool, list[Slice]] = {True: [], False: []}
        for number in range(pairs):
            for is_on in (True, False) if number % 2 else (False, True):
                cluster.signal(signal.SIGUSR2 if is_on else signal.SIGUSR1)
                slices[is_on].append(measure_slice(cluster, url))
    compared = list(zip(slices[True], slices[False], strict=True))
    failures = sum(on.failures + off.failures for on, off in compared)
    note = join_notes(f"median of {pairs} pairs", f"{failures} queries without a right answer" if failures else "")
    cpu = statistics.median(1 - off.cpu_s / on.cpu_s for on, off in compared)
    rate = statistics.median(1 - on.rate / off.rate for on, off in compared)
    return [
        Figure("share of a prediction's CPU time that metrics cost", cpu, bound=at_most(0.03), note=note),
        Figure("share of the rate that metrics cost", rate, bound=at_most(0.03), note=note),
    ]


def check_switch(cluster: Cluster, url: str) -> None:
    """Raise RuntimeError unless the switch does what it says."""
    counted = []
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        cluster.signal(number)
        before = cluster.read_metrics()[COUNTER]
        post(url, make_query("plain", "w1").body.replace(MARK, f"{number:09d}"))
        counted.append(cluster.read_metrics()[COUNTER] - before)
    if counted != [0, 1]:
        raise RuntimeError(f"the metrics do not go off and on: {counted} counted")


def measure_slice(cluster: Cluster, url: str) -> Slice:
    """Load one application for a second."""
    before_s = cluster.measure_cpu_s()
    loop = run_closed_loop(url, make_query("plain", "w1"), CONNECTIONS, 1, bad=BAD)
    return Slice((cluster.measure_cpu_s() - before_s) / loop.requests, loop.rate, loop.failures)
