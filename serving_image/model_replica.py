"""The model replica: one process that answers batches for one model version.

A model exception never ends it, whatever its type. It outlives the process that started it; SIGTERM lets the batch
in flight finish.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
import time
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import bottle
import msgspec

from serving_image import PROTOCOL_VERSION
from serving_image.address import Address
from serving_image.error_log import ErrorLog
from serving_image.errors import ServingError
from serving_image.handlers import json_errors, read_body, serve_metrics
from serving_image.input_types import canonical
from serving_image.logs import configure_logging
from serving_image.metrics import Registry
from serving_image.model_loader import ModelLoadError, load_model, python_version
from serving_image.model_runner import ModelRunner
from serving_image.protocol import (
    MESSAGEPACK,
    decode_batch,
    decode_json_batch,
    encode_answer,
    encode_json_answer,
)
from serving_image.server import run
from serving_image.user_metrics import of_this_process
from serving_image.warning_log import log_warnings_once

BODY_LIMIT_BYTES = 1 << 30  # a batch of many inputs, each of which the query frontend has already limited
EXIT_LOAD_ERROR = 3


class ReplicaHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What ``GET /health`` answers."""

    status: str = "ok"
    role: str = "model_replica"
    name: str
    version: str
    input_type: str
    python: str = python_version()
    protocol: int = PROTOCOL_VERSION


class ReplicaRegistry(Registry):
    """What the replica measures; for Prometheus, also what its model function reports."""

    def prometheus(self) -> bytes:
        """Return the text format of Prometheus."""
        return super().prometheus() + of_this_process().prometheus()


class ReplicaMetrics:
    """What a replica measures of each batch, under the names of Clipper's model containers.

    Parameters
    ----------
    registry : Registry
        Where ``GET /metrics`` reads it.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._batches = registry.counter("mc:pred")
        self._stages = [registry.histogram(f"mc:{stage}", "ms") for stage in ("recv_time", "parse_time", "handle_time")]
        self._end_to_end = registry.histogram("mc:end_to_end_latency", "ms")

    def record(self, *moments_s: float) -> None:
        """Record a batch, given when it began, was received, was parsed and was answered (seconds, monotonic)."""
        self._batches.count += 1
        for stage, (start_s, end_s) in zip(self._stages, pairwise(moments_s), strict=True):
            stage.record(1e3 * (end_s - start_s))
        self._end_to_end.record(1e3 * (moments_s[-1] - moments_s[0]))


def build_app(health: ReplicaHealth, runner: ModelRunner, errors: ErrorLog, metrics: ReplicaMetrics) -> bottle.Bottle:
    """Return the replica's application.

    Parameters
    ----------
    health : ReplicaHealth
        Which model version this is.
    runner : ModelRunner
        The loaded model.
    errors : ErrorLog
        Where ``runner`` records exceptions.
    metrics : ReplicaMetrics
    """
    app = bottle.Bottle()
    json_errors(app)
    serve_metrics(app, metrics.registry)

    @app.post("/predict")  # type: ignore[untyped-decorator]
    def predict() -> bytes:
        begun_s = time.perf_counter()
        body = read_body(BODY_LIMIT_BYTES)
        received_s = time.perf_counter()
        # Anything else is taken for JSON: curl sends it with the content type of a form.
        packed = bottle.request.content_type == MESSAGEPACK
        inputs = decode_batch(body) if packed else decode_json_batch(body, health.input_type)
        parsed_s = time.perf_counter()
        answer = runner.run(inputs)
        metrics.record(begun_s, received_s, parsed_s, time.perf_counter())
        if not packed:
            return encode_json_answer(answer.outputs, answer.errors)
        bottle.response.content_type = MESSAGEPACK
        return encode_answer(answer.outputs, answer.errors)

    app.get("/health", callback=lambda: msgspec.json.encode(health))
    app.get("/errors", callback=lambda: msgspec.json.encode({"errors": errors.groups()}))
    return app


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line; each falls back to the environment variable that Clipper names."""
    parser = argparse.ArgumentParser(prog="python -m serving_image.model_replica", description=__doc__)
    parser.add_argument("--listen", required=True, type=Address.parse, help="unix:/path.sock or host:port")
    for option, variable in (
        ("--model-dir", "CLIPPER_MODEL_PATH"),
        ("--name", "CLIPPER_MODEL_NAME"),
        ("--version", "CLIPPER_MODEL_VERSION"),
        ("--input-type", "CLIPPER_INPUT_TYPE"),
    ):
        default = os.environ.get(variable)
        parser.add_argument(option, default=default, required=default is None, help=f"default: ${variable}")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load a model, then serve it until SIGTERM; return the exit code (3: the model cannot be loaded)."""
    options = parse_arguments(arguments)
    configure_logging()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what a model prints is in the log at once, not at exit
    errors = ErrorLog()
    try:
        input_type = canonical(options.input_type)
        runner = load_model(Path(options.model_dir), input_type, errors)
    except (ModelLoadError, ServingError) as exc:
        if exc.__cause__ is not None:
            traceback.print_exception(exc.__cause__)
        # Last of all, because container managers quote the last lines of the log.
        sys.stderr.write(f"ModelLoadError: {exc}\n")
        sys.stderr.flush()
        return EXIT_LOAD_ERROR
    log_warnings_once()
    gc.collect()
    gc.freeze()  # else each full collection walks the model and its libraries: 25 ms for scikit-learn's, in one batch
    health = ReplicaHealth(name=options.name, version=options.version, input_type=input_type)
    metrics = ReplicaMetrics(ReplicaRegistry(time.monotonic))
    run(build_app(health, runner, errors, metrics), [options.listen], body_limit_bytes=BODY_LIMIT_BYTES)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    if code:
        os._exit(code)  # a thread that the model left behind must not keep a failed replica alive
