"""Clusters of ours for the life cycle and the experiments: started, fed with models, and stopped whatever happens."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.container_manager import ContainerManager
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import DockerUnavailableError
from tests.benchmarks import process_tree
from tests.benchmarks.measured_server import ServerError, post
from tests.benchmarks.workloads import parse_answer

BAD = '"default":true'
"""What marks a default answer of ours."""

DEFAULT_OUTPUT = "-1.0"
VERSION = "1"
ANSWER_TIMEOUT_S = 10.0


class LeftOutError(RuntimeError):
    """This machine cannot do this measurement; the message says why."""


def make_manager(backend: str, noun: str) -> ContainerManager:
    """Return the manager of a new cluster: backend "local" or "docker".

    Raises
    ------
    LeftOutError
        If no Docker engine answers.
    """
    name = f"bench-{noun}-{os.getpid()}-{uuid4().hex[:6]}"
    logging.getLogger("clipper_magic").setLevel(logging.WARNING)
    if backend == "local":
        return LocalContainerManager(name)
    require_docker()
    from clipper_magic import DockerContainerManager

    docker_manager: ContainerManager = DockerContainerManager(name)
    return docker_manager


def require_docker() -> None:
    """Return if a Docker engine answers.

    Raises
    ------
    LeftOutError
        If none does.
    """
    from clipper_magic.managers.docker_engine import connect_engine

    try:
        connect_engine(timeout_s=5).close()
    except DockerUnavailableError as err:
        raise LeftOutError(str(err)) from None


class Cluster:
    """A running cluster, with the few verbs that a benchmark needs."""

    def __init__(self, connection: ClipperConnection) -> None:
        self.connection = connection
        self._served: list[str] = []

    @property
    def name(self) -> str:
        """Return the cluster's name."""
        return self.connection.cm.cluster_name

    def url(self, application: str) -> str:
        """Return where an application takes queries."""
        return f"http://{self.connection.get_query_addr()}/{application}/predict"

    def serve(
        self,
        name: str,
        model: Callable[[Any], Any],
        *,
        slo_s: float = 1.0,
        replicas: int = 1,
        batch_size: int = 64,
    ) -> str:
        """Deploy ``model`` behind an application of the same name; return where that takes queries.

        Parameters
        ----------
        model : callable
            Takes doubles.
        slo_s : float, seconds
            The application's latency objective.
        batch_size : int
            The largest batch; -1: adaptive.
        """
        self._served.append(name)
        self.connection.register_application(name, "doubles", DEFAULT_OUTPUT, int(slo_s * 1e6))
        python_deployer.deploy_python_closure(
            self.connection, name, VERSION, "doubles", model, num_replicas=replicas, batch_size=batch_size
        )
        self.connection.link_model_to_app(name, name)
        return self.url(name)

    def stop(self) -> None:
        """Stop it, and delete the images of what it has served: they outlive a cluster in containers."""
        self.connection.stop_all(graceful=False)
        for name in self._served:
            self.connection.cm.remove_image(f"{self.name}-{name}:{VERSION}")

    def read_metrics(self) -> dict[str, float]:
        """Return the query frontend's counters and ratios by name."""
        with urllib.request.urlopen(f"http://{self.connection.get_query_addr()}/metrics", timeout=10) as answer:
            found = json.load(answer)
        leaves = [(name, leaf) for entry in found["counters"] + found["ratio_counters"] for name, leaf in entry.items()]
        return {name: float(value) for name, leaf in leaves for value in leaf.values()}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each of its processes; local backend only."""
        for pid in process_tree.find_mentions(self.name):
            os.kill(pid, number)

    def measure_memory(self) -> process_tree.Memory:
        """Return the memory of its processes; local backend only."""
        return process_tree.measure_memory(process_tree.find_mentions(self.name))

    def measure_cpu_s(self) -> float:
        """Return the CPU seconds that its processes have used; local backend only."""
        return process_tree.measure_cpu_s(process_tree.find_mentions(self.name))


@contextmanager
def running(noun: str, backend: str = "local", **options: Any) -> Iterator[Cluster]:
    """Run a cluster of its own for an experiment; ``options`` are those of ``ClipperConnection.start_clipper``."""
    cluster = Cluster(ClipperConnection(make_manager(backend, noun)))
    try:
        cluster.connection.start_clipper(**options)
        yield cluster
    finally:
        cluster.stop()


def wait_for_answer(url: str, body: str, wanted: float) -> None:
    """Return when the answer to ``body`` is ``wanted``: at once, if what the cluster has promised is true.

    Raises
    ------
    ServerError
        If it does not become so.
    """
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    text = ""
    while time.monotonic() < deadline_s:
        status, text = post(url, body)
        if status == 200 and BAD not in text and abs(parse_answer(text) - wanted) < 1e-6:
            return
    raise ServerError(f"{url} answers {text[:200]}; wanted {wanted}")
