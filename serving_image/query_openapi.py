"""The OpenAPI document of the query frontend.

Which inputs an application accepts depends on its input type, and with ``json`` it is any JSON value.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from serving_image.openapi import (
    PLAIN,
    Answer,
    Operation,
    document,
    error_answers,
    first_line,
    metrics_operation,
)
from serving_image.protocol import UpdateRequest


class PredictBody(msgspec.Struct):
    """Ask for the prediction of one input, or of a batch; by any registered version of the linked model."""

    input: Any
    version: str | None = None


class PredictBatchBody(msgspec.Struct):
    """Ask for the predictions of a batch."""

    input_batch: list[Any]
    version: str | None = None


class PredictionBody(msgspec.Struct):
    """A prediction, or the default output and why."""

    query_id: int
    output: Any
    default: bool
    default_explanation: str | UnsetType = UNSET


class PredictionBatchBody(msgspec.Struct):
    """Predictions in the order of the inputs; a batch of one is answered as one prediction."""

    batch_predictions: list[PredictionBody]


def query_document(health: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the document; ``health`` is what ``GET /health`` answers."""
    asked = PredictBody | PredictBatchBody
    predicted = {
        200: (Answer(PredictionBody | PredictionBatchBody),),
        **error_answers(400, 404, 413, 503),
    }
    received = {
        200: (Answer(str, PLAIN),),
        400: (Answer(str, PLAIN),),
        **error_answers(404, 413),
    }
    return document(
        "Clipper query frontend",
        [
            Operation("POST", "/{app_name}/predict", first_line(PredictBody), predicted, asked),
            Operation("POST", "/{app_name}/update", first_line(UpdateRequest), received, UpdateRequest),
            Operation("GET", "/health", first_line(health), {200: (Answer(health),)}),
            metrics_operation(),
        ],
    )
