"""Clipper's admin API, row by row: what each call returns and logs, in Clipper's words (see `admin_world`)."""

from __future__ import annotations

from typing import Any

import pytest
from admin_world import PREFIX, Call, connection, logged, management
from fakes import FakeManager

from clipper_magic import ClipperConnection

__all__ = ["connection", "management"]

HELLO = {
    "input_type": "doubles",
    "default_output": "-1.0",
    "latency_slo_micros": 100_000,
    "name": "hello",
    "linked_models": ["sum"],
}
FREE = {
    "input_type": "doubles",
    "default_output": "none",
    "latency_slo_micros": 20_000,
    "name": "free",
    "linked_models": [],
}
FIRST = {
    "model_name": "sum",
    "model_version": "1",
    "input_type": "doubles",
    "labels": ["first"],
    "container_name": "image:1",
    "model_data_path": "DEPRECATED",
    "is_current_version": False,
}
OUTSIDE = {
    "model_name": "outside",
    "model_version": "1.0",
    "input_type": "strings",
    "labels": [""],
    "container_name": "NO_CONTAINER",
    "model_data_path": "DEPRECATED",
    "is_current_version": True,
}
REPLICA = {
    "model_id": "sum:1",
    "model_name": "sum",
    "model_version": "1",
    "model_replica_id": 1,
    "input_type": "doubles",
}
STOPPED = "INFO Stopped all containers for these models and versions:\n"
DELETED = "INFO Model sum:{} was successfully deleted\n"

# The call, what it returns, what it logs.
ANSWERS: list[tuple[str, Call, Any, str]] = [
    (
        "register_application",
        lambda c: c.register_application("new", "integers", "0", 1),
        None,
        "INFO Application new was successfully registered",
    ),
    (
        "unregister_application",
        lambda c: c.unregister_application("hello"),
        None,
        "INFO Application hello was successfully unregistered",
    ),
    (
        "delete_application",
        lambda c: c.delete_application("hello"),
        None,
        "WARNING [DEPRECATED] Use 'unregister_application' API instead of this.\n"
        "INFO Application hello was successfully unregistered",
    ),
    (
        "link_model_to_app",
        lambda c: c.link_model_to_app("free", "sum"),
        None,
        "INFO Model sum is now linked to application free",
    ),
    (
        "unlink_model_from_app",
        lambda c: c.unlink_model_from_app("hello", "sum"),
        None,
        "INFO Model sum is now removed to application hello",
    ),
    (
        "build_and_deploy_model",
        lambda c: c.build_and_deploy_model("new", 1, "doubles", "/path", "base"),
        None,
        "INFO Found 0 replicas for new:1. Adding 1\n"
        "INFO Successfully registered model new:1\n"
        "INFO Done deploying model new:1.",
    ),
    ("build_model", lambda c: c.build_model("new", 1, "/path", "base"), "image-new:1", ""),
    (
        "deploy_model",
        lambda c: c.deploy_model("sum", 3, "doubles", "image:3", num_replicas=0),
        None,
        "INFO Found 0 replicas for sum:3. Adding 0\n"
        "INFO Successfully registered model sum:3\n"
        "INFO Done deploying model sum:3.",
    ),
    (
        "register_model",
        lambda c: c.register_model("My_Model", "V.1", "d"),
        None,
        "INFO Successfully registered model My_Model:V.1",
    ),
    ("get_current_model_version", lambda c: c.get_current_model_version("sum"), "2", ""),
    ("get_num_replicas", lambda c: c.get_num_replicas("sum"), 1, ""),
    ("get_num_replicas of a version", lambda c: c.get_num_replicas("sum", 1), 2, ""),
    ("get_num_replicas of nobody", lambda c: c.get_num_replicas("nobody", 1), 0, ""),
    (
        "set_num_replicas up",
        lambda c: c.set_num_replicas("sum", 3),
        None,
        "INFO Found 1 replicas for sum:2. Adding 2",
    ),
    (
        "set_num_replicas down",
        lambda c: c.set_num_replicas("sum", 0, version=1),
        None,
        "INFO Found 2 replicas for sum:1. Removing 2",
    ),
    ("set_num_replicas equal", lambda c: c.set_num_replicas("sum", 1), None, ""),
    ("get_all_apps", lambda c: c.get_all_apps(), ["free", "hello"], ""),
    ("get_all_apps verbose", lambda c: c.get_all_apps(verbose=True), [FREE, HELLO], ""),
    ("get_app_info", lambda c: c.get_app_info("hello"), HELLO, ""),
    (
        "get_app_info of nobody",
        lambda c: c.get_app_info("nobody"),
        None,
        "WARNING Application nobody is not registered with Clipper",
    ),
    ("get_linked_models", lambda c: c.get_linked_models("hello"), ["sum"], ""),
    ("get_linked_models without link", lambda c: c.get_linked_models("free"), [], ""),
    ("get_all_models", lambda c: c.get_all_models(), ["outside:1.0", "sum:1", "sum:2"], ""),
    ("get_all_models verbose", lambda c: c.get_all_models(verbose=True)[:2], [OUTSIDE, FIRST], ""),
    ("get_model_info", lambda c: c.get_model_info("sum", 1), FIRST, ""),
    (
        "get_model_info of nobody",
        lambda c: c.get_model_info("sum", 9),
        None,
        "WARNING Model sum:9 is not registered with Clipper.",
    ),
    ("get_all_model_replicas", lambda c: c.get_all_model_replicas(), ["sum:1:0", "sum:1:1", "sum:2:2"], ""),
    ("get_all_model_replicas verbose", lambda c: c.get_all_model_replicas(verbose=True)[1], REPLICA, ""),
    ("get_model_replica_info", lambda c: c.get_model_replica_info("sum", 1, 1), REPLICA, ""),
    (
        "get_model_replica_info of nobody",
        lambda c: c.get_model_replica_info("sum", 1, 7),
        None,
        "WARNING No model replica with ID 7 found for model sum:1",
    ),
    (
        "get_clipper_logs",
        lambda c: c.get_clipper_logs(),
        ["clipper_logs/one.log"],
        "INFO Created logging directory: clipper_logs/",
    ),
    ("set_model_version", lambda c: c.set_model_version("sum", 1), None, ""),
    (
        "set_model_version with replicas",
        lambda c: c.set_model_version("sum", "1", num_replicas=3),
        None,
        "INFO Found 2 replicas for sum:1. Adding 1",
    ),
    ("get_query_addr", lambda c: c.get_query_addr(), "127.0.0.1:2", ""),
    ("get_metric_addr", lambda c: c.get_metric_addr(), "127.0.0.1:3", ""),
    (
        "stop_models",
        lambda c: c.stop_models(["sum", "nobody"]),
        None,
        f"{DELETED.format(1)}{DELETED.format(2)}{STOPPED}{{'sum': ['1', '2']}}",
    ),
    ("stop_models of nobody", lambda c: c.stop_models(["su", "um"]), None, f"{STOPPED}{{}}"),
    (
        "stop_versioned_models",
        lambda c: c.stop_versioned_models({"sum": ["1", 9]}),
        None,
        f"{DELETED.format(1)}{STOPPED}{{'sum': ['1']}}",
    ),
    (
        "stop_inactive_model_versions",
        lambda c: c.stop_inactive_model_versions(["sum", "outside"]),
        None,
        f"{DELETED.format(1)}{STOPPED}{{'sum': ['1']}}",
    ),
    (
        "stop_all_model_containers",
        lambda c: c.stop_all_model_containers(),
        None,
        f"INFO Model outside:1.0 was successfully deleted\n{DELETED.format(1)}{DELETED.format(2)}"
        "INFO Stopped all Clipper model containers:\n{'outside': ['1.0'], 'sum': ['1', '2']}",
    ),
    (
        "stop_all",
        lambda c: c.stop_all(),
        None,
        "INFO Stopped all Clipper cluster and all model containers",
    ),
    ("connect", lambda c: c.connect(), None, "INFO Successfully connected to Clipper cluster at 127.0.0.1:2"),
    (
        "test_predict_function",
        lambda c: c.test_predict_function({"input_batch": ["a", "bc"]}, lambda xs: [len(x) for x in xs], "strings"),
        [1, 2],
        "",
    ),
]


@pytest.mark.parametrize(("call", "expected", "log"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_a_call_returns_and_logs(
    connection: ClipperConnection, call: Call, expected: Any, log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(connection) == expected
    assert logged(capsys) == log


def test_a_new_connection(capsys: pytest.CaptureFixture[str]) -> None:
    manager = FakeManager()
    made = ClipperConnection(manager)
    assert (made.cm, made.connected) == (manager, False)
    made.logger.info("of the user's own")
    assert capsys.readouterr().err.endswith(f"{PREFIX}of the user's own\n")


def test_every_method_has_its_row() -> None:
    rows = {name.partition(" ")[0] for name, *_ in ANSWERS}
    methods = {name for name in vars_of(ClipperConnection) if not name.startswith("_")}
    # Those two need a network; test_connection.py and test_connection_replicas.py have them.
    assert methods - rows == {"start_clipper", "inspect_instance"}


def vars_of(cls: type) -> set[str]:
    return {name for each in cls.__mro__ if each is not object for name, value in vars(each).items() if callable(value)}
