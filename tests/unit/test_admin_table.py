"""Clipper's admin API, row by row: what each call returns, logs and raises, in Clipper's words.

The cluster has the application ``hello`` (doubles, linked to ``sum``), the application ``free``, the versions 1 and 2
of ``sum`` (2 is current; version 1 has two replicas, 2 has one), and ``outside:1.0``, which has no container.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fakes import FakeManager, management_app, post_through

from clipper_magic import ClipperConnection, ClipperException
from clipper_magic.exceptions import (
    AlreadyRegisteredError,
    DeployError,
    InputTypeError,
    InvalidArgumentError,
    InvalidNameError,
    LinkError,
    NotRegisteredError,
)

Call = Callable[[ClipperConnection], Any]
PREFIX = "[test-cluster] "
HEAD = re.compile(r"^\d\d-\d\d-\d\d:\d\d:\d\d:\d\d ([A-Z]+) +\[[a-z_]+\.py:\d+\] ", re.MULTILINE)


@pytest.fixture
def connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[ClipperConnection]:
    monkeypatch.chdir(tmp_path)
    loop = asyncio.new_event_loop()
    app, store = management_app(tmp_path, loop)
    monkeypatch.setattr(requests.Session, "post", post_through(app))
    made = ClipperConnection(FakeManager())
    made.start_clipper()
    made.register_application("hello", "doubles", "-1.0", 100_000)
    made.register_application("free", "doubles", "none", 20_000)
    made.deploy_model("sum", 1, "doubles", "image:1", labels=["first"], num_replicas=2)
    made.deploy_model("sum", 2, "doubles", "image:2")
    made.link_model_to_app("hello", "sum")
    made.register_model("outside", 1.0, "strings")
    capsys.readouterr()
    yield made
    store.close()
    loop.close()


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the log since the last call, without times, places and the cluster's name."""
    return HEAD.sub(r"\1 ", capsys.readouterr().err).replace(PREFIX, "").rstrip("\n")


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


REFUSED = "Received error status code: 400 and message: "
DNS_NAME = (
    "Invalid value: {}: a model {} must be a valid DNS-1123  subdomain. It must consist of lower case alphanumeric "
    "characters, '-' or '.', and must start and end with an alphanumeric character."
)

# The call, the class of what it raises, Clipper's text; a refusal of the management frontend is also logged.
REFUSALS: list[tuple[str, Call, type[ClipperException], str]] = [
    (
        "register_application twice",
        lambda c: c.register_application("hello", "doubles", "0", 1),
        AlreadyRegisteredError,
        f"{REFUSED}application 'hello' already exists",
    ),
    (
        "register_application with an output that is no text",
        lambda c: c.register_application("new", "doubles", 0, 1),
        InvalidArgumentError,
        f"{REFUSED}Error parsing JSON: Type mismatch! JSON key default_output expected type Stringbut found type "
        "Number. Expected JSON schema: ",
    ),
    (
        "register_application with an objective beyond int32",
        lambda c: c.register_application("new", "doubles", "0", 2**31),
        InvalidArgumentError,
        f"{REFUSED}Error parsing JSON: Input of type Number is not of type int. Expected JSON schema: ",
    ),
    (
        "register_application of an unknown type",
        lambda c: c.register_application("new", "vectors", "0", 1),
        InputTypeError,
        f"{REFUSED}Invalid input type 'vectors'. Known: integers, floats, doubles, bytes, strings, json",
    ),
    (
        "unregister_application of nobody",
        lambda c: c.unregister_application("nobody"),
        NotRegisteredError,
        f"{REFUSED}Application 'nobody' does not exist",
    ),
    (
        "link_model_to_app of nobody",
        lambda c: c.link_model_to_app("nobody", "sum"),
        NotRegisteredError,
        f"{REFUSED}No app with name 'nobody' exists.",
    ),
    (
        "link_model_to_app to nobody",
        lambda c: c.link_model_to_app("free", "nobody"),
        NotRegisteredError,
        f"{REFUSED}No model with name 'nobody' exists.",
    ),
    (
        "link_model_to_app twice",
        lambda c: c.link_model_to_app("hello", "sum"),
        LinkError,
        f"{REFUSED}The model with name 'sum' is already linked to 'hello'",
    ),
    (
        "link_model_to_app of another type",
        lambda c: c.link_model_to_app("free", "outside"),
        InputTypeError,
        f"{REFUSED}Model with name 'outside' has incompatible input_type 'strings'. Requested app to link to has "
        "input_type 'doubles'.",
    ),
    (
        "unlink_model_from_app without link",
        lambda c: c.unlink_model_from_app("free", "sum"),
        LinkError,
        f"{REFUSED}Cannot remove nonexistent link between app free and model sum",
    ),
    (
        "build_model with a bad name",
        lambda c: c.build_model("Sum", 1, "/path", "base"),
        InvalidNameError,
        DNS_NAME.format("Sum", "name"),
    ),
    (
        "build_model with a bad version",
        lambda c: c.build_model("sum", 1.0, "/path", "base"),
        InvalidNameError,
        DNS_NAME.format("1.0", "version"),
    ),
    (
        "deploy_model with a bad name",
        lambda c: c.deploy_model("m_1", 1, "doubles", "image"),
        InvalidNameError,
        DNS_NAME.format("m_1", "name"),
    ),
    (
        "deploy_model twice",
        lambda c: c.deploy_model("sum", 1, "doubles", "image"),
        AlreadyRegisteredError,
        f"{REFUSED}model with name 'sum' and version '1' already exists",
    ),
    (
        "register_model twice",
        lambda c: c.register_model("sum", 2, "doubles"),
        AlreadyRegisteredError,
        f"{REFUSED}model with name 'sum' and version '2' already exists",
    ),
    (
        "register_model with a batch size of none",
        lambda c: c.register_model("new", 1, "doubles", batch_size=0),
        InvalidArgumentError,
        f"{REFUSED}The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
    ),
    (
        "register_model with a colon",
        lambda c: c.register_model("a:b", 1, "doubles"),
        InvalidNameError,
        f"{REFUSED}Invalid model name supplied: a:b. Contains one of: ',', ':'",
    ),
    (
        "register_model of another type than its application",
        lambda c: c.register_model("sum", 3, "strings"),
        InputTypeError,
        f"{REFUSED}Model with name 'sum' is already linked to app 'hello' using input type 'doubles'. The input type "
        "you provided for a new version of the model, 'strings', is not compatible.",
    ),
    (
        "get_current_model_version of nobody",
        lambda c: c.get_current_model_version("nobody"),
        NotRegisteredError,
        "No versions of model nobody registered with Clipper",
    ),
    (
        "get_num_replicas of nobody",
        lambda c: c.get_num_replicas("nobody"),
        NotRegisteredError,
        "No versions of model nobody registered with Clipper",
    ),
    (
        "set_num_replicas of nobody",
        lambda c: c.set_num_replicas("nobody", 1, version=1),
        NotRegisteredError,
        "Cannot add container for non-registered model nobody:1",
    ),
    (
        "set_num_replicas without container",
        lambda c: c.set_num_replicas("outside", 1),
        DeployError,
        "Cannot resize the replica set for containerless model outside:1.0",
    ),
    (
        "get_linked_models of nobody",
        lambda c: c.get_linked_models("nobody"),
        NotRegisteredError,
        f"{REFUSED}No application with name 'nobody' exists.",
    ),
    (
        "set_model_version of nobody",
        lambda c: c.set_model_version("nobody", 1),
        NotRegisteredError,
        f"{REFUSED}Cannot set version for nonexistent model 'nobody'",
    ),
    (
        "set_model_version that is not there",
        lambda c: c.set_model_version("sum", 9),
        NotRegisteredError,
        f"{REFUSED}Cannot set non-existent version '9' for model with name 'sum'",
    ),
    # Clipper took a text for a list of letters, or looked for parts of it.
    (
        "stop_models with a text",
        lambda c: c.stop_models("sum"),
        InvalidArgumentError,
        "model_names is the string 'sum', but must be a list of names.",
    ),
    (
        "stop_inactive_model_versions with a text",
        lambda c: c.stop_inactive_model_versions("sum"),
        InvalidArgumentError,
        "model_names is the string 'sum', but must be a list of names.",
    ),
    (
        "stop_versioned_models with a text",
        lambda c: c.stop_versioned_models({"sum": "12"}),
        InvalidArgumentError,
        "model_versions_dict['sum'] is the string '12', but must be a list of names.",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_call_is_refused(
    connection: ClipperConnection,
    call: Call,
    error: type[ClipperException],
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = everything(connection)
    with pytest.raises(ClipperException) as caught:
        call(connection)
    assert type(caught.value) is error
    if text.endswith("Expected JSON schema: "):
        assert caught.value.msg.startswith(text)
    else:
        assert caught.value.msg == text
    assert caught.value.fix
    assert logged(capsys) == (f"ERROR {caught.value.msg}" if text.startswith(REFUSED) else "").rstrip()
    assert everything(connection) == before


def everything(connection: ClipperConnection) -> tuple[Any, ...]:
    """Return what is registered and what runs."""
    registered = connection.get_all_apps(verbose=True), connection.get_all_models(verbose=True)
    return registered, connection.get_all_model_replicas(), connection.cm.list_replicas()


def test_a_new_connection(capsys: pytest.CaptureFixture[str]) -> None:
    manager = FakeManager()
    made = ClipperConnection(manager)
    assert (made.cm, made.connected) == (manager, False)
    made.logger.info("of the user's own")
    assert capsys.readouterr().err.endswith(f"{PREFIX}of the user's own\n")


def test_every_method_has_its_row() -> None:
    rows = {name.partition(" ")[0] for name, *_ in ANSWERS}
    methods = {name for name in vars_of(ClipperConnection) if not name.startswith("_")}
    # Those two need a network; test_connection.py has them.
    assert methods - rows == {"start_clipper", "inspect_instance"}


def vars_of(cls: type) -> set[str]:
    return {name for each in cls.__mro__ if each is not object for name, value in vars(each).items() if callable(value)}
