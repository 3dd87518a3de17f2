"""A query frontend in the test's process: a real store, real routes, replicas that answer at once."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bottle
import pytest
from wsgi_client import Response, call

from serving_image.address import Address
from serving_image.entities import ModelVersion, Replica
from serving_image.protocol import decode_batch, encode_answer, output_fragment
from serving_image.query_frontend import QueryFrontend, build_app
from serving_image.replica_client import ReplicaOwner
from serving_image.state import ClusterState
from serving_image.store import open_store

LONG_SLO_MICROS = 60_000_000
SHORT_SLO_MICROS = 20_000


class InstantReplica:
    """Sums its doubles in no time; silent while ``Cluster.is_silent``."""

    def __init__(self, cluster: Cluster, version: ModelVersion, owner: ReplicaOwner) -> None:
        self.cluster, self.version, self.owner = cluster, version, owner
        self.batches: list[list[Any]] = []
        cluster.loop.call_soon(owner.replica_ready)

    def send(self, body: bytes) -> None:
        self.batches.append(decode_batch(body))
        if not self.cluster.is_silent:
            self.cluster.loop.call_soon(self.answer)

    def answer(self) -> None:
        outputs: list[bytes | None] = []
        errors: dict[int, tuple[str, str]] = {}
        for i, wire in enumerate(self.batches[-1]):
            try:
                outputs.append(output_fragment(self.cluster.models[self.version.model_version](wire)))
            except Exception as error:
                outputs.append(None)
                errors[i] = (type(error).__name__, str(error))
        self.owner.replica_answered(200, encode_answer(outputs, errors))

    def close(self) -> None:
        pass


def total(wire: bytes) -> float:
    return sum(struct.unpack(f"<{len(wire) // 8}d", wire))


class Cluster:
    """A query frontend, and the state that a management frontend would write."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.url = url = f"sqlite:{folder}/state.db"
        self.loop = asyncio.new_event_loop()
        self.state = ClusterState(open_store(url))
        self.models: dict[str, Callable[[bytes], object]] = {"1": total, "2": lambda wire: -total(wire)}
        self.replicas: list[InstantReplica] = []
        self.is_silent = False
        self.frontend = QueryFrontend(open_store(url), "c", "id-1", connect=self._connect, **options)
        self.app: bottle.Bottle = build_app(self.frontend)

    def _connect(self, address: Address, version: ModelVersion, owner: ReplicaOwner) -> InstantReplica:
        self.replicas.append(InstantReplica(self, version, owner))
        return self.replicas[-1]

    def start(self) -> Cluster:
        self.loop.run_until_complete(self.frontend.start())
        return self

    def close(self) -> None:
        self.loop.run_until_complete(self.frontend.stop())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.state.store.close()

    # ---- what a management frontend does

    def register(self, name: str, slo_micros: int = LONG_SLO_MICROS, input_type: str = "doubles") -> None:
        self.state.add_application(name, input_type, "-1.0", slo_micros)

    def deploy(self, version: str = "1", replicas: int = 1, name: str = "m", input_type: str = "doubles") -> None:
        where = [Replica(i, f"unix:/{name}-{version}-{i}") for i in range(replicas)]
        self.state.add_model(name, version, input_type, (), "image", "/", replicas=where)

    def link(self, app: str, model: str = "m") -> None:
        self.state.add_model_links(app, [model])

    def sync(self) -> None:
        answer = call(self.app, "POST", "/-/sync", b'{"revision": %d}' % self.state.revision)
        assert (answer.status, answer.json) == (200, {"revision": self.state.revision})

    # ---- what a client does

    def predict(self, document: object, app: str = "a") -> Response:
        return call(self.app, "POST", f"/{app}/predict", json.dumps(document).encode())

    def counter(self, name: str) -> int:
        counters = call(self.app, "GET", "/metrics").json["counters"]
        return int(next(found[name]["count"] for found in counters if name in found))


NewCluster = Callable[..., Cluster]


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[NewCluster]:
    made: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Cluster(folder, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(new_cluster: NewCluster) -> Cluster:
    """Return a cluster with application ``a``, linked to version 1 of model ``m``."""
    cluster = new_cluster()
    cluster.register("a")
    cluster.deploy()
    cluster.link("a")
    return cluster.start()


def expect_default(answer: Response, explanation: str) -> None:
    assert answer.status == 200
    assert list(answer.json) == ["query_id", "output", "default", "default_explanation"]
    found = answer.json
    assert (found["output"], found["default"], found["default_explanation"]) == (-1.0, True, explanation)
