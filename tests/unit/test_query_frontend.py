"""The query frontend's application: a real store, real routes, replicas that answer within the process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bottle
import pytest
from wsgi_client import Response, call

from serving_image.address import Address
from serving_image.entities import ModelVersion, Replica
from serving_image.protocol import NO_CONNECTED_MODELS, SLO_MISSED, decode_batch, encode_answer, output_fragment
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


# ---- answers


def test_a_prediction_is_clippers_to_the_byte(cluster: Cluster) -> None:
    answer = cluster.predict({"input": [1.1, 2.2, 3.3]})
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == b'{"query_id":0,"output":6.6,"default":false}'


def test_a_trailing_slash_changes_nothing(cluster: Cluster) -> None:
    assert call(cluster.app, "POST", "/a/predict/", b'{"input": [1]}').json["output"] == 1.0


def test_a_batch_is_answered_in_its_order_and_a_batch_of_one_alone(cluster: Cluster) -> None:
    answer = cluster.predict({"input_batch": [[1], [2, 2], [1], []]})
    predictions = answer.json["batch_predictions"]
    assert [prediction["output"] for prediction in predictions] == [1.0, 4.0, 1.0, 0]
    assert [prediction["query_id"] for prediction in predictions] == [0, 1, 2, 3]
    assert cluster.predict({"input_batch": [[7]]}).body == b'{"query_id":4,"output":7.0,"default":false}'
    assert cluster.predict({"input_batch": []}).body == b'{"batch_predictions":[]}'


def test_any_registered_version_may_be_asked(cluster: Cluster) -> None:
    cluster.deploy("2")
    cluster.sync()
    assert cluster.predict({"input": [5]}).json["output"] == -5.0
    assert cluster.predict({"input": [5], "version": "1"}).json["output"] == 5.0
    refused = cluster.predict({"input": [5], "version": "3"})
    cause = "Requested version: 3 does not exist for model: m"
    assert (refused.status, refused.json) == (400, {"error": "Query processing error", "cause": cause})


def test_feedback_is_received(cluster: Cluster) -> None:
    for slash in ("", "/"):
        answer = call(cluster.app, "POST", f"/a/update{slash}", b'{"uid": 0, "input": [1.0], "label": 1.0}')
        assert (answer.status, answer.body) == (200, b"Feedback received? 1")
    assert call(cluster.app, "POST", "/a/update", b'{"uid": 4, "input": [], "label": 1.0}').body.endswith(b"0")
    assert call(cluster.app, "POST", "/a/update", b"{}").status == 400
    assert cluster.predict({"input": [1]}).json["query_id"] == 3  # one counter for all of them


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "/nobody/predict", 404, "Not found"),
        ("POST", "/nobody/update", 404, "Not found"),
        ("GET", "/a/predict", 405, "Method not allowed"),
        ("DELETE", "/a/predict/", 405, "Method not allowed"),
        ("POST", "/health", 405, "Method not allowed"),
        ("GET", "/", 404, "Not found"),
        ("POST", "/a/b/predict", 404, "Not found"),
    ],
)
def test_other_paths_and_methods_are_told_so_in_json(
    cluster: Cluster, method: str, path: str, status: int, error: str
) -> None:
    answer = call(cluster.app, method, path, b'{"input": [1]}')
    assert (answer.status, answer.json["error"], answer.headers["content-type"]) == (status, error, "application/json")
    assert answer.json["cause"]


def test_a_bad_input_is_refused(cluster: Cluster) -> None:
    answer = call(cluster.app, "POST", "/a/predict", b'{"input": [[1]]}')
    assert (answer.status, answer.json["error"]) == (400, "Json error")
    assert "Array input of type Array is not of type double" in answer.json["cause"]


def test_health_and_metrics_answer(cluster: Cluster) -> None:
    cluster.predict({"input": [1]})
    health = call(cluster.app, "GET", "/health").json
    assert health == {
        "status": "ok", "role": "query_frontend", "cluster": "c", "cluster_id": "id-1",
        "revision": cluster.state.revision, "protocol": 1,
    }  # fmt: skip
    found = call(cluster.app, "GET", "/metrics").json
    names = {name for kind in found.values() for entry in kind for name in entry}
    assert names >= {
        "internal:prediction_cache_lookups", "internal:aggregate_num_predictions", "app:a:num_predictions",
        "model:m:1:num_predictions", "internal:prediction_cache_hit_ratio", "app:a:default_prediction_ratio",
        "model:m:1:cache_hit_ratio", "internal:aggregate_model_throughput", "app:a:prediction_throughput",
        "model:m:1:prediction_throughput", "internal:rpc_request_queueing_delay", "app:a:prediction_latency",
        "model:m:1:prediction_latency", "model:m:1:batch_size",
    }  # fmt: skip
    text = call(cluster.app, "GET", "/metrics", accept="text/plain")
    assert text.headers["content-type"].startswith("text/plain")
    assert b'clipper_app_num_predictions_total{app="a"} 1.0' in text.body


# ---- default answers


def expect_default(answer: Response, explanation: str) -> None:
    assert answer.status == 200
    assert list(answer.json) == ["query_id", "output", "default", "default_explanation"]
    found = answer.json
    assert (found["output"], found["default"], found["default_explanation"]) == (-1.0, True, explanation)


def test_without_a_model_without_a_replica_and_without_an_answer_the_default_is_given(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.register("a", SHORT_SLO_MICROS)
    cluster.start()
    expect_default(cluster.predict({"input": [1]}), NO_CONNECTED_MODELS)
    expect_default(cluster.predict({"input": [1], "version": "1"}), NO_CONNECTED_MODELS)
    cluster.deploy(replicas=0)
    cluster.link("a")
    cluster.sync()
    expect_default(cluster.predict({"input": [1]}), NO_CONNECTED_MODELS)
    cluster.state.set_replicas("m", "1", [Replica(0, "unix:/r")])
    cluster.sync()
    cluster.is_silent = True
    expect_default(cluster.predict({"input": [1]}), SLO_MISSED)
    assert cluster.counter("app:a:num_defaults") == 4
    assert cluster.counter("app:a:no_replicas:num_defaults_by_reason") == 3
    assert cluster.counter("app:a:deadline:num_defaults_by_reason") == 1


def test_an_exception_of_the_model_is_explained_and_costs_only_its_input(cluster: Cluster) -> None:
    def picky(wire: bytes) -> float:
        if not wire:
            raise TypeError("nothing to add")
        return total(wire)

    cluster.models["1"] = picky
    predictions = cluster.predict({"input_batch": [[1], [], [2]]}).json["batch_predictions"]
    assert [prediction["output"] for prediction in predictions] == [1.0, -1.0, 2.0]
    assert predictions[1]["default_explanation"] == "Model m:1 raised TypeError: nothing to add"
    assert cluster.counter("app:a:model_error:num_defaults_by_reason") == 1
    cluster.models["1"] = total
    assert cluster.predict({"input": []}).json["default"] is False  # an error is not kept in the cache


def test_a_late_answer_serves_the_next_one_who_asks(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.register("a", SHORT_SLO_MICROS)
    cluster.deploy()
    cluster.link("a")
    cluster.start()
    cluster.is_silent = True
    expect_default(cluster.predict({"input": [8]}), SLO_MISSED)
    cluster.replicas[0].answer()
    assert cluster.predict({"input": [8]}).json["output"] == 8.0


# ---- cache


def test_a_repeated_query_costs_no_replica_time(cluster: Cluster) -> None:
    for query_id in range(3):
        assert cluster.predict({"input": [1]}).json == {"query_id": query_id, "output": 1.0, "default": False}
    assert len(cluster.replicas[0].batches) == 1
    assert cluster.counter("internal:prediction_cache_lookups") == 3
    assert cluster.counter("internal:prediction_cache_hits") == 2


def test_equal_queries_in_flight_are_asked_once(cluster: Cluster) -> None:
    predictions = cluster.predict({"input_batch": [[1]] * 5}).json["batch_predictions"]
    assert [prediction["output"] for prediction in predictions] == [1.0] * 5
    assert [len(batch) for batch in cluster.replicas[0].batches] == [1]


@pytest.mark.parametrize("cache_bytes", [0, 1])
def test_without_a_cache_every_query_goes_to_a_replica(new_cluster: NewCluster, cache_bytes: int) -> None:
    cluster = new_cluster(cache_bytes=cache_bytes)
    cluster.register("a")
    cluster.deploy()
    cluster.link("a")
    cluster.start()
    cluster.predict({"input_batch": [[1]] * 5})
    cluster.predict({"input": [1]})
    assert sum(len(batch) for batch in cluster.replicas[0].batches) == 6


def test_a_version_deployed_again_never_answers_with_what_its_predecessor_computed(cluster: Cluster) -> None:
    assert cluster.predict({"input": [1]}).json["output"] == 1.0
    cluster.state.delete_versioned_model("m", "1")
    cluster.models["1"] = lambda wire: "another"
    cluster.deploy()
    cluster.link("a")
    cluster.sync()
    assert cluster.predict({"input": [1]}).json["output"] == "another"


def test_the_cache_does_not_answer_for_a_model_without_replicas(cluster: Cluster) -> None:
    cluster.predict({"input": [1]})
    cluster.state.set_replicas("m", "1", [])
    cluster.sync()
    expect_default(cluster.predict({"input": [1]}), NO_CONNECTED_MODELS)


# ---- limits


def test_beyond_the_limit_a_request_is_refused_and_told_when_to_come_back(new_cluster: NewCluster) -> None:
    cluster = new_cluster(max_outstanding=3)
    cluster.register("a")
    cluster.deploy()
    cluster.link("a")
    cluster.start()
    for _ in range(2):
        refused = cluster.predict({"input_batch": [[1], [2], [3], [4]]})
        assert (refused.status, refused.json["error"], refused.headers["retry-after"]) == (503, "Overloaded", "1")
    assert cluster.predict({"input_batch": [[1], [2], [3]]}).status == 200
    assert cluster.frontend.routes.traffic.outstanding == 0
    assert cluster.counter("internal:num_refused_queries") == 2


# ---- following the state


def test_whatever_changes_is_served_once_sync_has_answered(cluster: Cluster) -> None:
    cluster.register("b", input_type="strings")
    cluster.sync()
    expect_default(cluster.predict({"input": "x"}, "b"), NO_CONNECTED_MODELS)
    cluster.state.delete_model_links("a", ["m"])
    cluster.sync()
    expect_default(cluster.predict({"input": [1]}), NO_CONNECTED_MODELS)
    cluster.link("a")
    cluster.deploy("2")
    cluster.sync()
    assert cluster.predict({"input": [3]}).json["output"] == -3.0
    cluster.state.set_model_version("m", "1")
    cluster.sync()
    assert cluster.predict({"input": [3]}).json["output"] == 3.0
    cluster.state.delete_application("a")
    cluster.sync()
    assert cluster.predict({"input": [3]}).status == 404
    assert "app:a:num_predictions" not in call(cluster.app, "GET", "/metrics").body.decode()


def test_an_application_registered_again_has_its_new_type_default_and_slo(cluster: Cluster) -> None:
    cluster.state.delete_application("a")
    cluster.state.add_application("a", "strings", "nothing", SHORT_SLO_MICROS)
    cluster.sync()
    answer = cluster.predict({"input": "x"})
    assert (answer.json["output"], answer.json["default"]) == ("nothing", True)
    assert cluster.frontend.routes.endpoints["a"].slo_s == SHORT_SLO_MICROS / 1e6


def test_the_totals_keep_what_applications_and_versions_that_are_gone_have_counted(cluster: Cluster) -> None:
    cluster.predict({"input": [1]})
    cluster.predict({"input": [1]})
    cluster.state.delete_application("a")
    cluster.sync()
    cluster.state.delete_versioned_model("m", "1")
    cluster.sync()
    assert cluster.counter("internal:aggregate_num_predictions") == 2
    assert cluster.counter("internal:prediction_cache_lookups") == 2
    assert cluster.counter("internal:prediction_cache_hits") == 1


def test_a_link_that_changes_keeps_the_endpoint_and_its_counts(cluster: Cluster) -> None:
    cluster.predict({"input": [1]})
    cluster.state.delete_model_links("a", ["m"])
    cluster.deploy(name="other")
    cluster.link("a", "other")
    cluster.sync()
    cluster.predict({"input": [1]})
    assert cluster.counter("app:a:num_predictions") == 2


def test_the_version_of_another_input_type_cannot_be_asked(cluster: Cluster) -> None:
    cluster.state.delete_model_links("a", ["m"])
    cluster.deploy("2", input_type="strings")
    cluster.register("b", input_type="strings")
    cluster.link("b")
    cluster.sync()
    refused = cluster.predict({"input": "x", "version": "1"}, "b")
    assert (refused.status, refused.json["error"]) == (400, "Input type mismatch")


def test_it_follows_the_state_when_nobody_says_so(cluster: Cluster) -> None:
    cluster.register("b")

    async def served() -> None:
        while "b" not in cluster.frontend.routes.endpoints:
            await asyncio.sleep(0.01)

    cluster.loop.run_until_complete(asyncio.wait_for(served(), 10))
    assert cluster.predict({"input": [1]}, "b").status == 200


def test_a_sync_that_is_none_is_refused(cluster: Cluster) -> None:
    for body in (b"", b"{}", b'{"revision": "x"}'):
        answer = call(cluster.app, "POST", "/-/sync", body)
        assert (answer.status, answer.json["error"]) == (400, "Json error")


def test_a_restarted_frontend_serves_what_was_registered(cluster: Cluster) -> None:
    again = QueryFrontend(open_store(cluster.url), "c", "id-1", connect=cluster._connect)
    cluster.loop.run_until_complete(again.start())
    answer = call(build_app(again), "POST", "/a/predict", b'{"input": [1, 1]}')
    assert answer.json == {"query_id": 0, "output": 2.0, "default": False}
    cluster.loop.run_until_complete(again.stop())


def test_a_frontend_can_be_stopped_before_it_has_started(cluster: Cluster) -> None:
    store = open_store(cluster.url)
    cluster.loop.run_until_complete(QueryFrontend(store, "c", "id-1").stop())
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        store.revision()
