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
# The same requests every time (as far as Hypothesis goes: it also draws from the constants of the modules that are
# loaded), so that a failure is a change in the code and not luck. A search for new failures is another thing:
# derandomize=False and some thousand examples, by hand.
FUZZ = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
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
    "add_model_links": {"app_name": "hello", "model_names": ["sum"]},
}
REMOVED: dict[str, tuple[str, dict[str, Any]]] = {
    "add_app": ("delete_app", {"name": "hello"}),
    "add_model": ("delete_versioned_model", {"model_name": "sum", "model_version": "1"}),
    "add_model_links": ("delete_model_links", {"app_name": "hello", "model_names": ["sum"]}),
}
# What half of the requests name instead of the noise that was made for them, so that they get beyond "does not exist".
KNOWN: dict[str, Any] = {
    **REGISTERED["add_app"],
    **REGISTERED["add_model"],
    **REGISTERED["add_model_links"],
    "uid": 0,
    "replica_id": 0,
    "input": [1.5, 2.5],
    "version": "1",
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


def register(management: str, operation: str) -> None:
    """See to it that everything is registered, whatever a request before has removed, but what `operation` adds."""
    removed = [entry for verb, entry in REMOVED.items() if operation.endswith(f"/{verb}")]
    for verb, body in (*REGISTERED.items(), *removed):
        answer = requests.post(f"http://{management}/admin/{verb}", json=body, timeout=DEADLINE_S)
        assert answer.status_code in (200, 400), answer.text  # 400: it is so already


def name_what_is_known(case: schemathesis.Case) -> None:
    """Put known names into half of the requests that fit the document (the others must stay wrong)."""
    if case.meta.generation.mode is GenerationMode.POSITIVE and len(repr(case.body)) % 2:
        for fields in (case.path_parameters, case.body):
            if isinstance(fields, dict):
                fields.update({key: KNOWN[key] for key in KNOWN.keys() & fields.keys()})


def fuzz(address: str, management: str) -> dict[str, set[int]]:
    """Send requests that fit the document that ``address`` serves, and requests that do not.

    Return the statuses of the answers to the former, by operation.
    """
    api = schemathesis.openapi.from_url(f"http://{address}/openapi.json")
    session = requests.Session()  # a dropped connection would show: the requests share one
    answered: dict[str, set[int]] = {}
    for operation in (found.ok() for found in api.get_all_operations()):
        for mode in GenerationMode:
            try:
                statuses = fuzz_operation(operation.as_strategy(generation_mode=mode), management, session)
            except Unsatisfiable:  # a request without parameters or body cannot be wrong
                assert mode is GenerationMode.NEGATIVE
            else:
                if mode is GenerationMode.POSITIVE:
                    answered[operation.label] = statuses
    session.close()
    return answered


def fuzz_operation(cases: st.SearchStrategy[schemathesis.Case], management: str, session: requests.Session) -> set[int]:
    statuses = set()

    @FUZZ
    @given(cases)
    def keeps_to_its_document(case: schemathesis.Case) -> None:
        register(management, case.path)
        name_what_is_known(case)
        answer = case.call_and_validate(checks=CHECKS, session=session, timeout=DEADLINE_S)
        statuses.add(answer.status_code)

    keeps_to_its_document()
    return statuses


@pytest.mark.parametrize("role", Frontends._fields)
def test_an_api_keeps_to_its_document(frontends: Frontends, role: str) -> None:
    answered = fuzz(getattr(frontends, role), frontends.management)
    assert [label for label, statuses in answered.items() if 200 not in statuses] == [], "nothing but refusals"
