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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
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
    derandomize=True,  # the same requests every time: a failure here is a change in the code
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)


REGISTERED: dict[str, dict[str, Any]] = {
    "add_app": {"name": "hello", "input_type": "doubles", "default_output": "-1.0", "latency_slo_micros": 100_000},
    "add_model": {
        "model_name": "sum",
        "model_version": "1",
        "labels": [],
        "input_type": "doubles",
        "container_name": "NO_CONTAINER",
        "model_data_path": "DEPRECATED",
        "batch_size": -1,
        "replicas": [],
    },
}


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
    """Start a query frontend and a management frontend, with an application and a model registered."""
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
        for verb, body in REGISTERED.items():
            url = f"http://{addresses.management}/admin/{verb}"
            requests.post(url, json=body, timeout=DEADLINE_S).raise_for_status()
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


def fuzz(address: str, change: Callable[[schemathesis.Case], None] = lambda case: None) -> None:
    """Send requests that fit the document that ``address`` serves, and requests that do not."""
    api = schemathesis.openapi.from_url(f"http://{address}/openapi.json")
    session = requests.Session()  # a dropped connection would show: the requests share one
    for operation in api.get_all_operations():
        for mode in GenerationMode:
            try:
                cases = operation.ok().as_strategy(generation_mode=mode)
                fuzz_operation(cases, change, session)
            except Unsatisfiable:  # a request without parameters or body cannot be wrong
                assert mode is GenerationMode.NEGATIVE
    session.close()


def fuzz_operation(
    cases: st.SearchStrategy[schemathesis.Case],
    change: Callable[[schemathesis.Case], None],
    session: requests.Session,
) -> None:
    @FUZZ
    @given(cases)
    def keeps_to_its_document(case: schemathesis.Case) -> None:
        change(case)
        case.call_and_validate(checks=CHECKS, session=session, timeout=DEADLINE_S)

    keeps_to_its_document()


def test_the_management_api_keeps_to_its_document(frontends: Frontends) -> None:
    fuzz(frontends.management)


def test_the_query_api_keeps_to_its_document(frontends: Frontends) -> None:
    fuzz(frontends.query)


def test_a_registered_application_keeps_to_the_document(frontends: Frontends) -> None:
    def ask_hello(case: schemathesis.Case) -> None:
        if "app_name" in case.path_parameters:
            case.path_parameters["app_name"] = "hello"

    fuzz(frontends.query, ask_hello)
