"""The requests of the management API: what each body holds, and what Clipper says if it does not.

The structs are the one source of the API's schema: decoding, the schema in error texts and the OpenAPI document all
come from them.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from serving_image.entities import DEFAULT_MAX_BATCH_DELAY_MS, Replica
from serving_image.errors import ServingError
from serving_image.input_types import INPUT_TYPE_NAMES
from serving_image.json_words import BadDocument, kind, missing_key, parse_object, type_mismatch

# What the state's rules accept, for readers of the OpenAPI document. Decoding does not look at it: a refusal is the
# state's, with Clipper's text.
InputType = Annotated[str, Meta(extra_json_schema={"enum": list(INPUT_TYPE_NAMES)})]
AppIdentifier = Annotated[str, Meta(extra_json_schema={"pattern": "^[^,:/]+$"})]
ModelIdentifier = Annotated[str, Meta(extra_json_schema={"pattern": "^[^,:]+$"})]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Milliseconds = Annotated[float, Meta(ge=0, le=60_000)]


class AddApp(msgspec.Struct):
    """Register an application."""

    name: AppIdentifier
    input_type: InputType
    default_output: str
    latency_slo_micros: Annotated[Int32, Meta(extra_json_schema={"exclusiveMinimum": 0})]


class AppName(msgspec.Struct):
    """Name an application."""

    name: str


class AddModel(msgspec.Struct):
    """Register a model version; what follows ``batch_size`` is not in Clipper."""

    model_name: ModelIdentifier
    model_version: ModelIdentifier
    labels: list[ModelIdentifier]
    input_type: InputType
    container_name: str
    model_data_path: str
    batch_size: Annotated[Int32, Meta(extra_json_schema={"anyOf": [{"const": -1}, {"minimum": 1}]})]
    max_batch_delay_ms: Milliseconds = DEFAULT_MAX_BATCH_DELAY_MS
    replicas: list[Replica] = []
    dry_run: bool = False


class VersionName(msgspec.Struct):
    """Name a model version."""

    model_name: str
    model_version: str


class SetReplicas(msgspec.Struct):
    """Replace the replicas of a model version (not in Clipper)."""

    model_name: str
    model_version: str
    replicas: list[Replica]


class ModelLinks(msgspec.Struct):
    """Link an application to models, or unlink it."""

    app_name: str
    model_names: list[str]


class LinkedApp(msgspec.Struct):
    """Name an application whose links are asked for."""

    app_name: str


class Verbose(msgspec.Struct):
    """Ask for names (false) or descriptions (true)."""

    verbose: bool


class ReplicaName(msgspec.Struct):
    """Name a replica."""

    model_name: str
    model_version: str
    replica_id: Int32


class AppState(msgspec.Struct):
    """Ask for the state that a selection policy keeps for a user of an application."""

    app_name: str
    uid: Int32


class Nothing(msgspec.Struct):
    """An empty object."""


R = TypeVar("R", bound=msgspec.Struct)


def decode_request(body: bytes, request_type: type[R]) -> R:
    """Return the request in ``body``.

    Raises
    ------
    ServingError
        bad-json, with Clipper's text.
    """
    try:
        return msgspec.json.decode(body, type=request_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        why = explain(body, request_type) or str(exc)
        raise ServingError(
            "bad-json", f"Error parsing JSON: {why}. Expected JSON schema: {schema_text(request_type)}"
        ) from None


def explain(body: bytes, request_type: type[msgspec.Struct]) -> str:
    """Return why ``body`` is no such request, in Clipper's words; empty if Clipper has none for it."""
    try:
        document = parse_object(body)
        for field, hint in field_types(request_type).items():
            if field in document:
                check_value(field, document[field], hint)
            elif is_required(request_type, field):
                raise missing_key(field)
    except BadDocument as exc:
        return str(exc)
    return ""


def field_types(request_type: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the type of each field, without its bounds: ``str``, ``int``, ``bool``, ``float`` or ``list[…]``."""
    return get_type_hints(request_type)


def is_required(request_type: type[msgspec.Struct], field: str) -> bool:
    """Return whether a body must have ``field``."""
    return any(info.name == field and info.required for info in msgspec.structs.fields(request_type))


def check_value(key: str, value: Any, hint: Any) -> None:
    """Raise `BadDocument` if ``value`` is not of the type ``hint``."""
    if hint is str and not isinstance(value, str):
        raise type_mismatch(key, "String", value)
    if hint is bool and not isinstance(value, bool):
        raise BadDocument(f"Input of type {kind(value)} is not of type bool")
    if hint in (int, float) and kind(value) != "Number":
        raise type_mismatch(key, "Number", value)
    if hint is int and not (isinstance(value, int) and -(2**31) <= value < 2**31):
        raise BadDocument(f"Input of type {kind(value)} is not of type int")
    if get_origin(hint) is not list:
        return
    if not isinstance(value, list):
        raise type_mismatch(key, "Array", value)
    if get_args(hint) == (str,):
        for element in value:
            if not isinstance(element, str):
                raise BadDocument(f"Array input of type {kind(element)} is not of type string")


def schema_text(request_type: type[msgspec.Struct]) -> str:
    """Return the schema as Clipper's error texts show it: one ``"key" := type`` a line."""
    lines = [f'   "{field}" := {type_name(hint)}' for field, hint in field_types(request_type).items()]
    return "\n".join(["", "  {", ",\n".join(lines), "  }", ""])


def type_name(hint: Any) -> str:
    """Return the name of a field's type in Clipper's schemas."""
    if get_origin(hint) is list:
        return f"[{type_name(get_args(hint)[0])}]"
    names = {str: "string", int: "int", bool: "bool", float: "double", Replica: '{"replica_id", "address"}'}
    return names[hint]
