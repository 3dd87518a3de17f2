"""A container manager that starts nothing, and the management frontend without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bottle
import requests
from wsgi_client import call

from clipper_magic.container_manager import (
    ClusterOptions,
    ContainerManager,
    ModelSpec,
    Replica,
    ReplicaState,
    ReplicaStatus,
    Role,
    StopReport,
)
from clipper_magic.exceptions import ClusterExistsError, NoClusterError
from serving_image.address import Address
from serving_image.management_frontend import ManagementFrontend, build_app
from serving_image.metrics import Registry
from serving_image.sqlite_store import SQLiteStore
from serving_image.state import ClusterState

ADMIN = "127.0.0.1:1"


class FakeManager(ContainerManager):
    """Remembers what it was asked to do, in order, in ``calls``."""

    def __init__(self, cluster_name: str = "test-cluster") -> None:
        self.cluster_name = cluster_name
        self.calls: list[str] = []
        self.replicas: list[Replica] = []
        self.runs = False
        self._last_id = -1
        self.on_add: Callable[[], None] = lambda: None

    def start_clipper(self, options: ClusterOptions) -> None:
        self.calls.append(f"start {options.num_frontend_replicas} {options.cache_size_bytes}")
        if self.runs:
            raise ClusterExistsError.of("cluster-exists", cluster=self.cluster_name)
        self.runs = True

    def connect(self) -> None:
        if not self.runs:
            raise NoClusterError.of("no-cluster", cluster=self.cluster_name)

    def build_image(
        self,
        name: str,
        version: str,
        model_data_path: str,
        base_image: str,
        container_registry: str | None = None,
        pkgs_to_install: Sequence[str] | None = None,
    ) -> str:
        self.calls.append(f"build {name}:{version} {base_image} {container_registry} {pkgs_to_install}")
        return f"image-{name}:{version}"

    def add_replicas(self, model: ModelSpec, count: int) -> list[Replica]:
        self.calls.append(f"add {count} {model.name}:{model.version} {model.input_type} {model.image}")
        self.on_add()
        added = [Replica(model.name, model.version, i, f"unix:/{i}.sock") for i in self._next_ids(count)]
        self.replicas += added
        return added

    def _next_ids(self, count: int) -> range:
        first = max((replica.replica_id for replica in self.replicas), default=self._last_id) + 1
        self._last_id = first + count - 1
        return range(first, first + count)

    def remove_replicas(self, replicas: Sequence[Replica]) -> None:
        self.calls.append(f"remove {[replica.replica_id for replica in replicas]}")
        self.replicas = [replica for replica in self.replicas if replica not in replicas]

    def list_replicas(self) -> list[ReplicaStatus]:
        return [ReplicaStatus(replica, ReplicaState.READY) for replica in self.replicas]

    def get_logs(self, logging_dir: str) -> list[str]:
        return [str(Path(logging_dir) / "one.log")]

    def tail_log(self, source: Replica | Role, lines: int = 100) -> str:
        return ""

    def remove_image(self, image: str) -> None:
        self.calls.append(f"remove image {image}")

    def stop_all(self, graceful: bool = True) -> StopReport:
        self.calls.append(f"stop {graceful}")
        self.runs = False
        return StopReport()

    def get_admin_addr(self) -> str:
        return ADMIN

    def get_query_addr(self) -> str:
        return "127.0.0.1:2"

    def get_metric_addr(self) -> str:
        return "127.0.0.1:3"


class InstantSync:
    """Query frontends that confirm at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def push(self, revision: int) -> asyncio.Future[list[Address]]:
        future: asyncio.Future[list[Address]] = self._loop.create_future()
        future.set_result([])
        return future


def management_app(directory: Path, loop: asyncio.AbstractEventLoop) -> tuple[bottle.Bottle, SQLiteStore]:
    """Return a management frontend over a new store; close the store."""
    store = SQLiteStore(directory / "state.db")
    registry = Registry(lambda: 0.0)
    frontend = ManagementFrontend(ClusterState(store), InstantSync(loop), registry, "test-cluster", "id-1")
    return build_app(frontend), store


def as_response(status: int, headers: dict[str, str], body: bytes) -> requests.Response:
    """Return an answer as ``requests`` has it."""
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    response._content = body
    return response


def post_through(app: bottle.Bottle) -> Callable[..., requests.Response]:
    """Return a ``Session.post`` that calls ``app``."""

    def post(_: requests.Session, url: str, json: Any, **__: Any) -> requests.Response:
        body = requests.compat.json.dumps(json).encode()
        answer = call(app, "POST", url.removeprefix(f"http://{ADMIN}"), body)
        return as_response(answer.status, answer.headers, answer.body)

    return post
