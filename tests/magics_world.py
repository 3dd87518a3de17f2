"""An IPython shell with the magics, over clusters that live in memory: the real parser, commands and management app.

Only what needs processes is played: a container manager that runs nothing, and the way to the management frontend.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import requests
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
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
from clipper_magic.exceptions import ClusterExistsError, DockerUnavailableError, NoClusterError, ReplicaStartError
from clipper_magic.managers import choice
from serving_image.address import Address
from serving_image.management_frontend import ManagementFrontend, build_app
from serving_image.metrics import Registry
from serving_image.sqlite_store import SQLiteStore
from serving_image.state import ClusterState

Capture = pytest.CaptureFixture[str]


def said(capsys: Capture) -> str:
    """Return what was printed since the last look."""
    return capsys.readouterr().out


class _Confirmed:
    """Query frontends that confirm at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def push(self, revision: int) -> asyncio.Future[list[Address]]:
        future: asyncio.Future[list[Address]] = self._loop.create_future()
        future.set_result([])
        return future


@dataclass
class MemoryCluster:
    """What one cluster consists of."""

    app: Any
    store: SQLiteStore
    replicas: list[Replica] = field(default_factory=list)
    errors: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    built: int = 0
    keep_state: bool = False


@dataclass
class World:
    """The clusters of one test, by name, and the log of a replica that is to die."""

    directory: Path
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    clusters: dict[str, MemoryCluster] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    death: str = ""

    current: ClassVar[World]

    def start(self, name: str, keep_state: bool = False) -> None:
        path = self.directory / f"{name}.db"
        if not keep_state or name not in self.kept:
            self.kept.discard(name)
            for part in self.directory.glob(f"{path.name}*"):
                part.unlink()
        store = SQLiteStore(path)
        app = build_app(
            ManagementFrontend(ClusterState(store), _Confirmed(self.loop), Registry(lambda: 0.0), name, "id")
        )
        self.clusters[name] = MemoryCluster(app, store, keep_state=keep_state)

    def stop(self, name: str) -> MemoryCluster | None:
        cluster = self.clusters.pop(name, None)
        if cluster:
            cluster.store.close()
            self.kept |= {name} if cluster.keep_state else set()
        return cluster

    def answer(self, host: str, path: str, body: bytes) -> requests.Response:
        answered = call(self.clusters[host].app, "POST", path, body)
        response = requests.Response()
        response.status_code = answered.status
        response._content = answered.body
        response.headers.update(answered.headers)
        return response


class LocalContainerManager(ContainerManager):
    """Runs nothing; has the name of the real one, which is the backend's word."""

    def __init__(self, cluster_name: str = "default-cluster", **options: Any) -> None:
        self.cluster_name = cluster_name
        self.options = options
        self.world = World.current

    @property
    def cluster(self) -> MemoryCluster:
        return self.world.clusters[self.cluster_name]

    def start_clipper(self, options: ClusterOptions) -> None:
        if self.cluster_name in self.world.clusters:
            raise ClusterExistsError.of("cluster-exists", cluster=self.cluster_name)
        self.world.start(self.cluster_name, self.options.get("keep_state", False))

    def connect(self) -> None:
        if self.cluster_name not in self.world.clusters:
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
        self.cluster.built += 1
        return f"{self.cluster_name}-{name}:{version}"

    def add_replicas(self, model: ModelSpec, count: int) -> list[Replica]:
        if self.world.death:
            fields = {"replica_id": 0, "model": model.name, "version": model.version, "log": self.world.death}
            raise ReplicaStartError.of("replica-died", exit_code=3, **fields)
        first = sum(r.model_name == model.name and r.model_version == model.version for r in self.cluster.replicas)
        added = [
            Replica(model.name, model.version, i, f"{model.name}-{model.version}-{i}:80")
            for i in range(first, first + count)
        ]
        self.cluster.replicas += added
        return added

    def remove_replicas(self, replicas: Sequence[Replica]) -> None:
        self.cluster.replicas = [replica for replica in self.cluster.replicas if replica not in replicas]

    def list_replicas(self) -> list[ReplicaStatus]:
        return [ReplicaStatus(replica, ReplicaState.READY) for replica in self.cluster.replicas]

    def replica_errors(self, replica: Replica) -> list[dict[str, Any]]:
        return self.cluster.errors.get(replica.replica_id, [])

    def get_logs(self, logging_dir: str) -> list[str]:
        path = Path(logging_dir) / "sum-model_1-0.log"
        path.write_text("first line\nlast line\n")
        return [str(path)]

    def tail_log(self, source: Replica | Role, lines: int = 100) -> str:
        return "first line\nlast line"

    def remove_image(self, image: str) -> None:
        return None

    def stop_all(self, graceful: bool = True) -> StopReport:
        stopped = self.world.stop(self.cluster_name)
        names = ["management", "query-0", *(r.address for r in stopped.replicas)] if stopped else []
        return StopReport(stopped=tuple(names))

    def keeps_state(self) -> bool:
        running = self.world.clusters.get(self.cluster_name)
        return running.keep_state if running else self.cluster_name in self.world.kept

    def get_admin_addr(self) -> str:
        return f"{self.cluster_name}:1338"

    def get_query_addr(self) -> str:
        return f"{self.cluster_name}:1337"

    def get_metric_addr(self) -> str:
        return f"{self.cluster_name}:1337"


def _no_engine(timeout_s: float) -> None:
    raise DockerUnavailableError.of("docker-unavailable", reason="none in tests")


@contextmanager
def memory_world(directory: Path, patch: pytest.MonkeyPatch) -> Iterator[World]:
    """Let the backend "local" mean clusters in memory; no Docker engine, no settings of this machine."""
    World.current = world = World(directory)
    patch.setitem(choice._MANAGERS, "local", (__name__, "LocalContainerManager"))
    patch.setattr("clipper_magic.managers.docker_engine.connect_engine", _no_engine)

    def send(adapter: object, request: requests.PreparedRequest, **options: object) -> requests.Response:
        url = urlsplit(str(request.url))
        return world.answer(url.hostname or "", url.path, bytes(request.body or b""))  # type: ignore[arg-type]

    patch.setattr("requests.adapters.HTTPAdapter.send", send)
    for name in list(os.environ):
        if name.startswith(("CLIPPER_", "LC_", "LANG")) and name != "CLIPPER_TEST_REQUIRE":
            patch.delenv(name)
    patch.setenv("XDG_CONFIG_HOME", str(directory / "config"))
    try:
        yield world
    finally:
        for name in list(world.clusters):
            world.stop(name)
        world.loop.close()


class Shell:
    """An IPython shell in which a failing cell raises, as in a test it should."""

    def __init__(self) -> None:
        InteractiveShell.clear_instance()
        settings = Config()
        settings.HistoryManager.enabled = False
        settings.InteractiveShell.colors = "nocolor"
        self.ip: Any = InteractiveShell.instance(config=settings)
        self.ip.run_line_magic("load_ext", "clipper_magic")

    def run(self, cell: str) -> Any:
        """Run a cell; return its value, raise its error."""
        result = self.ip.run_cell(cell, store_history=True)
        result.raise_error()
        return result.result

    @property
    def session(self) -> Any:
        return self.ip.magics_manager.registry["ClipperMagics"].session

    def close(self) -> None:
        self.ip.run_line_magic("unload_ext", "clipper_magic")
        self.ip.history_manager.save_thread = None
        InteractiveShell.clear_instance()
        # Else each of hundreds of shells stays until the process ends, which then takes minutes.
        atexit.unregister(self.ip.atexit_operations)
