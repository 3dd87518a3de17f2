"""The contract of container managers: what is answered when models misbehave or requests are bad."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from contract_world import (
    TOO_LATE,
    never_in_time,
    output,
    post,
    predict,
    refuses_negative,
    serve,
)

from clipper_magic import ClipperConnection
from clipper_magic.deployers import python as python_deployer


class AnswerContract:
    """What is answered when models misbehave or requests are bad."""

    # --- models that misbehave ---

    def test_model_exception_costs_only_its_input(self, connection: ClipperConnection) -> None:
        serve(connection, "raising", refuses_negative)

        answer = post(connection, "/raising/predict", {"input_batch": [[1.0], [-2.0], [3.0]]}).json()

        good, bad, also_good = answer["batch_predictions"]
        assert (good["output"], also_good["output"]) == (1.0, 3.0)
        assert (bad["output"], bad["default"]) == (-1.0, True)
        assert bad["default_explanation"] == "Model raising:1 raised ValueError: negative: -2.0"
        assert output(connection, "raising", [4.0]) == 4.0
        replica = next(s.replica for s in connection.cm.list_replicas() if s.replica.model_name == "raising")
        assert 'raise ValueError(f"negative: {x[0]}")' in connection.cm.tail_log(replica, 100)
        (error,) = connection.cm.replica_errors(replica)
        assert (error["type"], error["message"], error["count"]) == ("ValueError", "negative: -2.0", 1)

    def test_slow_model_answers_the_default_at_the_objective(self, connection: ClipperConnection) -> None:
        connection.register_application("slow", "doubles", "too late", 50_000)
        python_deployer.deploy_python_closure(connection, "slow", 1, "doubles", never_in_time)
        connection.link_model_to_app("slow", "slow")

        answer = predict(connection, "slow", [1.0])

        assert (answer["output"], answer["default"]) == ("too late", True)
        assert answer["default_explanation"] == TOO_LATE

    # --- bad requests ---

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("/bad-input/predict", "this is not JSON", 400),
            ("/bad-input/predict", "[1.0]", 400),
            ("/bad-input/predict", {}, 400),
            ("/bad-input/predict", {"input": "text"}, 400),
            ("/bad-input/predict", {"input": 1.0}, 400),
            ("/bad-input/predict", {"input": ["a"]}, 400),
            ("/bad-input/predict", {"input": [[1.0]]}, 400),
            ("/bad-input/predict", '{"input": [NaN]}', 400),
            ("/bad-input/predict", '{"input": [1e999]}', 400),
            ("/bad-input/predict", b'{"input": [1.0]', 400),
            ("/bad-input/predict", b"\xff\xfe", 400),
            ("/bad-input/predict", {"input": [1.0], "version": "99"}, 400),
            ("/bad-input/predict", b" " * (100 * 1024 * 1024), 413),
            ("/nobody/predict", {"input": [1.0]}, 404),
            ("/nowhere", {"input": [1.0]}, 404),
        ],
    )
    def test_bad_request_is_answered_with_its_cause(
        self, connection: ClipperConnection, path: str, body: Any, status: int
    ) -> None:
        if "bad-input" not in connection.get_all_apps():
            serve(connection, "bad-input")

        answer = post(connection, path, body)

        assert answer.status_code == status
        assert set(answer.json()) >= {"error", "cause"}
        assert output(connection, "bad-input", [1.0, 1.0]) == 2.0

    def test_wrong_method_is_answered(self, connection: ClipperConnection) -> None:
        answer = requests.get(f"http://{connection.get_query_addr()}/metrics/predict", timeout=5)

        assert answer.status_code in (404, 405)
        assert set(answer.json()) >= {"error", "cause"}
