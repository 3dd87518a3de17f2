"""The contract of container managers: what registering, deploying and linking do, and what they refuse."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from contract_world import (
    LOADING_PATIENCE_S,
    LONG_SLO_MICROS,
    NO_MODEL,
    describe,
    ends_the_process,
    feature_product,
    feature_sum,
    imports_what_is_not_there,
    never_loads,
    output,
    post,
    predict,
    refuses_negative,
    returns_too_few,
    serve,
    snapshot,
)

from clipper_magic import ClipperConnection
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import (
    AlreadyRegisteredError,
    InputTypeError,
    InvalidArgumentError,
    InvalidNameError,
    LinkError,
    NotPicklableError,
    NotRegisteredError,
    ReplicaStartError,
)
from clipper_magic.managers.waiting import wait_for


class DeploymentContract:
    """What registering, deploying and linking do, and what they refuse."""

    # --- register, deploy, link, predict ---

    def test_the_story(self, own: ClipperConnection) -> None:
        own.register_application("hello-world", "doubles", "-1.0", LONG_SLO_MICROS)
        python_deployer.deploy_python_closure(own, "sum-model", 1, "doubles", feature_sum)

        assert post(own, "/hello-world/predict", {"input": [1.1]}).json() == {
            "query_id": 0,
            "output": -1.0,
            "default": True,
            "default_explanation": NO_MODEL,
        }
        own.link_model_to_app("hello-world", "sum-model")

        body = post(own, "/hello-world/predict", {"input": [1.1, 2.2, 3.3]}).text
        assert body == '{"query_id":1,"output":6.6,"default":false}'
        assert own.get_all_apps() == ["hello-world"]
        assert own.get_linked_models("hello-world") == ["sum-model"]
        assert own.get_all_models() == ["sum-model:1"]
        assert own.get_all_model_replicas() == ["sum-model:1:0"]
        assert own.get_current_model_version("sum-model") == "1"
        assert own.get_num_replicas("sum-model") == 1

    def test_each_call_is_true_when_it_returns(self, connection: ClipperConnection) -> None:
        """No wait between a call and the prediction that must see it."""
        serve(connection, "at-once-sum", feature_sum)
        serve(connection, "at-once-product", feature_product)
        connection.register_application("at-once", "doubles", "-1.0", LONG_SLO_MICROS)
        for turn in range(3):
            connection.link_model_to_app("at-once", "at-once-sum")
            assert output(connection, "at-once", [3.0, 4.0 + turn]) == 7.0 + turn
            connection.unlink_model_from_app("at-once", "at-once-sum")
            assert predict(connection, "at-once", [3.0])["default_explanation"] == NO_MODEL
            connection.link_model_to_app("at-once", "at-once-product")
            assert output(connection, "at-once", [3.0, 4.0 + turn]) == 12.0 + 3 * turn
            connection.unlink_model_from_app("at-once", "at-once-product")

    @pytest.mark.parametrize(
        ("input_type", "value", "expected"),
        [
            ("integers", [1, 2], ["ndarray", "int32", 2]),
            ("floats", [1.5, 2, 3], ["ndarray", "float32", 3]),
            ("doubles", [1, 2], ["ndarray", "float64", 2]),
            ("bytes", "aGVsbG8=", ["bytes", None, 5]),
            ("strings", "hello", ["str", None, 5]),
        ],
    )
    def test_input_type(self, connection: ClipperConnection, input_type: str, value: Any, expected: list[Any]) -> None:
        name = f"describe-{input_type}"
        python_deployer.create_endpoint(connection, name, input_type, describe, slo_micros=LONG_SLO_MICROS)

        assert output(connection, name, value) == expected

    def test_batch(self, connection: ClipperConnection) -> None:
        serve(connection, "batch")

        answer = post(connection, "/batch/predict", {"input_batch": [[1.0], [2.0, 3.0], []]}).json()

        assert [one["output"] for one in answer["batch_predictions"]] == [1.0, 5.0, 0]

    def test_example_is_tried_before_serving(self, connection: ClipperConnection) -> None:
        deploy = python_deployer.deploy_python_closure

        with pytest.raises(ReplicaStartError, match="negative: -1"):
            deploy(connection, "with-example", 1, "doubles", refuses_negative, example=[-1.0])
        deploy(connection, "with-example", 1, "doubles", refuses_negative, example=[1.0])

        assert "with-example:1" in connection.get_all_models()

    # --- refusals change nothing ---

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (
                lambda c: c.register_application("rules", "doubles", "0", 100_000),
                AlreadyRegisteredError,
                "application 'rules' already exists",
            ),
            (lambda c: c.register_application("x", "vectors", "0", 100_000), InputTypeError, "vectors"),
            (lambda c: c.register_application("x", "doubles", 0, 100_000), InvalidArgumentError, "default_output"),
            (lambda c: c.unregister_application("nobody"), NotRegisteredError, "'nobody' does not exist"),
            (
                lambda c: c.link_model_to_app("rules", "rules"),
                LinkError,
                "The model with name 'rules' is already linked to 'rules'",
            ),
            (
                lambda c: c.link_model_to_app("rules", "nobody"),
                NotRegisteredError,
                "No model with name 'nobody' exists.",
            ),
            (lambda c: c.link_model_to_app("nobody", "rules"), NotRegisteredError, "No app with name 'nobody' exists."),
            (
                lambda c: c.unlink_model_from_app("rules", "nobody"),
                LinkError,
                "Cannot remove nonexistent link between app rules and model nobody",
            ),
            (lambda c: c.get_linked_models("nobody"), NotRegisteredError, "No application with name 'nobody' exists."),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", 1, "doubles", feature_product),
                AlreadyRegisteredError,
                "model with name 'rules' and version '1' already exists",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", 2, "strings", feature_product),
                InputTypeError,
                "already linked to app 'rules' using input type 'doubles'",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", "1.1", "doubles", feature_sum),
                InvalidNameError,
                "Call it '1-1'",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "Rules", 2, "doubles", feature_sum),
                InvalidNameError,
                "Call it 'rules'",
            ),
            (
                lambda c: python_deployer.deploy_python_closure(c, "rules", 2, "doubles", feature_sum, batch_size=0),
                InvalidArgumentError,
                "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
            ),
            (lambda c: c.set_model_version("rules", 9), NotRegisteredError, "Cannot set non-existent version '9'"),
            (lambda c: c.set_model_version("nobody", 1), NotRegisteredError, "nonexistent model 'nobody'"),
            (lambda c: c.set_num_replicas("nobody", 1), NotRegisteredError, "No versions of model nobody registered"),
            (
                lambda c: c.set_num_replicas("rules", 1, version=9),
                NotRegisteredError,
                "Cannot add container for non-registered model rules:9",
            ),
            (lambda c: c.set_num_replicas("rules", -1), InvalidArgumentError, "an int, 0 or more"),
            (lambda c: c.stop_models("rules"), InvalidArgumentError, "must be a list of names"),
            (lambda c: c.stop_versioned_models({"rules": "1"}), InvalidArgumentError, "must be a list of names"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_refusal_changes_nothing(
        self, connection: ClipperConnection, call: Callable[[ClipperConnection], None], error: type, text: str
    ) -> None:
        if "rules" not in connection.get_all_apps():
            serve(connection, "rules")
        before = snapshot(connection)

        with pytest.raises(error) as caught:
            call(connection)

        assert text in str(caught.value)
        assert snapshot(connection) == before

    def test_unknown_names_have_no_info(self, connection: ClipperConnection) -> None:
        assert connection.get_app_info("nobody") is None
        assert connection.get_model_info("nobody", 1) is None
        assert connection.get_model_replica_info("nobody", 1, 0) is None

    def test_infos(self, connection: ClipperConnection) -> None:
        serve(connection, "infos")

        assert connection.get_app_info("infos") == {
            "input_type": "doubles",
            "default_output": "-1.0",
            "latency_slo_micros": LONG_SLO_MICROS,
            "name": "infos",
            "linked_models": ["infos"],
        }
        model = connection.get_model_info("infos", 1)
        assert model is not None
        assert (model["model_version"], model["is_current_version"], model["labels"]) == ("1", True, [""])
        assert connection.get_model_replica_info("infos", 1, 0) == {
            "model_id": "infos:1",
            "model_name": "infos",
            "model_version": "1",
            "model_replica_id": 0,
            "input_type": "doubles",
        }

    # --- deployments that fail ---

    @pytest.mark.parametrize(
        ("function", "text"),
        [
            (returns_too_few, "Expected model to return 2 outputs, found 1 outputs"),
            (imports_what_is_not_there, "No module named 'no_such_module_anywhere'"),
            (ends_the_process, "exit code 7"),
        ],
        ids=["wrong-length", "missing-import", "dies"],
    )
    def test_failed_deployment_leaves_the_old_version_serving(
        self, connection: ClipperConnection, function: Callable[[Any], Any], text: str
    ) -> None:
        if "survivor" not in connection.get_all_apps():
            serve(connection, "survivor")
        before = snapshot(connection)

        with pytest.raises(ReplicaStartError) as caught:
            python_deployer.deploy_python_closure(connection, "survivor", 2, "doubles", function, num_replicas=2)

        assert text in str(caught.value)
        assert snapshot(connection) == before
        assert output(connection, "survivor", [1.0, 2.0]) == 3.0

    def test_unpicklable_function_is_refused_before_anything_starts(self, connection: ClipperConnection) -> None:
        holder = {"lock": threading.Lock()}
        before = snapshot(connection)

        def uses_a_lock(xs: Any) -> list[str]:
            return [str(holder) for _ in xs]

        with pytest.raises(NotPicklableError, match=r"holder\['lock'\]' \(of type lock\)"):
            python_deployer.create_endpoint(connection, "unpicklable", "doubles", uses_a_lock)

        assert snapshot(connection) == before

    def test_interrupted_deployment_leaves_nothing_and_says_what_it_does(
        self, connection: ClipperConnection, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = snapshot(connection)
        name = "interrupted"

        def is_trying() -> bool:
            replicas = [s.replica for s in connection.cm.list_replicas() if s.replica.model_name == name]
            return any("trying" in connection.cm.tail_log(replica) for replica in replicas)

        def interrupt_once_it_loads() -> None:
            try:
                assert wait_for(is_trying, LOADING_PATIENCE_S)
            finally:  # without it the deployment would wait for minutes
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        watcher = threading.Thread(target=interrupt_once_it_loads)
        watcher.start()
        with pytest.raises(KeyboardInterrupt):
            python_deployer.create_endpoint(connection, name, "doubles", never_loads)
        watcher.join()

        assert "Removing the replicas that were started" in capsys.readouterr().err
        assert snapshot(connection) == before
