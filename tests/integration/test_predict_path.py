"""The predict path over real processes: management frontend, query frontends, replicas, faults under requests."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from model_directories import write_model

PATIENCE_S = 20.0
LONG_SLO_MICROS = 10_000_000
SUM = "def predict(xs):\n    return [float(sum(x)) for x in xs]\n"
MOODY = """\
def predict(xs):
    import os, signal
    if any(len(x) == 1 and x[0] == 13 for x in xs):
        os.kill(os.getpid(), signal.SIGKILL)
    return [float(sum(x)) for x in xs]
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("unix", timeout=PATIENCE_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(self._path)


class Stack:
    """The processes of one cluster, without a container manager."""

    def __init__(self, folder: Path, free_port: Callable[[], int], source: str = SUM) -> None:
        self.folder = folder
        self.query_port, self.management_port = free_port(), free_port()
        self.model = write_model(folder / "model", source)
        self.state = ["--state", f"sqlite:{folder}/state.db", "--cluster", "c", "--cluster-id", "id"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str, *options: str, listen: str, wait: bool = True) -> None:
        command = [sys.executable, "-m", f"serving_image.{module}", "--listen", listen, *options]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        if wait:
            self.until_healthy(name, listen)

    def until_healthy(self, name: str, listen: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = self.connect(listen)
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/health")
                assert connection.getresponse().status == 200
                connection.close()
                return
            connection.close()
            assert time.monotonic() < deadline and self.processes[name].poll() is None, self.log(name)

    def connect(self, listen: str) -> http.client.HTTPConnection:
        if listen.startswith("unix:"):
            return UnixConnection(Path(listen.removeprefix("unix:")))
        host, _, port = listen.partition(":")
        return http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)

    def start_replica(self, number: int, *, wait: bool = True) -> None:
        options = ("--model-dir", str(self.model), "--name", "sum-model", "--version", "1", "--input-type", "doubles")
        self.start(f"replica-{number}", "model_replica", *options, listen=self.replica(number), wait=wait)

    def start_query_frontend(self, number: int = 0, *options: str) -> None:
        name = f"query-{number}"
        self.start(
            name,
            "query_frontend",
            *self.state,
            "--control",
            self.control(number),
            *options,
            listen=f"127.0.0.1:{self.query_port}",
            wait=False,
        )
        self.until_healthy(name, self.control(number))  # at the port that they share, another one might answer

    def start_management_frontend(self, frontends: int = 1) -> None:
        options = ["--frontend", *map(self.control, range(frontends))]
        listen = f"127.0.0.1:{self.management_port}"
        self.start("management", "management_frontend", *self.state, *options, listen=listen)

    def replica(self, number: int) -> str:
        return f"unix:{self.folder}/r{number}.sock"

    def control(self, number: int) -> str:
        return f"unix:{self.folder}/q{number}.sock"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        codes = {name: process.wait(PATIENCE_S) for name, process in self.processes.items()}
        assert {name: code for name, code in codes.items() if code not in (0, -signal.SIGKILL)} == {}

    # ---- clients

    def admin(self, verb: str, **request: Any) -> str:
        connection = self.connect(f"127.0.0.1:{self.management_port}")
        connection.request("POST", f"/admin/{verb}", json.dumps(request))
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        assert response.status == 200, text
        return text

    def deploy(self, *replicas: int, batch_size: int = -1) -> None:
        self.admin(
            "add_model",
            model_name="sum-model",
            model_version="1",
            input_type="doubles",
            labels=[],
            container_name="none",
            model_data_path="none",
            batch_size=batch_size,
            replicas=[{"replica_id": number, "address": self.replica(number)} for number in replicas],
        )

    def set_replicas(self, *replicas: int) -> None:
        addresses = [{"replica_id": number, "address": self.replica(number)} for number in replicas]
        self.admin("set_replicas", model_name="sum-model", model_version="1", replicas=addresses)

    def register(self, slo_micros: int = LONG_SLO_MICROS) -> None:
        self.admin(
            "add_app", name="hello-world", input_type="doubles", default_output="-1.0", latency_slo_micros=slo_micros
        )

    def link(self) -> None:
        self.admin("add_model_links", app_name="hello-world", model_names=["sum-model"])

    def predict(self, values: list[float], connection: http.client.HTTPConnection | None = None) -> Any:
        own = connection or self.connect(f"127.0.0.1:{self.query_port}")
        own.request("POST", "/hello-world/predict", json.dumps({"input": values}))
        response = own.getresponse()
        body = response.read()
        if connection is None:
            own.close()
        assert response.status == 200, body
        return json.loads(body)

    def counters(self, number: int = 0) -> dict[str, int]:
        connection = self.connect(self.control(number))
        connection.request("GET", "/metrics")
        entries = json.loads(connection.getresponse().read())["counters"]
        connection.close()
        return {name: int(found["count"]) for entry in entries for name, found in entry.items()}


class Load:
    """Clients that ask new questions until they are told to stop; they keep every answer."""

    def __init__(self, stack: Stack, clients: int = 4) -> None:
        self.answers: list[tuple[float, Any]] = []
        self.failures: list[Exception] = []
        self._stack = stack
        self._is_over = False
        self._numbers = itertools.count(1000)
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        connection = self._stack.connect(f"127.0.0.1:{self._stack.query_port}")
        try:
            while not self._is_over:
                number = float(next(self._numbers))
                self.answers.append((number, self._stack.predict([number, 0.5], connection)))
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline and not self.failures, self.failures

    def until_more(self, number: int = 200) -> None:
        """Wait for so many answers more."""
        enough = len(self.answers) + number
        self.until(lambda: len(self.answers) >= enough)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.until_more(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Every answer must be right."""
        assert self.failures == []
        wrong = [(number, answer) for number, answer in self.answers if answer.get("output") != number + 0.5]
        assert wrong == []


@pytest.fixture
def new_stack(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def make(replicas: int = 1, *, source: str = SUM, frontends: int = 1, **options: Any) -> Stack:
        stack = Stack(tmp_path, free_port, source)
        made.append(stack)
        for number in range(replicas):
            stack.start_replica(number)
        for number in range(frontends):
            stack.start_query_frontend(number, *(["--reuse-port"] if frontends > 1 else []))
        stack.start_management_frontend(frontends)
        stack.register(**options)
        stack.deploy(*range(replicas))
        stack.link()
        return stack

    yield make
    for stack in made:
        stack.close()


NewStack = Callable[..., Stack]


def test_the_first_prediction_after_each_admin_call_sees_it(new_stack: NewStack) -> None:
    stack = new_stack()
    assert stack.predict([1.1, 2.2, 3.3]) == {"query_id": 0, "output": 6.6, "default": False}
    for _ in range(5):
        stack.admin("delete_model_links", app_name="hello-world", model_names=["sum-model"])
        assert stack.predict([1.0])["default"] is True
        stack.link()
        assert stack.predict([1.0])["output"] == 1.0
    stack.set_replicas()
    assert stack.predict([2.0])["default_explanation"] == "No connected models found for query"
    stack.set_replicas(0)
    assert stack.predict([2.0])["output"] == 2.0


def test_every_query_frontend_that_shares_the_port_sees_it_too(new_stack: NewStack) -> None:
    stack = new_stack(frontends=2)
    for number in range(40):  # a new connection each: the kernel spreads them
        assert stack.predict([float(number)])["output"] == number
    asked = [stack.counters(number)["internal:aggregate_num_predictions"] for number in range(2)]
    assert sum(asked) == 40 and min(asked) > 0
    stack.admin("delete_app", name="hello-world")
    for _ in range(10):
        connection = stack.connect(f"127.0.0.1:{stack.query_port}")
        connection.request("POST", "/hello-world/predict", b'{"input": [1.0]}')
        assert connection.getresponse().status == 404
        connection.close()


def test_killing_one_of_two_replicas_under_requests_fails_none(new_stack: NewStack) -> None:
    stack = new_stack(2)
    with Load(stack) as load:
        stack.processes["replica-0"].kill()
        stack.processes["replica-0"].wait()
        load.until_more()
        stack.start_replica(0)  # as its supervisor would, at the same address
        load.until_more()
    load.check()


def test_killing_the_only_replica_loses_no_query_when_it_is_back_in_time(new_stack: NewStack) -> None:
    stack = new_stack(1)
    with Load(stack) as load:
        stack.processes["replica-0"].kill()
        stack.processes["replica-0"].wait()
        stack.start_replica(0, wait=False)
        load.until_more()
    load.check()


def test_a_stopped_replica_is_found_out_and_its_batch_answered_by_the_other(new_stack: NewStack) -> None:
    stack = new_stack(2)
    with Load(stack) as load:
        stack.processes["replica-0"].send_signal(signal.SIGSTOP)
        load.until_more()
        stack.processes["replica-0"].send_signal(signal.SIGCONT)
        load.until_more()
    load.check()


def test_a_query_that_kills_every_replica_is_given_up_and_its_neighbours_are_not(new_stack: NewStack) -> None:
    stack = new_stack(2, source=MOODY, slo_micros=2_000_000)
    with Load(stack, clients=2) as load:
        answer = stack.predict([13.0])
        assert answer["default"] is True
        for number in range(2):
            stack.processes[f"replica-{number}"].wait(PATIENCE_S)
            stack.start_replica(number, wait=False)
        load.until_more()
    assert load.failures == []
    assert load.answers[-1][1]["default"] is False


def test_scaling_down_under_requests_loses_none(new_stack: NewStack) -> None:
    stack = new_stack(2)
    with Load(stack) as load:
        for _ in range(5):
            stack.set_replicas(1)
            load.until_more(30)
            stack.set_replicas(0, 1)
            load.until_more(30)
    load.check()


def test_a_query_frontend_that_was_killed_serves_again_without_being_told_anything(new_stack: NewStack) -> None:
    stack = new_stack(1)
    stack.processes["query-0"].kill()
    stack.processes["query-0"].wait()
    stack.start_query_frontend()
    assert stack.predict([1.0, 2.0])["output"] == 3.0
    assert stack.admin("delete_app", name="hello-world").startswith("Successfully deleted")


def test_a_frontend_that_ends_answers_what_is_in_flight(new_stack: NewStack) -> None:
    slow = "def predict(xs):\n    import time\n    time.sleep(0.5)\n    return [0.0 for x in xs]\n"
    stack = new_stack(1, source=slow)
    answers: list[Any] = []
    client = threading.Thread(target=lambda: answers.append(stack.predict([1.0])))
    client.start()
    deadline = time.monotonic() + PATIENCE_S
    while not stack.counters()["app:hello-world:num_predictions"]:
        assert time.monotonic() < deadline
    stack.processes["query-0"].terminate()
    client.join(PATIENCE_S)
    assert answers == [{"query_id": 0, "output": 0.0, "default": False}]
    assert stack.processes["query-0"].wait(PATIENCE_S) == 0


def test_a_client_that_sends_its_next_query_before_the_answer_gets_a_default_for_each_in_its_time(
    new_stack: NewStack,
) -> None:
    """Each answer is given within the one before: the frontend takes up the next request as it sends it."""
    stuck = (
        "def predict(xs):\n    import time\n    time.sleep(1.0 if xs[0][0] else 0.0)\n    return [0.0 for x in xs]\n"
    )
    stack = new_stack(1, source=stuck, slo_micros=100_000)
    request = b"POST /hello-world/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
    bodies = [b'{"input":[%d.5]}' % number for number in (7, 7, 8)]
    with socket.create_connection(("127.0.0.1", stack.query_port), PATIENCE_S) as client:
        client.sendall(b"".join(request % (len(body), body) for body in bodies))
        received = b""
        while received.count(b"default_explanation") < len(bodies):
            part = client.recv(65536)
            assert part, received
            received += part
    assert [f'"query_id":{number},'.encode() in received for number in range(3)] == [True] * 3
    assert stack.counters()["app:hello-world:deadline:num_defaults_by_reason"] == 3


def test_a_port_that_is_taken_ends_a_query_frontend_with_an_error_that_names_it(new_stack: NewStack) -> None:
    stack = new_stack(0)
    command = [sys.executable, "-m", "serving_image.query_frontend", *stack.state]
    address = f"127.0.0.1:{stack.query_port}"
    second = subprocess.run(
        [*command, "--listen", address, "--reuse-port"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert second.returncode == 1
    assert address in second.stderr.splitlines()[-1]
    assert os.path.lexists(stack.folder / "q0.sock")
