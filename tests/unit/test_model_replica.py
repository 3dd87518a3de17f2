"""The replica's application on the wire, without sockets (its process is in tests/integration)."""

from __future__ import annotations

import base64
import json
from array import array

import bottle
import msgspec
import pytest
from wsgi_client import Response, call

from serving_image.error_log import ErrorLog
from serving_image.json_models import from_wire
from serving_image.metrics import Registry
from serving_image.model_replica import ReplicaHealth, ReplicaMetrics, build_app
from serving_image.model_runner import ModelRunner, PredictFunction
from serving_image.protocol import MESSAGEPACK, BatchAnswer, decode_answer, encode_batch


def replica(predict: PredictFunction, input_type: str = "doubles") -> bottle.Bottle:
    errors = ErrorLog()
    runner = ModelRunner(predict, input_type, errors)
    health = ReplicaHealth(name="sum-model", version="1", input_type=input_type, python="3.11")
    return build_app(health, runner, errors, ReplicaMetrics(Registry(lambda: 0.0)))


def post_json(app: bottle.Bottle, document: object) -> Response:
    # curl's content type, which is not JSON's.
    return call(app, "POST", "/predict", json.dumps(document).encode(), "application/x-www-form-urlencoded")


@pytest.fixture
def app() -> bottle.Bottle:
    """Return a replica that sums, and refuses vectors that start with 13."""

    def predict(xs: list[list[float]]) -> list[str]:
        if any(x[0] == 13 for x in xs):
            raise ValueError("13 is not welcome")
        return [str(sum(x)) for x in xs]

    return replica(predict)


def test_a_packed_batch_is_answered_packed(app: bottle.Bottle) -> None:
    inputs = [array("d", values).tobytes() for values in ([1.1, 2.2, 3.3], [13.0, 0.0, 0.0], [1.0])]
    response = call(app, "POST", "/predict", encode_batch(inputs), MESSAGEPACK)
    assert (response.status, response.headers["content-type"]) == (200, MESSAGEPACK)
    error = ("ValueError", "13 is not welcome")
    assert decode_answer(response.body) == BatchAnswer([b"6.6", None, b"1.0"], {1: error})


def test_a_json_batch_is_answered_in_json(app: bottle.Bottle) -> None:
    response = post_json(app, {"inputs": [[1.1, 2.2, 3.3], [13, 0], [1]]})
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert response.json == {"outputs": [6.6, None, 1.0], "errors": {"1": ["ValueError", "13 is not welcome"]}}


@pytest.mark.parametrize(
    ("input_type", "inputs", "outputs"),
    [
        ("integers", [[1, 2], [3, 4]], ["int32", "int32"]),
        ("floats", [[1, 2], [3]], ["float32", "float32"]),
        ("bytes", [base64.b64encode(b"\xff").decode()], ["bytes"]),
        ("strings", ["é"], ["str"]),
    ],
)
def test_a_json_batch_of_each_input_type_is_understood(
    input_type: str, inputs: list[object], outputs: list[str]
) -> None:
    app = replica(lambda xs: [getattr(x, "dtype", type(x).__name__) for x in xs], input_type)
    assert post_json(app, {"inputs": inputs}).json == {"outputs": outputs, "errors": {}}


def test_a_json_batch_of_json_is_understood() -> None:
    app = replica(from_wire(lambda xs: [{"got": x} for x in xs]), "json")
    inputs = [{"b": 1, "a": [None]}, "text"]
    outputs = [{"got": {"a": [None], "b": 1}}, {"got": "text"}]
    assert post_json(app, {"inputs": inputs}).json == {"outputs": outputs, "errors": {}}


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", "bad-json"),
        (b"{}", "application/json", "bad-json"),
        (b'{"inputs": [["x"]]}', "application/json", "bad-json"),
        (b'{"inputs": [[NaN]]}', "application/json", "bad-json"),
        (b"\xc1", MESSAGEPACK, "bad-request"),
        (msgspec.msgpack.encode({"inputs": ["text"]}), MESSAGEPACK, "bad-request"),
        (msgspec.msgpack.encode({"inputs": [b"1234567"]}), MESSAGEPACK, "bad-request"),
    ],
)
def test_a_bad_batch_is_refused_in_json(app: bottle.Bottle, body: bytes, content_type: str, code: str) -> None:
    response = call(app, "POST", "/predict", body, content_type)
    assert (response.status, response.headers["x-clipper-error"]) == (400, code)
    assert (response.headers["content-type"], response.json.keys()) == ("application/json", {"error", "cause"})


def test_health_says_which_model_version_this_is(app: bottle.Bottle) -> None:
    assert call(app, "GET", "/health").body.decode() == (
        '{"status":"ok","role":"model_replica","name":"sum-model","version":"1","input_type":"doubles",'
        '"python":"3.11","protocol":1}'
    )


def test_errors_are_shown_with_their_tracebacks(app: bottle.Bottle) -> None:
    assert call(app, "GET", "/errors").json == {"errors": []}
    for _ in range(2):
        post_json(app, {"inputs": [[1], [13]]})
    (group,) = call(app, "GET", "/errors").json["errors"]
    assert [group[key] for key in ("type", "message", "count")] == ["ValueError", "13 is not welcome", 2]
    assert group["example_input"] == "[13.0]"
    assert 'raise ValueError("13 is not welcome")' in group["traceback"]
    assert group["first_time_s"] <= group["last_time_s"]


def test_metrics_have_the_names_of_clippers_model_containers(app: bottle.Bottle) -> None:
    post_json(app, {"inputs": [[1], [2]]})
    post_json(app, {"inputs": [[1]]})
    environ_metrics = call(app, "GET", "/metrics").json
    assert {"mc:pred": {"count": "2"}} in environ_metrics["counters"]
    text = call(app, "GET", "/metrics", accept="text/plain").body.decode()
    assert "clipper_mc_pred_total{} 2.0" in text
    for stage in ("recv_time", "parse_time", "handle_time", "end_to_end_latency"):
        assert f"clipper_mc_{stage}_ms_count{{}} 2.0" in text


def test_an_unknown_path_is_answered_in_json(app: bottle.Bottle) -> None:
    response = call(app, "GET", "/nope")
    assert (response.status, response.headers["x-clipper-error"]) == (404, "not-found")
