"""Writes OpenAPI documents from the types that requests are decoded with and answers are made of. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

import msgspec

from serving_image import PROTOCOL_VERSION
from serving_image.errors import ERROR_CODE_HEADER

JSON = "application/json"
PLAIN = "text/plain"
_REFERENCE = "#/components/schemas/{name}"


class ErrorBody(msgspec.Struct):
    """What went wrong: ``error`` is the kind, ``cause`` one sentence for people."""

    error: str
    cause: str


class Answer(msgspec.Struct, frozen=True):
    """A body that an operation may answer.

    Attributes
    ----------
    body : type
        ``str`` stands for text as it is, not for a JSON string; a union for one of several.
    media_type : str
        Clipper sends some texts as ``application/json``.
    """

    body: Any
    media_type: str = JSON


class Operation(msgspec.Struct, frozen=True):
    """One method of one path.

    Attributes
    ----------
    path : str
        With its parameters in braces.
    answers : dict of int to tuple of Answer
        By HTTP status.
    request : type or None
        What the JSON body is decoded with; a union for one of several.
    """

    method: str
    path: str
    summary: str
    answers: Mapping[int, tuple[Answer, ...]]
    request: Any = None


# Four lists of one-key objects, and every leaf a string: Clipper's.
MetricsBody: TypeAlias = dict[str, list[dict[str, dict[str, str]]]]


def metrics_operation() -> Operation:
    """Return ``GET /metrics``, which all roles have."""
    answers = (Answer(MetricsBody), Answer(str, PLAIN))
    return Operation("GET", "/metrics", "Counters, ratios, meters and histograms.", {200: answers})


def error_answers(*statuses: int) -> dict[int, tuple[Answer, ...]]:
    """Return the same error body for each of ``statuses``."""
    return dict.fromkeys(statuses, (Answer(ErrorBody),))


def first_line(thing: Any) -> str:
    """Return the summary of a function or class: the first line of its docstring."""
    return (thing.__doc__ or "").strip().partition("\n")[0]


def document(title: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of an API.

    Parameters
    ----------
    title : str
    operations : sequence of Operation

    Returns
    -------
    dict
        JSON-compatible.
    """
    # Every type that occurs, each once, in the order of its first use.
    types: dict[Any, None] = {}
    for operation in operations:
        answered = [answer.body for answers in operation.answers.values() for answer in answers]
        for body in [operation.request, *answered]:
            types.update(dict.fromkeys(alternatives(body)))
    types.pop(type(None), None)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = describe(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": str(PROTOCOL_VERSION)},
        "paths": paths,
        "components": {"schemas": components},
    }


def alternatives(body: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the one type itself."""
    return get_args(body) if get_origin(body) in (Union, UnionType) else (body,)


def describe(operation: Operation, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the OpenAPI object of an operation."""
    names = re.findall(r"{(\w+)}", operation.path)
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": "_".join(re.findall(r"\w+", f"{operation.method.lower()} {operation.path}")),
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {
            str(status): describe_answers(status, answers, schema_of) for status, answers in operation.answers.items()
        },
    }
    if operation.request is not None:
        schema = any_of([schema_of[body] for body in alternatives(operation.request)])
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return described


def describe_answers(status: int, answers: Sequence[Answer], schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the OpenAPI object of the answers with one status."""
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {
            answer.media_type: {"schema": any_of([schema_of[body] for body in alternatives(answer.body)])}
            for answer in answers
        },
    }
    if status >= HTTPStatus.BAD_REQUEST:
        described["headers"] = {ERROR_CODE_HEADER: {"required": True, "schema": {"type": "string"}}}
    return described


def any_of(schemas: Sequence[Any]) -> Any:
    """Return the schema of what fits one of ``schemas``."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}
