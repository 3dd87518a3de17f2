"""The OpenAPI document of the management frontend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from serving_image.openapi import Answer, Operation, document, error_answers, first_line, metrics_operation

Verbs = Mapping[str, tuple[type[msgspec.Struct], Callable[..., Any]]]


def admin_document(mutations: Verbs, queries: Verbs, health: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the document.

    Parameters
    ----------
    mutations, queries : mapping of verb to (request type, function)
        A function's annotation says what it answers, its docstring what it does.
    health : type
        What ``GET /health`` answers.
    """
    verbs = [admin_operation(verb, *entry) for verb, entry in {**mutations, **queries}.items()]
    return document(
        "Clipper management frontend",
        [
            *verbs,
            Operation("GET", "/admin/ping", "Answer PONG.", {200: (Answer(str),)}),
            Operation("GET", "/health", first_line(health), {200: (Answer(health),)}),
            metrics_operation(),
        ],
    )


def admin_operation(verb: str, request: type[msgspec.Struct], function: Callable[..., Any]) -> Operation:
    """Describe the POST of a verb."""
    answers = {
        200: (Answer(get_type_hints(function)["return"]),),
        400: (Answer(str),),
        **error_answers(413, 503),
    }
    return Operation("POST", f"/admin/{verb}", first_line(function), answers, request)
