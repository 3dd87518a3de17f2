"""ClipperConnection: the cluster, applications, models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from connection_world import Lines, connection, lines, management, manager
from fakes import FakeManager

from clipper_magic import ClipperConnection
from clipper_magic.admin_client import AdminClient
from clipper_magic.container_manager import Replica
from clipper_magic.exceptions import (
    AlreadyRegisteredError,
    ClusterExistsError,
    FrontendUnreachableError,
    InvalidArgumentError,
    NoClusterError,
    ReplicaStartError,
    UnconnectedException,
)

__all__ = ["connection", "lines", "management", "manager"]


def arguments_for(name: str) -> list[Any]:
    parameters = inspect.signature(getattr(ClipperConnection, name)).parameters.values()
    required = [p for p in parameters if p.default is inspect.Parameter.empty and p.name != "self"]
    values = {"version": 1, "num_replicas": 1, "replica_id": 0, "slo_micros": 100_000}
    return [values.get(p.name, "a") for p in required]


WORK_UNCONNECTED = {"start_clipper", "connect", "build_model", "stop_all", "test_predict_function"}


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, _ in inspect.getmembers(ClipperConnection, inspect.isfunction)
        if name[0] != "_" and name not in WORK_UNCONNECTED
    ),
)
def test_method_needs_a_connection(name: str, manager: FakeManager) -> None:
    with pytest.raises(UnconnectedException):
        getattr(ClipperConnection(manager), name)(*arguments_for(name))
    assert manager.calls == []


def test_delete_application_says_it_is_deprecated_before_anything_else(manager: FakeManager, lines: Lines) -> None:
    with pytest.raises(UnconnectedException):
        ClipperConnection(manager).delete_application("a")
    assert lines() == ["WARNING [test-cluster] [DEPRECATED] Use 'unregister_application' API instead of this."]


# --- the cluster ---


def test_start_passes_the_options_on(manager: FakeManager, management: None, lines: Lines) -> None:
    connection = ClipperConnection(manager)
    connection.start_clipper(cache_size=0, num_frontend_replicas=2)

    assert connection.connected
    assert manager.calls == ["start 2 0"]
    assert lines() == ["INFO [test-cluster] Clipper is running"]


@pytest.mark.parametrize("count", [0, -1, True])
def test_start_needs_a_frontend(manager: FakeManager, count: int) -> None:
    with pytest.raises(InvalidArgumentError, match="num_frontend_replicas"):
        ClipperConnection(manager).start_clipper(num_frontend_replicas=count)


def test_start_when_it_runs_warns_as_clipper_does(manager: FakeManager, lines: Lines) -> None:
    manager.runs = True
    connection = ClipperConnection(manager)
    with pytest.raises(ClusterExistsError):
        connection.start_clipper()
    assert not connection.connected
    assert lines() == [
        "WARNING [test-cluster] Error starting Clipper: Cluster test-cluster cannot be started because it already "
        "exists. Please use ClipperConnection.connect() to connect to it."
    ]


def test_connect(manager: FakeManager, lines: Lines) -> None:
    connection = ClipperConnection(manager)
    with pytest.raises(NoClusterError):
        connection.connect()
    manager.runs = True
    connection.connect()
    assert connection.connected
    assert lines() == ["INFO [test-cluster] Successfully connected to Clipper cluster at 127.0.0.1:2"]


def test_stop_all_works_unconnected(manager: FakeManager, lines: Lines) -> None:
    ClipperConnection(manager).stop_all(graceful=False)
    assert manager.calls == ["stop False"]
    assert lines() == ["INFO [test-cluster] Stopped all Clipper cluster and all model containers"]


def test_addresses(connection: ClipperConnection) -> None:
    assert (connection.get_query_addr(), connection.get_metric_addr()) == ("127.0.0.1:2", "127.0.0.1:3")


# --- applications ---


def test_applications(connection: ClipperConnection, lines: Lines) -> None:
    connection.register_application("hello", "double", "-1.0", 100_000)
    connection.register_model("sum", 1, "doubles")
    connection.link_model_to_app("hello", "sum")
    assert connection.get_all_apps() == ["hello"]
    assert connection.get_all_apps(verbose=True) == [
        {
            "input_type": "doubles",
            "default_output": "-1.0",
            "latency_slo_micros": 100_000,
            "name": "hello",
            "linked_models": ["sum"],
        }
    ]
    assert connection.get_app_info("hello") == connection.get_all_apps(verbose=True)[0]
    assert connection.get_linked_models("hello") == ["sum"]
    connection.unlink_model_from_app("hello", "sum")
    connection.unregister_application("hello")
    assert connection.get_app_info("hello") is None
    assert lines() == [
        "INFO [test-cluster] Application hello was successfully registered",
        "INFO [test-cluster] Successfully registered model sum:1",
        "INFO [test-cluster] Model sum is now linked to application hello",
        "INFO [test-cluster] Model sum is now removed to application hello",
        "INFO [test-cluster] Application hello was successfully unregistered",
        "WARNING [test-cluster] Application hello is not registered with Clipper",
    ]


def test_refusal_is_logged_and_raised_with_clippers_text(connection: ClipperConnection, lines: Lines) -> None:
    connection.register_application("hello", "doubles", "-1.0", 100_000)
    lines()
    with pytest.raises(AlreadyRegisteredError) as caught:
        connection.register_application("hello", "doubles", "-1.0", 100_000)

    text = "Received error status code: 400 and message: application 'hello' already exists"
    assert caught.value.msg == text
    assert lines() == [f"ERROR [test-cluster] {text}"]


# --- models ---


def test_register_model(connection: ClipperConnection) -> None:
    connection.register_model("sum", 1.0, "d", labels=["a", "b"])

    assert connection.get_all_models() == ["sum:1.0"]
    assert connection.get_model_info("sum", "1.0") == {
        "model_name": "sum",
        "model_version": "1.0",
        "input_type": "doubles",
        "labels": ["a", "b"],
        "container_name": "NO_CONTAINER",
        "model_data_path": "DEPRECATED",
        "is_current_version": True,
    }


def test_deploy_checks_then_starts_then_registers(
    connection: ClipperConnection, manager: FakeManager, lines: Lines
) -> None:
    manager.on_add = lambda: manager.calls.append(f"registered: {connection.get_all_models()}")
    connection.deploy_model("sum", 1, "double", "image:1", num_replicas=2)

    assert manager.calls == ["add 2 sum:1 doubles image:1", "registered: []"]
    assert connection.get_all_model_replicas() == ["sum:1:0", "sum:1:1"]
    assert lines() == [
        "INFO [test-cluster] Found 0 replicas for sum:1. Adding 2",
        "INFO [test-cluster] Successfully registered model sum:1",
        "INFO [test-cluster] Done deploying model sum:1.",
    ]


def test_deploy_of_a_known_version_starts_nothing(connection: ClipperConnection, manager: FakeManager) -> None:
    connection.register_model("sum", 1, "doubles")
    with pytest.raises(AlreadyRegisteredError):
        connection.deploy_model("sum", 1, "doubles", "image:1")
    with pytest.raises(AlreadyRegisteredError):
        connection.build_and_deploy_model("sum", 1, "doubles", "/path", "default")
    assert manager.calls == []


def test_deploy_that_is_refused_at_the_end_removes_its_replicas(
    connection: ClipperConnection, manager: FakeManager
) -> None:
    manager.on_add = lambda: connection.register_model("sum", 1, "doubles")  # somebody else was quicker
    with pytest.raises(AlreadyRegisteredError):
        connection.deploy_model("sum", 1, "doubles", "image:1", num_replicas=2)
    assert manager.calls == ["add 2 sum:1 doubles image:1", "remove [0, 1]"]


LOST_ANSWERS = [KeyboardInterrupt, lambda: FrontendUnreachableError.of("unconfirmed", cause="committed as revision 9")]


@pytest.fixture(params=LOST_ANSWERS, ids=["interrupt", "unconfirmed"])
def lost_answer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type]:
    """Return a function after which a verb is done, and its answer is lost."""

    def lose(lost: str) -> type:
        change = AdminClient.change

        def done_and_lost(self: AdminClient, verb: str, **payload: Any) -> str:
            text = change(self, verb, **payload)
            if verb == lost and not payload.get("dry_run"):
                raise request.param()
            return text

        monkeypatch.setattr(AdminClient, "change", done_and_lost)
        return type(request.param())

    return lose


def test_deploy_whose_last_answer_is_lost_keeps_the_replicas_that_serve(
    connection: ClipperConnection, manager: FakeManager, lost_answer: Callable[[str], type]
) -> None:
    """The version is current already: without its replicas nothing would serve any more."""
    with pytest.raises(lost_answer("add_model")):
        connection.build_and_deploy_model("sum", 1, "doubles", "/path", "default", num_replicas=2)

    assert connection.get_current_model_version("sum") == "1"
    assert connection.get_num_replicas("sum") == 2
    assert "remove image image-sum:1" not in manager.calls


def test_scaling_whose_last_answer_is_lost_keeps_the_replicas_that_serve(
    connection: ClipperConnection, manager: FakeManager, lost_answer: Callable[[str], type]
) -> None:
    connection.deploy_model("sum", 1, "doubles", "sum:1")
    with pytest.raises(lost_answer("set_replicas")):
        connection.set_num_replicas("sum", 3)

    assert connection.get_num_replicas("sum") == len(connection.get_all_model_replicas()) == 3


def test_deploy_whose_replicas_fail_registers_nothing(connection: ClipperConnection, manager: FakeManager) -> None:
    def fail() -> None:
        raise ReplicaStartError("died")

    manager.on_add = fail
    with pytest.raises(ReplicaStartError):
        connection.deploy_model("sum", 1, "doubles", "image:1")
    assert connection.get_all_models() == []


def test_deploy_removes_replicas_that_nobody_registered(connection: ClipperConnection, manager: FakeManager) -> None:
    manager.replicas = [Replica("sum", "1", 0, "unix:/0.sock"), Replica("other", "1", 1, "unix:/1.sock")]
    connection.deploy_model("sum", 1, "doubles", "image:1")
    assert manager.calls[1:] == ["remove [0]"]


def test_build_and_deploy(connection: ClipperConnection, manager: FakeManager) -> None:
    connection.build_and_deploy_model("sum", 1, "doubles", "/path", "base", ["label"], "registry", 0, 8, ["package"])
    assert manager.calls == ["build sum:1 base registry ['package']", "add 0 sum:1 doubles image-sum:1"]


def test_build_works_unconnected(manager: FakeManager) -> None:
    assert ClipperConnection(manager).build_model("sum", 1, "/path", "default") == "image-sum:1"
