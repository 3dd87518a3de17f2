"""Clipper's admin API, row by row: what each call refuses, in Clipper's words (see `admin_world`)."""

from __future__ import annotations

from typing import Any

import pytest
from admin_world import Call, connection, logged, management

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

__all__ = ["connection", "management"]

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
