"""ClipperConnection over the real rules of the management frontend and a manager that starts nothing."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from fakes import FakeManager, as_response, management_app, post_through

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

LINE = re.compile(r"\d\d-\d\d-\d\d:\d\d:\d\d:\d\d ([A-Z]+) +\[[a-z_]+\.py:\d+\] (.*)")
Lines = Callable[[], list[str]]


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return a function that returns the log lines since the last call, without time and place."""

    def read() -> list[str]:
        matches = [LINE.fullmatch(line) for line in capsys.readouterr().err.splitlines()]
        return [f"{match[1]} {match[2]}" for match in matches if match]

    return read


@pytest.fixture
def management(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let ``requests`` reach a management frontend without a socket."""
    loop = asyncio.new_event_loop()
    app, store = management_app(tmp_path, loop)
    monkeypatch.setattr(requests.Session, "post", post_through(app))
    yield
    store.close()
    loop.close()


@pytest.fixture
def connection(manager: FakeManager, management: None, lines: Lines) -> ClipperConnection:
    connected = ClipperConnection(manager)
    connected.start_clipper()
    manager.calls.clear()
    lines()
    return connected


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


# --- replicas ---


@pytest.fixture
def deployed(connection: ClipperConnection, manager: FakeManager, lines: Lines) -> ClipperConnection:
    connection.deploy_model("sum", 1, "doubles", "image:1", num_replicas=2)
    manager.calls.clear()
    lines()
    return connection


def test_scale_up_and_down(deployed: ClipperConnection, manager: FakeManager, lines: Lines) -> None:
    deployed.set_num_replicas("sum", 3)
    deployed.set_num_replicas("sum", 3)
    deployed.set_num_replicas("sum", 1, version=1)

    assert manager.calls == ["add 1 sum:1 doubles image:1", "remove [1, 2]"]
    assert deployed.get_num_replicas("sum") == 1
    assert deployed.get_all_model_replicas() == ["sum:1:0"]
    assert lines() == [
        "INFO [test-cluster] Found 2 replicas for sum:1. Adding 1",
        "INFO [test-cluster] Found 3 replicas for sum:1. Removing 2",
    ]


def test_replicas_that_the_state_kept_are_started_again(
    deployed: ClipperConnection, manager: FakeManager, lines: Lines
) -> None:
    """The state is in a Redis of the user's, and the cluster was stopped."""
    deployed.register_model("external", 1, "doubles")
    deployed.stop_all()
    manager.replicas.clear()
    manager.calls.clear()

    deployed.start_clipper()

    assert manager.calls == ["start 1 33554432", "add 2 sum:1 doubles image:1"]
    assert deployed.get_all_model_replicas() == ["sum:1:2", "sum:1:3"]


def test_scale_up_that_cannot_be_registered_removes_what_it_started(
    deployed: ClipperConnection, manager: FakeManager
) -> None:
    manager.on_add = lambda: deployed.stop_models(["sum"])
    with pytest.raises(Exception, match="does not exist"):
        deployed.set_num_replicas("sum", 3)
    assert manager.replicas == []


def test_replica_info(deployed: ClipperConnection, lines: Lines) -> None:
    assert deployed.get_model_replica_info("sum", 1, 1) == deployed.get_all_model_replicas(verbose=True)[1]
    assert deployed.get_model_replica_info("sum", 1, 9) is None
    assert lines() == ["WARNING [test-cluster] No model replica with ID 9 found for model sum:1"]


def test_versions(deployed: ClipperConnection, manager: FakeManager) -> None:
    deployed.deploy_model("sum", "two", "doubles", "image:2", num_replicas=0)
    assert deployed.get_current_model_version("sum") == "two"
    deployed.set_model_version("sum", 1, num_replicas=1)
    assert deployed.get_current_model_version("sum") == "1"
    assert deployed.get_num_replicas("sum") == 1
    deployed.stop_inactive_model_versions(["sum"])
    assert deployed.get_all_models() == ["sum:1"]


def test_stop_unregisters_before_it_stops(deployed: ClipperConnection, manager: FakeManager, lines: Lines) -> None:
    deployed.stop_versioned_models({"sum": [1, 2], "nobody": ["1"]})

    assert manager.calls == ["remove [0, 1]"]
    assert deployed.get_all_models() == []
    assert lines() == [
        "INFO [test-cluster] Model sum:1 was successfully deleted",
        "INFO [test-cluster] Stopped all containers for these models and versions:",
    ]


def test_stop_all_model_containers_takes_strays_too(deployed: ClipperConnection, manager: FakeManager) -> None:
    manager.replicas.append(Replica("stray", "1", 7, "unix:/7.sock"))
    deployed.stop_all_model_containers()
    assert (manager.replicas, deployed.get_all_models()) == ([], [])


# --- logs, metrics ---


def test_logs_make_their_directory(connection: ClipperConnection, tmp_path: Path, lines: Lines) -> None:
    directory = tmp_path / "a" / "b"
    assert connection.get_clipper_logs(str(directory)) == [str(directory / "one.log")]
    assert directory.is_dir()
    assert lines() == [f"INFO [test-cluster] Created logging directory: {directory}"]


def test_inspect_instance(connection: ClipperConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get(_: requests.Session, url: str, **__: Any) -> requests.Response:
        asked.append(url)
        return as_response(200, {}, b'{"counters": []}')

    monkeypatch.setattr(requests.Session, "get", get)
    assert connection.inspect_instance() == {"counters": []}
    assert asked == ["http://127.0.0.1:2/metrics"]


def test_inspect_instance_when_nobody_answers(connection: ClipperConnection) -> None:
    with pytest.raises(FrontendUnreachableError, match=r"query_frontend at 127\.0\.0\.1:2 does not answer"):
        connection.inspect_instance()


# --- test_predict_function ---


def kinds(xs: Any) -> Any:
    return [type(xs).__name__, *(str(getattr(x, "dtype", type(x).__name__)) for x in xs)]


@pytest.mark.parametrize(
    ("query", "input_type", "expected"),
    [
        ({"input": [1.0, 2.0]}, "doubles", ["ndarray", "float64"]),
        ({"input": [1, 2]}, "doubles", ["ndarray", "float64"]),
        ({"input_batch": [[1.0], [2.0, 3.0]]}, "floats", ["list", "float32", "float32"]),
        ({"input": [1]}, "ints", ["ndarray", "int32"]),
        ({"input": "text"}, "strings", ["list", "str"]),
        ({"input_batch": [b"a", b"b"]}, "bytes", ["list", "bytes", "bytes"]),
        ({"input": list(np.random.default_rng(0).random(3))}, "doubles", ["ndarray", "float64"]),
        ({"input": {"a": 1}}, "json", ["list", "dict"]),
        ({"input_batch": [{}, None, (1, np.int64(2)), "text"]}, "records", ["list", "dict", "NoneType", "list", "str"]),
        ({"input": {"a": float("nan")}}, "json", "Invalid input type"),
        ({"input": b"bytes"}, "json", "Invalid input type"),
        ({"input": [1.5]}, "integers", "Invalid input type"),
        ({"input": [True]}, "integers", "Invalid input type"),
        ({"input": ["a"]}, "doubles", "Invalid input type"),
        ({"input": "text"}, "bytes", "Invalid input type"),
        ({"input": [1.0]}, "vectors", "Invalid input type"),
        ({"input": 1.0}, "doubles", "Invalid input type or JSON key"),
        ({"inputs": [1.0]}, "doubles", "Invalid input type or JSON key"),
        ({"input_batch": 3}, "strings", "Invalid input type or JSON key"),
    ],
)
def test_predict_function(manager: FakeManager, query: dict[str, Any], input_type: str, expected: Any) -> None:
    assert ClipperConnection(manager).test_predict_function(query, kinds, input_type) == expected


def test_predict_function_that_cannot_be_pickled(manager: FakeManager, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as handle:
        result = ClipperConnection(manager).test_predict_function({"input": [1.0]}, lambda xs: [handle], "doubles")
    assert result == "Function does not properly serialize and reload"
