"""The query frontend serves what the cluster state says, and goes on counting."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from frontend_world import SHORT_SLO_MICROS, Cluster, cluster, expect_default, new_cluster
from wsgi_client import call

from serving_image.protocol import NO_CONNECTED_MODELS
from serving_image.query_frontend import QueryFrontend, build_app
from serving_image.store import open_store

__all__ = ["cluster", "new_cluster"]


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
