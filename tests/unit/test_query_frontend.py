"""What the query frontend answers: predictions, default outputs, what the cache knows, refusals."""

from __future__ import annotations

import pytest
from frontend_world import SHORT_SLO_MICROS, Cluster, NewCluster, cluster, expect_default, new_cluster, total
from wsgi_client import call

from serving_image.entities import Replica
from serving_image.protocol import NO_CONNECTED_MODELS, SLO_MISSED

__all__ = ["cluster", "new_cluster"]


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
