"""How long a person waits: cluster ready, first prediction, second version, cluster stopped, frontend started."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import ContainerManager
from clipper_magic.deployers import python as python_deployer
from clipper_magic.managers.health import read_health
from clipper_magic.managers.waiting import wait_for
from tests.benchmarks.clusters import DEFAULT_OUTPUT, make_manager, running, wait_for_answer
from tests.benchmarks.figures import Bound, Figure, at_most
from tests.benchmarks.measured_server import ServerError, find_free_ports

START, FIRST, SECOND, STOP = (
    "start_clipper, ready",
    "deploy_python_closure to the first prediction",
    "second version to its first prediction",
    "stop_all with 5 replicas",
)
BOUNDS: dict[str, dict[str, Bound]] = {
    "local": {START: at_most(2.0), FIRST: at_most(1.5)},
    "docker": {START: at_most(6.0), FIRST: at_most(3.0), SECOND: at_most(2.0), STOP: at_most(3.0)},
}
FRONTEND_BOUND = at_most(0.5)
APPLICATION, MODEL = "hello-world", "sum-model"
REPLICAS = 5
BODY = '{"input": [1.1, 2.2, 3.3]}'
FRONTEND_TIMEOUT_S = 10.0


def make_model(offset: float) -> Callable[[Any], list[str]]:
    """Return the documents' sum model plus ``offset``; no two pickle alike, so nothing built for one serves another."""
    salt = uuid.uuid4().hex

    def feature_sum(xs: Any) -> list[str]:
        assert salt
        return [str(sum(x) + offset) for x in xs]

    return feature_sum


def live_once(manager: ContainerManager) -> dict[str, float]:
    """Return the seconds of each step in the life of one cluster."""
    seconds: dict[str, float] = {}
    connection = ClipperConnection(manager)
    try:
        with _timing(seconds, START):
            connection.start_clipper()
        url = f"http://{connection.get_query_addr()}/{APPLICATION}/predict"
        connection.register_application(APPLICATION, "doubles", DEFAULT_OUTPUT, 100_000)
        with _timing(seconds, FIRST):
            python_deployer.deploy_python_closure(connection, MODEL, "1", "doubles", make_model(0.0))
            connection.link_model_to_app(APPLICATION, MODEL)
            wait_for_answer(url, BODY, 6.6)
        with _timing(seconds, SECOND):
            python_deployer.deploy_python_closure(connection, MODEL, "2", "doubles", make_model(100.0))
            wait_for_answer(url, BODY, 106.6)
        connection.set_num_replicas(MODEL, REPLICAS)
        with _timing(seconds, STOP):
            connection.stop_all()
    finally:
        connection.stop_all(graceful=False)
        for version in ("1", "2"):
            manager.remove_image(f"{manager.cluster_name}-{MODEL}:{version}")
    return seconds


@contextmanager
def _timing(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Write into ``seconds`` how long the block took."""
    begin_s = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - begin_s


def measure_lifecycle(backend: str, runs: int) -> list[Figure]:
    """Return the medians of the steps of ``runs`` clusters.

    On Docker one cluster is started before, so that the serving image is built: that is waited for once in a life.
    """
    if backend == "docker":
        with running("image", backend):
            pass
    lives = [live_once(make_manager(backend, "life")) for _ in range(runs)]
    note = f"median of {runs}"
    return [
        Figure(name, statistics.median(life[name] for life in lives), "s", BOUNDS[backend].get(name), note)
        for name in (START, FIRST, SECOND, STOP)
    ]


def measure_frontend_start(runs: int) -> list[Figure]:
    """Return how long the query frontend takes from its start as a process to its first 200."""
    seconds = statistics.median(_start_frontend() for _ in range(runs))
    return [Figure("query frontend, cold start to its first 200", seconds, "s", FRONTEND_BOUND, f"median of {runs}")]


def _start_frontend() -> float:
    (port,) = find_free_ports(1)
    with tempfile.TemporaryDirectory() as directory:
        state = f"sqlite:{Path(directory) / 'state.db'}"
        words = ["--listen", f"127.0.0.1:{port}", "--state", state, "--cluster", "bench", "--cluster-id", "bench"]
        begin_s = time.perf_counter()
        process = _spawn([sys.executable, "-m", "serving_image.query_frontend", *words])
        try:
            _wait_for_health(port, process)
            return time.perf_counter() - begin_s
        finally:
            process.terminate()
            process.wait(FRONTEND_TIMEOUT_S)


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for_health(port: int, process: subprocess.Popen[bytes]) -> None:
    address = f"127.0.0.1:{port}"
    answer = wait_for(lambda: read_health(address) or process.poll() is not None, FRONTEND_TIMEOUT_S, every_s=0.002)
    if not isinstance(answer, dict):
        raise ServerError("The query frontend did not become healthy.")
