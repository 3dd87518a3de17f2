"""Both APIs against their own OpenAPI documents: no 500, no dropped connection, every answer in the schema."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

DEADLINE_S = 20.0
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    negative_data_rejection,
]
FUZZ = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)


class Frontends(NamedTuple):
    """Where the two frontends of a cluster answer."""

    query: str
    management: str


@schemathesis.deserializer("application/json")
def json_or_text(_: Any, response: schemathesis.Response) -> Any:
    """Read an answer; Clipper sends the texts of its management API as JSON too, which the documents call strings."""
    try:
        return response.json()
    except ValueError:
        return response.text


@pytest.fixture(scope="module")
def frontends(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int], session_token: str
) -> Iterator[Frontends]:
    """Start a query frontend and a management frontend, with one application registered."""
    directory = tmp_path_factory.mktemp("s")
    addresses = Frontends(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    common = ["--state", f"sqlite:{directory}/state.db", "--cluster", f"{session_token}-openapi"]
    control = f"unix:{directory}/q.sock"
    with ExitStack() as stack:
        for module, flags in (
            ("query_frontend", ["--listen", addresses.query, "--control", control]),
            ("management_frontend", ["--listen", addresses.management, "--frontend", control]),
        ):
            log = stack.enter_context((directory / f"{module}.log").open("w"))
            command = [sys.executable, "-m", f"serving_image.{module}", *flags, *common]
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(process.terminate)
        for address in addresses:
            wait_until_healthy(address)
        app = {"name": "hello", "input_type": "doubles", "default_output": "-1.0", "latency_slo_micros": 100_000}
        requests.post(f"http://{addresses.management}/admin/add_app", json=app, timeout=DEADLINE_S).raise_for_status()
        yield addresses
    for log_path in Path(directory).glob("*.log"):
        assert "Traceback" not in log_path.read_text(), log_path.read_text()


def wait_until_healthy(address: str) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while True:
        try:
            requests.get(f"http://{address}/health", timeout=DEADLINE_S).raise_for_status()
            return
        except requests.ConnectionError:
            assert time.monotonic() < give_up, f"{address} does not answer"


@pytest.fixture(scope="module")
def management_api(frontends: Frontends) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"http://{frontends.management}/openapi.json")


@pytest.fixture(scope="module")
def query_api(frontends: Frontends) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"http://{frontends.query}/openapi.json")


management_schema = schemathesis.pytest.from_fixture("management_api")
query_schema = schemathesis.pytest.from_fixture("query_api")


@management_schema.parametrize()
@FUZZ
def test_the_management_api_keeps_to_its_document(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS, timeout=DEADLINE_S)


@query_schema.parametrize()
@FUZZ
def test_the_query_api_keeps_to_its_document(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS, timeout=DEADLINE_S)


@query_schema.include(path_regex="app_name").parametrize()
@FUZZ
def test_a_registered_application_keeps_to_the_document(case: schemathesis.Case) -> None:
    case.path_parameters["app_name"] = "hello"
    case.call_and_validate(checks=CHECKS, timeout=DEADLINE_S)
