"""What `predict`, `metrics`, `logs`, `status` and `doctor` return and show."""

from __future__ import annotations

from typing import Any

import pytest
from magics_world import Capture, Shell, World, said

from clipper_magic.commands import queries
from clipper_magic.exceptions import BadQueryError

# --- queries ---


def answer_with(monkeypatch: pytest.MonkeyPatch, status: int, answer: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    class Reply:
        status_code = status
        text = "metric 1"

        def json(self) -> Any:
            return answer

    monkeypatch.setattr(
        queries, "_send", lambda method, addr, path, timeout, **options: sent.append(options) or Reply()
    )
    return sent


def test_predict_returns_the_rest_answer(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = answer_with(monkeypatch, 200, {"query_id": 0, "output": 6.6, "default": False})

    assert serving.run("%clipper predict hello-world [1.1, 2.2, 3.3] --version 1") == {
        "query_id": 0, "output": 6.6, "default": False,
    }  # fmt: skip
    assert sent == [{"json": {"input": [1.1, 2.2, 3.3], "version": "1"}}]


def test_a_refused_query_is_told_in_words_that_can_be_read(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    mismatch = "Type mismatch! JSON key input expected type Arraybut found type String"
    cause = f"Error parsing JSON: {mismatch}. Expected JSON schema: {{}}"
    answer_with(monkeypatch, 400, {"error": "Request error", "cause": cause})
    with pytest.raises(BadQueryError, match=r"JSON key input expected type Array, but found type String\. Fix"):
        serving.run('%clipper predict hello-world "abc"')


def test_predict_of_a_list_of_inputs_returns_a_list(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = answer_with(monkeypatch, 200, {"batch_predictions": [{"output": 1, "default": False}] * 2})

    assert serving.run("%clipper predict hello-world [[1], [2]]") == [{"output": 1, "default": False}] * 2
    assert sent == [{"json": {"input_batch": [[1], [2]]}}]


@pytest.mark.parametrize(
    ("explanation", "before", "reason"),
    [
        (
            "No connected models found for query",
            "",
            "Default output: no replica of sum-model is ready. `%clipper replicas sum-model 1`",
        ),
        (
            "No connected models found for query",
            "%clipper unlink hello-world sum-model",
            "Default output: no model is linked to hello-world. `%clipper link hello-world MODEL`",
        ),
        (
            "Model sum-model:2 raised KeyError: 'a'",
            "",
            "Default output: sum-model:2 raised KeyError: 'a'. `%clipper logs sum-model --errors`",
        ),
        ("something new", "", "Default output: something new."),
    ],
)
def test_a_default_answer_has_its_reason(
    serving: Shell, monkeypatch: pytest.MonkeyPatch, explanation: str, before: str, reason: str
) -> None:
    serving.run(before)
    answer_with(monkeypatch, 200, {"output": -1.0, "default": True, "default_explanation": explanation})

    assert serving.run("%clipper predict hello-world [1]").reason == reason


def test_a_missed_slo_names_the_latency_of_the_model(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    histogram = {"model:sum-model:2:prediction_latency": {"unit": "micros", "size": "9", "p95": "340000"}}
    monkeypatch.setattr(serving.session.connection, "inspect_instance", lambda: {"histograms": [histogram]})
    missed = {"output": -1.0, "default": True, "default_explanation": queries.MISSED_SLO}
    answer_with(monkeypatch, 200, missed)

    assert serving.run("%clipper predict hello-world [1]").reason == (
        "Default output: no answer within the SLO of 100 ms (p95 of sum-model: 340 ms)."
    )


def test_metrics_in_both_forms(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.session.connection, "inspect_instance", lambda: {"counters": []})
    answer_with(monkeypatch, 200, {})

    assert serving.run("%clipper metrics") == {"counters": []}
    assert serving.run("%clipper metrics --prometheus") == "metric 1"


def test_logs_return_paths_and_show_the_tail(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    paths = serving.run("%clipper logs sum-model:1 -n 1")

    assert paths == ["clipper_logs/sum-model_1-0.log"]
    assert "last line" in said(capsys) and "first line" not in paths.text


def test_logs_of_a_model_are_those_of_its_replicas(serving: Shell) -> None:
    serving.run("%clipper replicas sum-model:2 2;")

    paths = serving.run("%clipper logs sum-model:2")

    assert paths == [f"clipper_logs/sum-model_2-{i}.log" for i in (0, 1)]
    assert "first line\nlast line" in paths.text


def test_equal_tracebacks_are_shown_once(serving: Shell, world: World) -> None:
    error = {"type": "KeyError", "message": "'a'", "traceback": "Traceback\nKeyError: 'a'", "example_input": "[1.0]"}
    times = {"first_time_s": 1.0, "last_time_s": 2.0}
    serving.run("%clipper replicas sum-model 2;")
    world.clusters["default-cluster"].errors = {
        0: [{**error, **times, "count": 3}],
        1: [{**error, **times, "count": 2, "last_time_s": 3.0, "example_input": "[9.0]"}],
    }
    groups = serving.run("%clipper logs sum-model:2 --errors")

    assert [(g["model"], g["count"], g["first_time_s"], g["last_time_s"]) for g in groups] == [
        ("sum-model:2", 5, 1.0, 3.0)
    ]
    assert groups.text.startswith("sum-model:2 · 5 times · last with the input [9.0]\nTraceback")


def test_no_errors_are_good_news(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    assert serving.run("%clipper logs --errors") == []
    assert "No model raised an exception" in said(capsys)


def test_status_tells_asked_for_and_seen(serving: Shell, world: World) -> None:
    world.clusters["default-cluster"].replicas.pop()  # the one of version 2
    status = serving.run("%clipper status")

    assert status.lines()[1:] == [
        "✓ sum-model:1 · 1 of 1 replica ready",
        "✗ sum-model:2 · current · 0 of 1 replica ready",
    ]


def test_doctor_looks_at_everything(serving: Shell) -> None:
    checks = serving.run("%clipper doctor")

    assert list(checks) == [
        "python", "docker_cli", "docker_engine", "port_1337", "port_1338", "disk", "widgets", "language", "cluster",
    ]  # fmt: skip
    assert checks["python"]["ok"] is True and checks["docker_engine"]["ok"] is None and checks["cluster"]["ok"] is True


def test_clusters_are_chosen_by_name(shell: Shell) -> None:
    shell.run("%clipper start --cluster blue;")
    shell.run("%clipper start --cluster green;")
    shell.run("%clipper register a --input-type ints --default-output 0 --slo 1s;")

    assert shell.run("%clipper apps") == ["a"]
    shell.run("%config Clipper.cluster = 'blue'")
    assert shell.run("%clipper apps") == []
    shell.run("%clipper connect --cluster green;")
    assert shell.run("%clipper apps") == ["a"]
