"""What every backend must do with JSON values, records, images and the metrics of a model function.

Subclass `InputsContract` where there are the fixtures ``connection`` and ``replica_metrics`` (a function that returns
what a replica answers to ``GET /metrics``, as Prometheus asks).
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from contract_world import LONG_SLO_MICROS, output, post, predict
from prometheus_client.parser import text_string_to_metric_families
from requirements import require_modules

from clipper_magic import ClipperConnection, metrics
from clipper_magic.container_manager import Replica
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import InputTypeError, ReplicaStartError

ReplicaMetrics = Callable[[ClipperConnection, Replica], str]


def kinds(values: Any) -> list[str]:
    return [type(value).__name__ for value in values]


def label(records: Any) -> list[dict[str, Any]]:
    return [{"label": record["name"].upper(), "missing": record.get("nothing")} for record in records]


def one_more_each_call(values: Any) -> list[int]:
    """Tell a cached answer from a new one."""
    one_more_each_call.calls += len(values)  # type: ignore[attr-defined]
    return [one_more_each_call.calls] * len(values)  # type: ignore[attr-defined]


one_more_each_call.calls = 0  # type: ignore[attr-defined]


def total(frame: Any) -> Any:
    return frame["price"] * frame["count"]


def image_size(images: list[bytes]) -> list[list[int]]:
    """Read width and height where PNG has them."""
    assert all(type(image) is bytes for image in images)
    return [list(struct.unpack(">II", image[16:24])) for image in images]


def png(width: int, height: int) -> bytes:
    """Return a black image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" * (width + 1)) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def counts_letters(texts: list[str]) -> list[int]:
    metrics.add_metric("letters", "Counter", "Letters of all texts")
    metrics.add_metric("text_length", "Histogram", "Length of a text", [2, 4])
    for text in texts:
        metrics.report_metric("letters", len(text))
        metrics.report_metric("text_length", len(text))
    return [len(text) for text in texts]


def reports_what_it_never_added(texts: list[str]) -> list[int]:
    from clipper_magic.metrics import report_metric

    report_metric("never_added", 1)
    return [0 for _ in texts]


def endpoint(connection: ClipperConnection, name: str, input_type: str, function: Any, **options: Any) -> None:
    python_deployer.create_endpoint(
        connection, name, input_type, function, default_output="-1", slo_micros=LONG_SLO_MICROS, **options
    )


def replica_of(connection: ClipperConnection, name: str) -> Replica:
    (found,) = [one.replica for one in connection.cm.list_replicas() if one.replica.model_name == name]
    return found


class InputsContract:
    """The contract."""

    # --- JSON ---

    @pytest.mark.parametrize("alias", ["json", "record", "records"])
    def test_json_input_type(self, connection: ClipperConnection, alias: str) -> None:
        endpoint(connection, f"kinds-{alias}", alias, kinds)

        info = connection.get_app_info(f"kinds-{alias}")
        assert info is not None
        assert info["input_type"] == "json"
        batch = [{"a": [1]}, [1, {}], "text", 3, 2.5, True, None]
        answer = post(connection, f"/kinds-{alias}/predict", {"input_batch": batch}).json()
        found = [one["output"] for one in answer["batch_predictions"]]
        assert found == ["dict", "list", "str", "int", "float", "bool", "NoneType"]
        assert output(connection, f"kinds-{alias}", None) == "NoneType"

    def test_outputs_of_json_models_are_json(self, connection: ClipperConnection) -> None:
        endpoint(connection, "labels", "json", label, example={"name": "x"})

        body = post(connection, "/labels/predict", {"input": {"name": "é"}}).text
        assert body.partition(",")[2] == '"output":{"label":"É","missing":null},"default":false}'
        answer = predict(connection, "labels", {"nom": "é"})
        assert answer["default_explanation"] == "Model labels:1 raised KeyError: 'name'"

    def test_equal_json_is_answered_from_the_cache(self, connection: ClipperConnection) -> None:
        endpoint(connection, "cached-json", "json", one_more_each_call)

        first = output(connection, "cached-json", {"a": 1, "b": {"c": 2, "d": 3}})
        assert output(connection, "cached-json", {"b": {"d": 3, "c": 2}, "a": 1}) == first
        assert output(connection, "cached-json", {"a": 1, "b": {"c": 2, "d": 4}}) == first + 1

    @pytest.mark.parametrize("value", ["NaN", "Infinity", '{"a": -Infinity}', "[1e999]", "{", '"\\ud800"'])
    def test_what_is_no_json_is_refused(self, connection: ClipperConnection, value: str) -> None:
        if "strict" not in connection.get_all_apps():
            endpoint(connection, "strict", "json", kinds)

        answer = post(connection, "/strict/predict", f'{{"input": {value}}}')
        assert answer.status_code == 400
        assert answer.json()["cause"].startswith("Error parsing JSON: JSON parse error: ")

    def test_json_is_linked_only_to_json(self, connection: ClipperConnection) -> None:
        connection.register_application("json-app", "json", "-1", LONG_SLO_MICROS)
        connection.register_model("strings-model", 1, "strings")
        with pytest.raises(InputTypeError, match="has incompatible input_type 'strings'"):
            connection.link_model_to_app("json-app", "strings-model")
        connection.register_model("json-model", 1, "record")
        connection.link_model_to_app("json-app", "json-model")
        with pytest.raises(InputTypeError, match="is not compatible"):
            connection.register_model("json-model", 2, "strings")

    def test_records_as_a_dataframe(self, connection: ClipperConnection) -> None:
        require_modules("pandas")
        endpoint(connection, "totals", "json", total, example={"price": 1.5, "count": 2}, as_dataframe=True)

        batch = [{"price": 1.5, "count": 3}, {"price": 2, "count": 4}]
        answer = post(connection, "/totals/predict", {"input_batch": batch}).json()
        assert [one["output"] for one in answer["batch_predictions"]] == [4.5, 8.0]
        explanation = predict(connection, "totals", [1])["default_explanation"]
        assert explanation.endswith("TypeError: a record is expected, a JSON object, not list")

    # --- images ---

    def test_images_arrive_as_bytes(self, connection: ClipperConnection) -> None:
        endpoint(connection, "image-size", "bytes", image_size, example=png(1, 1))

        for width, height in ((3, 5), (640, 480)):
            image = base64.b64encode(png(width, height)).decode()
            assert output(connection, "image-size", image) == [width, height]

    # --- metrics of the model's own ---

    def test_metrics_of_a_model_function(self, connection: ClipperConnection, replica_metrics: ReplicaMetrics) -> None:
        endpoint(connection, "letters", "strings", counts_letters)
        for text in ("abc", "a", "abcdefgh"):
            assert output(connection, "letters", text) == len(text)

        text = replica_metrics(connection, replica_of(connection, "letters"))

        families = text_string_to_metric_families(text)
        samples = {(s.name, s.labels.get("le", "")): s.value for family in families for s in family.samples}
        assert samples["letters_total", ""] == 12
        buckets = [samples["text_length_bucket", bound] for bound in ("2.0", "4.0", "+Inf")]
        assert (buckets, samples["text_length_sum", ""]) == ([1, 2, 3], 12)
        assert "# HELP letters_total Letters of all texts" in text
        assert ("clipper_mc_pred_total", "") in samples

    def test_metric_that_was_never_added(self, connection: ClipperConnection) -> None:
        text = "ClipperException: never_added has not been added"
        with pytest.raises(ReplicaStartError, match=text):
            endpoint(connection, "unknown-metric", "strings", reports_what_it_never_added, example="x")
        endpoint(connection, "unknown-metric", "strings", reports_what_it_never_added)

        explanation = predict(connection, "unknown-metric", "x")["default_explanation"]
        assert explanation == (
            "Model unknown-metric:1 raised ClipperException: never_added has not been added. "
            "Please use clipper_magic.metrics.add_metric to add this metric"
        )
