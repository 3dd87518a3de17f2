"""How long after its SLO a default answer leaves, while ten thousand queries wait for a model that does not answer."""

from __future__ import annotations

import json
import resource
from dataclasses import replace

from tests.benchmarks.clusters import BAD, LeftOutError, running
from tests.benchmarks.comparison import Effort
from tests.benchmarks.experiments.models import make_silent
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.machine import core_apart
from tests.benchmarks.open_loop import OpenLoad, run_open_loop
from tests.benchmarks.workloads import MARK

TITLE = "Default answers (10,000 queries/s, SLO 1 s: 10,000 outstanding)"
RATE = 10_000
SLO_S = 1.0
SHAPES = {"one query a request": 1, "ten queries a request": 10}
SPARE = 1.1  # connections beyond those that are in use on the average
SILENCE_S = 60.0
LATE_MS = 2.0


def measure(effort: Effort) -> list[Figure]:
    """Return the lateness of the default answers, seen by the client, counted from when a query left it.

    With one query a request the client is as busy as the frontend, so each has a core of its own, if there are two.
    """
    allow_open_files(int(SPARE * RATE * SLO_S) + 500)
    figures = []
    for shape, size in SHAPES.items():
        with core_apart() as core, running("lateness") as cluster:
            url = cluster.serve("silent", make_silent(SILENCE_S), slo_s=SLO_S)
            figures += [replace(figure, name=f"{shape}: {figure.name}") for figure in judge(url, size, effort, core)]
    return figures


def judge(url: str, size: int, effort: Effort, core: int | None) -> list[Figure]:
    """Return the figures for requests of ``size`` queries each."""
    rate = RATE / size
    connections = int(SPARE * rate * SLO_S)
    load = OpenLoad(
        url,
        make_request(size),
        rate,
        1.0 + effort.seconds,
        connections,
        BAD,
        open_first=True,
        patience_s=SLO_S,
        core=core,
    )
    loop = run_open_loop(load)
    late_ms = [(latency_ms or 0.0) - SLO_S * 1e3 for latency_ms in (loop.p50_from_send_ms, loop.p99_from_send_ms)]
    others = loop.good + loop.refused + loop.errors
    note = f"{loop.default} default, {loop.good} right, {loop.refused} refused, {loop.errors} errors"
    return [
        Figure("p50 of the lateness", late_ms[0], "ms"),
        Figure("p99 of the lateness", late_ms[1], "ms", at_most(LATE_MS)),
        Figure("most queries outstanding", size * loop.most_outstanding, bound=at_least(0.9 * RATE * SLO_S)),
        Figure("requests that got something else", others, bound=at_most(0), note=note),
    ]


def make_request(size: int) -> str:
    """Return a body with ``size`` different queries; `MARK` makes those of each request new."""
    rows = [[123456.5, float(number)] for number in range(size)]
    body = {"input": rows[0]} if size == 1 else {"input_batch": rows}
    return json.dumps(body).replace("123456.5", f"12.{MARK}")


def allow_open_files(count: int) -> None:
    """Let this process and those that it starts open so many files.

    Raises
    ------
    LeftOutError
        If the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise LeftOutError(f"a process may open {hard} files here, {count} are needed (ulimit -n)")
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
