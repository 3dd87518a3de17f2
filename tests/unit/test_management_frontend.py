"""The management API on the wire: request -> status, body, X-Clipper-Error. No sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bottle
import pytest
from wsgi_client import Response, call

from serving_image.address import Address
from serving_image.management_frontend import ManagementFrontend, build_app
from serving_image.metrics import Registry
from serving_image.sqlite_store import SQLiteStore
from serving_image.state import ClusterState
from serving_image.store import Store, StoreUnavailable


class FakeSync:
    """Query frontends of which those in ``silent`` never confirm."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.silent: list[Address] = []
        self.revisions: list[int] = []

    def push(self, revision: int) -> asyncio.Future[list[Address]]:
        self.revisions.append(revision)
        future: asyncio.Future[list[Address]] = self._loop.create_future()
        future.set_result(self.silent)
        return future


@pytest.fixture
def sync() -> Iterator[FakeSync]:
    loop = asyncio.new_event_loop()
    yield FakeSync(loop)
    loop.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SQLiteStore(tmp_path / "state.db")
    yield opened
    opened.close()


def new_app(store: Store, sync: FakeSync) -> bottle.Bottle:
    registry = Registry(lambda: 0.0)
    return build_app(ManagementFrontend(ClusterState(store), sync, registry, "test-cluster", "id-1"))


@pytest.fixture
def app(store: Store, sync: FakeSync) -> bottle.Bottle:
    return new_app(store, sync)


def post(app: bottle.Bottle, verb: str, request: Any) -> Response:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return call(app, "POST", f"/admin/{verb}", body)


APP = {"name": "hello", "input_type": "doubles", "default_output": "-1.0", "latency_slo_micros": 100000}
MODEL = {
    "model_name": "sum",
    "model_version": "1",
    "labels": ["a", "b"],
    "input_type": "doubles",
    "container_name": "sum:1",
    "model_data_path": "DEPRECATED",
    "batch_size": -1,
}
LINK = {"app_name": "hello", "model_names": ["sum"]}
REPLICAS = [{"replica_id": 0, "address": "unix:/run/sum.sock"}]
VERSION_1 = {"model_name": "sum", "model_version": "1"}
VERSION_2 = {"model_name": "sum", "model_version": "2"}


@pytest.fixture
def served(app: bottle.Bottle) -> bottle.Bottle:
    """Application hello is linked to sum, whose version 2 has one replica and is current."""
    second = MODEL | VERSION_2 | {"labels": [], "replicas": REPLICAS}
    for verb, request in (("add_app", APP), ("add_model", MODEL), ("add_model", second), ("add_model_links", LINK)):
        assert post(app, verb, request).status == 200
    return app


APP_INFO = (
    '{"input_type":"doubles","default_output":"-1.0","latency_slo_micros":100000,"name":"hello",'
    '"linked_models":["sum"]}'
)
MODEL_1_INFO = (
    '{"model_name":"sum","model_version":"1","input_type":"doubles","labels":["a","b"],"container_name":"sum:1",'
    '"model_data_path":"DEPRECATED","is_current_version":false}'
)
# Clipper shows no labels as one empty label.
MODEL_2_INFO = (
    '{"model_name":"sum","model_version":"2","input_type":"doubles","labels":[""],"container_name":"sum:1",'
    '"model_data_path":"DEPRECATED","is_current_version":true}'
)
REPLICA_INFO = '{"model_id":"sum:2","model_name":"sum","model_version":"2","model_replica_id":0,"input_type":"doubles"}'

ANSWERS = [
    ("add_app", APP | {"name": "new"}, "Successfully added application with name 'new'"),
    ("add_app/", APP | {"name": "new"}, "Successfully added application with name 'new'"),
    ("delete_app", {"name": "hello"}, "Successfully deleted application with name 'hello'"),
    (
        "add_model",
        MODEL | {"model_version": "3", "input_type": "d"},
        "Successfully added model with name 'sum' and input type 'doubles'",
    ),
    (
        "add_model",
        MODEL | {"model_version": "3", "dry_run": True},
        "Checked model with name 'sum' and input type 'doubles'",
    ),
    ("delete_versioned_model", VERSION_1, "Successfully deleted model with name 'sum' and version '1'"),
    ("set_model_version", VERSION_1, "Successfully set model with name 'sum' to version '1'"),
    ("delete_model_links", LINK, "Success!"),
    (
        "set_replicas",
        VERSION_1 | {"replicas": REPLICAS},
        "Successfully set 1 replicas for model 'sum' version '1'",
    ),
    ("get_all_applications", {"verbose": False}, '["hello"]'),
    ("get_all_applications", {"verbose": True}, f"[{APP_INFO}]"),
    ("get_application", {"name": "hello"}, APP_INFO),
    ("get_application", {"name": "nope"}, "{}"),
    ("get_linked_models", {"app_name": "hello"}, '["sum"]'),
    ("get_all_models", {"verbose": False}, '["sum:1","sum:2"]'),
    ("get_all_models", {"verbose": True}, f"[{MODEL_1_INFO},{MODEL_2_INFO}]"),
    ("get_model", VERSION_2, MODEL_2_INFO),
    ("get_model", {"model_name": "sum", "model_version": "9"}, "{}"),
    ("get_all_containers", {"verbose": False}, '["sum:2:0"]'),
    ("get_all_containers", {"verbose": True}, f"[{REPLICA_INFO}]"),
    ("get_container", VERSION_2 | {"replica_id": 0}, REPLICA_INFO),
    ("get_container", VERSION_2 | {"replica_id": 7}, "{}"),
    ("get_container", VERSION_1 | {"model_name": "nope", "replica_id": 0}, "{}"),
    ("get_state", {"app_name": "hello", "uid": 0}, "-1.0"),
]


@pytest.mark.parametrize(("verb", "request_body", "body"), ANSWERS)
def test_an_answer_is_clippers(served: bottle.Bottle, verb: str, request_body: Any, body: str) -> None:
    response = post(served, verb, request_body)
    assert (response.status, response.body.decode()) == (200, body)
    assert response.headers["content-type"] == "application/json"


def schema(*lines: str) -> str:
    return "\n  {\n   " + ",\n   ".join(lines) + "\n  }\n"


NAME_SCHEMA = schema('"name" := string')
APP_SCHEMA = schema(
    '"name" := string', '"input_type" := string', '"default_output" := string', '"latency_slo_micros" := int'
)
LINK_SCHEMA = schema('"app_name" := string', '"model_names" := [string]')
WRONG_TYPE = "Type mismatch! JSON key {} expected type {}but found type {}"
BAD_JSON = [
    ("delete_app", b"", "JSON parse error: Input data was truncated. (offset 0)\n", NAME_SCHEMA),
    (
        "delete_app",
        b'{"name": nope}',
        "JSON parse error: JSON is malformed: invalid character. (offset 13)\n",
        NAME_SCHEMA,
    ),
    ("delete_app", b'{"name":1e999}', "JSON parse error: Number too big to be stored in double.\n", NAME_SCHEMA),
    ("delete_app", b"[" * 100_000, "JSON parse error: Invalid nesting. (offset 100000)\n", NAME_SCHEMA),
    ("delete_app", b"[]", "JSON schema invalid", NAME_SCHEMA),
    ("delete_app", {}, "JSON object does not have required key: name", NAME_SCHEMA),
    ("delete_app", {"name": 1}, WRONG_TYPE.format("name", "String", "Number"), NAME_SCHEMA),
    ("delete_app", {"name": None}, WRONG_TYPE.format("name", "String", "Null"), NAME_SCHEMA),
    (
        "add_app",
        APP | {"latency_slo_micros": "1"},
        WRONG_TYPE.format("latency_slo_micros", "Number", "String"),
        APP_SCHEMA,
    ),
    ("add_app", APP | {"latency_slo_micros": 1.5}, "Input of type Number is not of type int", APP_SCHEMA),
    ("add_app", APP | {"latency_slo_micros": 2**31}, "Input of type Number is not of type int", APP_SCHEMA),
    (
        "add_app",
        APP | {"latency_slo_micros": True},
        WRONG_TYPE.format("latency_slo_micros", "Number", "True"),
        APP_SCHEMA,
    ),
    (
        "add_model_links",
        LINK | {"model_names": "sum"},
        WRONG_TYPE.format("model_names", "Array", "String"),
        LINK_SCHEMA,
    ),
    ("add_model_links", LINK | {"model_names": [{}]}, "Array input of type Object is not of type string", LINK_SCHEMA),
    ("get_all_models", {"verbose": 1}, "Input of type Number is not of type bool", schema('"verbose" := bool')),
]


@pytest.mark.parametrize(("verb", "request_body", "why", "expected_schema"), BAD_JSON)
def test_a_bad_body_is_refused_in_clippers_words(
    served: bottle.Bottle, verb: str, request_body: Any, why: str, expected_schema: str
) -> None:
    response = post(served, verb, request_body)
    text = f"Error parsing JSON: {why}. Expected JSON schema: {expected_schema}"
    assert (response.status, response.headers["x-clipper-error"]) == (400, "bad-json")
    assert response.body.decode() == text


@pytest.mark.parametrize(
    ("field", "value"),
    [("replicas", [{"replica_id": "0", "address": "h:1"}]), ("max_batch_delay_ms", -1), ("replicas", [[]])],
)
def test_a_bad_value_that_clipper_does_not_know_is_refused(served: bottle.Bottle, field: str, value: Any) -> None:
    response = post(served, "add_model", MODEL | {"model_version": "3", field: value})
    assert (response.status, response.headers["x-clipper-error"]) == (400, "bad-json")
    assert field in response.body.decode().partition("Expected JSON schema")[0]


REFUSED = [
    ("add_app", APP, "app-exists", "application 'hello' already exists"),
    (
        "add_app",
        APP | {"name": "a/b"},
        "bad-name",
        "Invalid application name supplied: a/b. Contains one of: ',', ':', '/'",
    ),
    ("add_model", MODEL, "model-exists", "model with name 'sum' and version '1' already exists"),
    ("get_linked_models", {"app_name": "nope"}, "app-not-found", "No application with name 'nope' exists."),
    ("get_state", {"app_name": "nope", "uid": 0}, "app-not-found", "No app with name 'nope' exists."),
    (
        "set_replicas",
        {"model_name": "sum", "model_version": "9", "replicas": []},
        "version-not-found",
        "model with name 'sum' and version '9' does not exist",
    ),
]


@pytest.mark.parametrize(("verb", "request_body", "code", "text"), REFUSED)
def test_a_refusal_is_plain_text_with_its_code_in_a_header(
    served: bottle.Bottle, sync: FakeSync, verb: str, request_body: Any, code: str, text: str
) -> None:
    pushes = list(sync.revisions)
    response = post(served, verb, request_body)
    assert (response.status, response.headers["x-clipper-error"], response.body.decode()) == (400, code, text)
    assert sync.revisions == pushes


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/admin/add_app", 405, "method-not-allowed"),
        ("POST", "/admin/ping", 405, "method-not-allowed"),
        ("POST", "/admin/nope", 404, "not-found"),
        ("GET", "/", 404, "not-found"),
    ],
)
def test_an_unknown_path_or_method_is_answered_in_json(
    app: bottle.Bottle, method: str, path: str, status: int, code: str
) -> None:
    response = call(app, method, path)
    assert (response.status, response.headers["x-clipper-error"]) == (status, code)
    assert response.json.keys() == {"error", "cause"}


@pytest.mark.parametrize("path", ["/admin/ping", "/admin/ping/"])
def test_ping_answers_pong(app: bottle.Bottle, path: str) -> None:
    assert call(app, "GET", path).body == b"PONG"


def test_each_mutation_is_pushed_to_the_query_frontends(served: bottle.Bottle, sync: FakeSync) -> None:
    assert sync.revisions == [1, 2, 3, 4]


def test_an_unconfirmed_mutation_says_that_it_is_committed(app: bottle.Bottle, sync: FakeSync) -> None:
    sync.silent = [Address.parse("unix:/run/query-0.sock")]
    response = post(app, "add_app", APP)
    assert (response.status, response.headers["x-clipper-error"]) == (503, "unconfirmed")
    cause = "committed as revision 1, but query frontend unix:/run/query-0.sock did not confirm within 10 s"
    assert response.json == {"error": "Not confirmed", "cause": cause}
    assert post(app, "get_all_applications", {"verbose": False}).json == ["hello"]


def test_a_body_beyond_the_limit_is_refused(app: bottle.Bottle) -> None:
    response = post(app, "add_app", b" " * (16 * 2**20 + 1))
    assert (response.status, response.headers["x-clipper-error"]) == (413, "body-too-large")


def test_status_holds_everything(served: bottle.Bottle) -> None:
    status = post(served, "get_status", {}).json
    assert [status[key] for key in ("cluster", "cluster_id", "revision")] == ["test-cluster", "id-1", 4]
    assert status["applications"] == [json.loads(APP_INFO)]
    (model,) = status["models"]
    assert (model["model_name"], model["current_version"]) == ("sum", "2")
    assert [version["replicas"] for version in model["versions"]] == [[], REPLICAS]
    assert [version["is_current_version"] for version in model["versions"]] == [False, True]
    assert [version["labels"] for version in model["versions"]] == [["a", "b"], []]


def test_health_says_which_cluster_and_revision_this_is(served: bottle.Bottle) -> None:
    assert call(served, "GET", "/health").json == {
        "status": "ok",
        "role": "management_frontend",
        "cluster": "test-cluster",
        "cluster_id": "id-1",
        "revision": 4,
        "protocol": 1,
    }


def test_metrics_count_requests_and_refusals(served: bottle.Bottle) -> None:
    post(served, "add_app", APP)
    counters = call(served, "GET", "/metrics").json["counters"]
    assert {"management:requests": {"count": "5"}} in counters
    assert {"management:refused_requests": {"count": "1"}} in counters


def test_what_another_management_frontend_commits_is_seen(app: bottle.Bottle, store: Store, sync: FakeSync) -> None:
    other = new_app(store, sync)
    post(other, "add_app", APP)
    assert post(app, "get_all_applications", {"verbose": False}).json == ["hello"]


def test_a_store_that_does_not_answer_is_said_to_be_unavailable(
    app: bottle.Bottle, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(revision: int) -> None:
        raise StoreUnavailable("SQLite: disk I/O error")

    monkeypatch.setattr(store, "changes_since", fail)
    for verb, request in (("add_app", APP), ("get_all_applications", {"verbose": True})):
        response = post(app, verb, request)
        assert (response.status, response.headers["x-clipper-error"]) == (503, "unavailable")
        assert "disk I/O error" in response.json["cause"]
