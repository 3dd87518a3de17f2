"""What the contracts share: what a backend gives them, model functions, predictions, clusters to use."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import pytest
import requests

from clipper_magic import ClipperConnection, ContainerManager
from clipper_magic.container_manager import Role
from clipper_magic.deployers import python as python_deployer
from clipper_magic.managers.waiting import wait_for

LONG_SLO_MICROS = 20_000_000  # a slow machine must not turn a prediction into a default
PATIENCE_S = 60.0
LOADING_PATIENCE_S = 240.0  # a build comes before it, and a slow machine may be building something else
NO_MODEL = "No connected models found for query"
TOO_LATE = "Failed to retrieve a prediction response within the specified latency SLO"


class Backend(Protocol):
    """One kind of container manager, as the contract sees it."""

    def manager(self, cluster_name: str, **options: Any) -> ContainerManager:
        """Return a new manager for a cluster, with free ports."""

    def manager_source(self, cluster_name: str) -> str:
        """Return Python that makes ``manager``: what a second interpreter runs."""

    def kill(self, cluster_name: str, role: Role) -> None:
        """End every process of a role as kill -9 does."""

    def leftovers(self, cluster_name: str) -> list[str]:
        """Return what is left of a cluster: processes, containers, files."""


# --- model functions ---


def feature_sum(xs: Any) -> list[str]:
    return [str(sum(x)) for x in xs]


def feature_product(xs: Any) -> list[str]:
    return [str(float(np.prod(x))) for x in xs]


def returns_too_few(xs: Any) -> list[str]:
    return [str(sum(x)) for x in xs][1:]


def imports_what_is_not_there(xs: Any) -> list[str]:
    import no_such_module_anywhere

    return [no_such_module_anywhere.call(x) for x in xs]


def ends_the_process(xs: Any) -> list[str]:
    import os

    os._exit(7)


def refuses_negative(xs: Any) -> list[str]:
    outputs = []
    for x in xs:
        if x[0] < 0:
            raise ValueError(f"negative: {x[0]}")
        outputs.append(str(x[0]))
    return outputs


def never_in_time(xs: Any) -> list[str]:
    import threading

    if any(x[0] for x in xs):  # the warm-up's zeros are quick
        threading.Event().wait(2.0)
    return [str(sum(x)) for x in xs]


def never_loads(xs: Any) -> list[str]:
    import threading

    print("trying", flush=True)
    threading.Event().wait()
    return []


def describe(xs: Any) -> list[str]:
    return [json.dumps([type(x).__name__, getattr(getattr(x, "dtype", None), "name", None), len(x)]) for x in xs]


# --- helpers ---


def post(connection: ClipperConnection, path: str, body: Any, **options: Any) -> requests.Response:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return requests.post(f"http://{connection.get_query_addr()}{path}", data=data, timeout=30, **options)


def predict(connection: ClipperConnection, app: str, value: Any, **more: Any) -> dict[str, Any]:
    answer = post(connection, f"/{app}/predict", {"input": value, **more})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def output(connection: ClipperConnection, app: str, value: Any, **more: Any) -> Any:
    return predict(connection, app, value, **more)["output"]


def serve(connection: ClipperConnection, name: str, function: Callable[[Any], Any] = feature_sum) -> None:
    """Register, deploy and link under one name."""
    python_deployer.create_endpoint(
        connection, name, "doubles", function, default_output="-1.0", slo_micros=LONG_SLO_MICROS
    )


def snapshot(connection: ClipperConnection) -> tuple[Any, ...]:
    """Return everything that is registered, what runs, and the images."""
    running = sorted(status.replica.address for status in connection.cm.list_replicas())
    models, replicas = connection.get_all_models(verbose=True), connection.get_all_model_replicas()
    return connection.get_all_apps(verbose=True), models, replicas, running, connection.cm.list_images()


@pytest.fixture(scope="module")
def connection(backend: Backend, new_cluster_name: Callable[[], str]) -> Iterator[ClipperConnection]:
    """A running cluster for the tests that leave it running; each uses names of its own."""
    started = ClipperConnection(backend.manager(new_cluster_name()))
    started.start_clipper()
    yield started
    started.stop_all()


@pytest.fixture
def own(backend: Backend, new_cluster_name: Callable[[], str]) -> Iterator[ClipperConnection]:
    """A running cluster for one test."""
    started = ClipperConnection(backend.manager(new_cluster_name()))
    started.start_clipper()
    yield started
    started.stop_all()


class Traffic:
    """Asks for predictions without a pause, in a thread, and counts the kinds of answers.

    An answer that does not come at all counts as refused: a frontend that dies may leave a connection open.
    """

    def __init__(self, connection: ClipperConnection, app: str, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s
        self._url = f"http://{connection.get_query_addr()}/{app}/predict"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.good = self.defaults = self.refused = 0
        self.strange: list[str] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        self.wait_for_good()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_for_good(self) -> None:
        before = self.good
        assert wait_for(lambda: self.good > before, PATIENCE_S), "no prediction came back"

    def _run(self) -> None:
        value = 0
        while not self._stopping.is_set():
            value += 1
            try:
                answer = requests.post(self._url, json={"input": [value, 1.0]}, timeout=self._timeout_s)
            except (requests.ConnectionError, requests.Timeout):
                self.refused += 1
                self._stopping.wait(0.01)
                continue
            self._count(answer, value + 1.0)

    def _count(self, answer: requests.Response, expected: float) -> None:
        if answer.status_code != 200:
            self.strange.append(answer.text)
        elif answer.json()["default"]:
            self.defaults += 1
        elif answer.json()["output"] == expected:
            self.good += 1
        else:
            self.strange.append(answer.text)
