"""A thousand applications and two hundred models cost the predict path next to nothing."""

from __future__ import annotations

import statistics
import time
from functools import partial

from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, DEFAULT_OUTPUT, Cluster, running
from tests.benchmarks.comparison import Effort, compare, join_notes
from tests.benchmarks.experiments.models import make_sum
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.workloads import make_query

TITLE = "Growth (1,000 applications, 200 models)"
APPLICATIONS = 1000
MODELS = 200
CONNECTIONS = 64
SAMPLE = 10  # the first and the last so many registrations are compared


def measure(effort: Effort) -> list[Figure]:
    """Return the rate of a full cluster by that of an empty one, and the time of a late registration by an early."""
    query = make_query("plain", "w1")
    with running("empty") as empty, running("full") as full:
        seconds = register_many(full)
        arrangements = {
            cluster.name: partial(run_closed_loop, cluster.serve("sum", make_sum()), query, CONNECTIONS, bad=BAD)
            for cluster in (empty, full)
        }
        outcomes = compare(arrangements, effort)
        small, large = outcomes[empty.name], outcomes[full.name]
    first_s, last_s = statistics.median(seconds[:SAMPLE]), statistics.median(seconds[-SAMPLE:])
    rates = join_notes(f"{small.rate:,.0f}/s and {large.rate:,.0f}/s", small.note, large.note)
    times = f"{first_s * 1e3:.1f} ms and {last_s * 1e3:.1f} ms, medians of {SAMPLE}"
    return [
        Figure("rate, full by empty", large.by(small), bound=at_least(0.95), note=rates),
        Figure("registering the 1,000th application, by the first", last_s / first_s, bound=at_most(2.0), note=times),
    ]


def register_many(cluster: Cluster) -> list[float]:
    """Register the models, then the applications; return the seconds of each application."""
    for number in range(MODELS):
        cluster.connection.register_model(f"model-{number}", "1", "doubles")
    seconds = []
    for number in range(APPLICATIONS):
        begin_s = time.perf_counter()
        cluster.connection.register_application(f"application-{number}", "doubles", DEFAULT_OUTPUT, 100_000)
        seconds.append(time.perf_counter() - begin_s)
    return seconds
