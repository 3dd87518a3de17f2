"""Predictions a second through Docker's published port, beside those of local processes."""

from __future__ import annotations

from functools import partial

from tests.benchmarks import process_tree
from tests.benchmarks.closed_loop import run_closed_loop
from tests.benchmarks.clusters import BAD, require_docker, running
from tests.benchmarks.comparison import Effort, compare, join_notes
from tests.benchmarks.experiments.models import make_sum
from tests.benchmarks.figures import Figure, at_least
from tests.benchmarks.workloads import make_query

TITLE = "Docker beside local processes (w1, c=64)"
CONNECTIONS = 64
SHARE = 0.8
PROXY = "docker-proxy"


def measure(effort: Effort) -> list[Figure]:
    """Return the rate on Docker by that on the local backend.

    The bound is for an engine without its userland proxy (``--userland-proxy=false``); the note says what ran.
    """
    require_docker()
    query = make_query("plain", "w1")
    with running("local") as local, running("docker", "docker") as containers:
        arrangements = {
            cluster.name: partial(run_closed_loop, cluster.serve("sum", make_sum()), query, CONNECTIONS, bad=BAD)
            for cluster in (local, containers)
        }
        proxied = bool(process_tree.find_mentions(PROXY))
        outcomes = compare(arrangements, effort)
        here, there = outcomes[local.name], outcomes[containers.name]
    engine = "with the userland proxy" if proxied else "without the userland proxy"
    note = join_notes(engine, f"{here.rate:,.0f}/s and {there.rate:,.0f}/s", here.note, there.note)
    bound = None if proxied else at_least(SHARE)
    return [Figure("rate, Docker by local", there.by(here), bound=bound, note=note)]
