"""The HTTP server of all roles, as a process, on a port and on a unix socket."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

PATIENCE_S = 20.0
LIMIT_BYTES = 5_000_000
SMALL_SERVER = Path(__file__).with_name("small_server.py")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("unix", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(self._path)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class SmallServer:
    """The process, and ways to talk to it."""

    def __init__(self, folder: Path, port: int, then: str = "", limit_bytes: int = LIMIT_BYTES) -> None:
        self.port = port
        self.path = str(folder / "s.sock")
        self._is_asked = False
        self.addresses = [f"127.0.0.1:{port}", f"unix:{self.path}"]
        self.process = subprocess.Popen(
            [sys.executable, str(SMALL_SERVER), str(limit_bytes), then, *self.addresses],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "starting\n"

    def connect(self, kind: str = "tcp") -> http.client.HTTPConnection:
        if kind == "unix":
            return UnixConnection(self.path)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None, kind: str = "tcp") -> Answer:
        connection = self.connect(kind)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes | None))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def until_waiting(self, number: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.ask("GET", "/waiting").json["number"] != number:
            assert time.monotonic() < deadline

    def tell(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, once: it may be past caring when a second signal comes."""
        if not self._is_asked:
            self._is_asked = True
            self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the exit code, and what it wrote."""
        self.tell(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


NewServer = Callable[..., SmallServer]


@pytest.fixture
def new_server(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[NewServer]:
    made: list[SmallServer] = []

    def make(*args: Any, **options: Any) -> SmallServer:
        made.append(SmallServer(tmp_path, free_port(), *args, **options))
        return made[-1]

    yield make
    for server in made:
        server.end()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[SmallServer]:
    """Return one server for the tests that do not end it; it must end well."""
    server = SmallServer(tmp_path_factory.mktemp("server"), free_port())
    yield server
    code, out, _ = server.end()
    assert (code, out) == (0, "stopped\n")


# ---- requests and answers


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_both_kinds_of_socket_answer_on_one_kept_alive_connection(server: SmallServer, kind: str) -> None:
    connection = server.connect(kind)
    for i in range(3):
        connection.request("POST", f"/echo/n%20{i}%C3%A9?q=1%202", b"body")
        answer = Answer(connection.getresponse())
        assert (answer.status, answer.body.decode()) == (200, f"n {i}é q=1%202 body")
        assert answer.headers["content-type"] == "application/json"
    connection.close()


def test_what_a_handler_sets_on_the_response_arrives_and_does_not_leak(server: SmallServer) -> None:
    connection = server.connect()
    for path, headers, status, content_type, body in (
        ("/headers", {"X-Sent": "yes"}, 201, "text/plain; charset=utf-8", "é"),
        ("/plain", {}, 200, "application/json", "{}"),
        ("/deferred-headers", {}, 202, "application/json", "later"),
        ("/http-response", {}, 203, "text/x", "made"),
        ("/plain", {}, 200, "application/json", "{}"),
    ):
        connection.request("GET", path, headers=headers)
        answer = Answer(connection.getresponse())
        assert (answer.status, answer.headers["content-type"], answer.body.decode()) == (status, content_type, body)
        assert answer.headers.get("x-given") == headers.get("X-Sent")
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "error", "cause"),
    [
        ("GET", "/nowhere", 404, "Not found", "Nothing is served at /nowhere"),
        ("DELETE", "/plain", 405, "Method not allowed", "DELETE is not allowed at /plain, use GET"),
        ("GET", "/boom", 500, "Internal error", "An unexpected error occurred! ValueError: boom"),
        ("GET", "/fail-later", 503, "Overloaded", "too much of it"),
        ("GET", "/render-fails", 500, "Internal error", "ZeroDivisionError"),
        ("GET", "/abort", 418, "I'm a teapot", "I'm a teapot"),
    ],
)
def test_whatever_goes_wrong_is_answered_in_json(
    server: SmallServer, method: str, path: str, status: int, error: str, cause: str
) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.headers["content-type"], answer.json["error"]) == (status, "application/json", error)
    assert cause in answer.json["cause"]


def test_errors_carry_their_headers(server: SmallServer) -> None:
    assert server.ask("GET", "/fail-later").headers["retry-after"] == "7"
    assert server.ask("GET", "/fail-later").headers["x-clipper-error"] == "overloaded"
    assert server.ask("PUT", "/plain").headers["allow"] == "GET"


def test_head_has_no_body(server: SmallServer) -> None:
    answer = server.ask("HEAD", "/plain")
    assert (answer.status, answer.body) == (200, b"")


def test_many_deferred_answers_wait_at_the_same_time_and_each_gets_its_own(server: SmallServer) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(server.ask, "GET", f"/wait/{i}") for i in range(20)]
        server.until_waiting(20)
        for i in reversed(range(20)):
            assert server.ask("POST", f"/wake/{i}", b"word%d" % i).body == b"woken"
        assert [answer.result().body for answer in answers] == [b"%d word%d" % (i, i) for i in range(20)]


def test_a_client_that_goes_away_while_it_waits_harms_nobody(server: SmallServer) -> None:
    connection = server.connect()
    connection.request("GET", "/wait/leaver")
    server.until_waiting(1)
    connection.close()
    assert server.ask("POST", "/wake/leaver", b"too late").status == 200
    assert server.ask("GET", "/plain").status == 200


# ---- bodies


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 100_000):
        yield b"x" * min(size, 100_000)


def test_a_body_of_unknown_length_is_read_whole(server: SmallServer) -> None:
    assert server.ask("POST", "/echo/a", chunks(700), {"Transfer-Encoding": "chunked"}).body == b"a  " + b"x" * 700


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * (LIMIT_BYTES + 1), {}),
        (b"x" * (3 * LIMIT_BYTES), {}),
        (None, {"Transfer-Encoding": "chunked"}),
        (b"x" * 1001, {}),  # within the server's limit, beyond the handler's
    ],
)
def test_a_body_beyond_the_limit_is_refused_and_the_answer_can_be_read(
    server: SmallServer, body: bytes | None, headers: dict[str, str]
) -> None:
    answer = server.ask("POST", "/echo/a", chunks(2 * LIMIT_BYTES) if body is None else body, headers)
    assert (answer.status, answer.json["error"]) == (413, "Request body too large")
    assert server.ask("POST", "/echo/a", b"small").body == b"a  small"


def test_a_client_that_asks_first_is_refused_before_it_sends(server: SmallServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
        raw.sendall(
            b"POST /echo/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            % (10 * LIMIT_BYTES)
        )
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "noise", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_not_http_is_turned_away_and_harms_nobody(server: SmallServer, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
        raw.sendall(noise)
        raw.shutdown(socket.SHUT_WR)
        answer = raw.recv(65536)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert server.ask("GET", "/plain").status == 200


# ---- starting and stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_finish_then_ends_with_zero(new_server: NewServer, number: int) -> None:
    server = new_server()
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(server.ask("GET", "/wait/a")))
    client.start()
    server.until_waiting(1)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as waker:
        waker.sendall(b"POST /wake/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert waker.recv(65536).startswith(b"HTTP/1.1 100 ")  # so it is in flight too
        server.tell(number)
        waker.sendall(b"word")
        assert waker.recv(65536).endswith(b"woken")
    client.join(PATIENCE_S)
    assert answers[0].body == b"a word"
    code, out, err = server.end()
    assert (code, out, err) == (0, "stopped\n", "")
    assert not Path(server.path).exists()
    with pytest.raises(ConnectionRefusedError):
        server.ask("GET", "/plain")


def test_requests_wait_until_the_application_has_started_and_are_refused_if_it_does_not(new_server: NewServer) -> None:
    server = new_server("wait")
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(server.path)
        raw.sendall(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")  # accepted, because the socket listens
        raw.settimeout(0.1)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        raw.settimeout(PATIENCE_S)
        server.tell()
        assert raw.recv(65536).startswith(b"HTTP/1.1 503 ")
    assert server.end()[:2] == (0, "")  # what did not start is not stopped


def test_an_application_that_cannot_start_ends_the_process_with_its_error(new_server: NewServer) -> None:
    server = new_server("fail")
    _, err = server.process.communicate(timeout=PATIENCE_S)
    assert server.process.returncode == 1
    assert err.splitlines()[-1] == "RuntimeError: cannot start"


@pytest.mark.parametrize("which", [0, 1])
def test_an_address_in_use_is_an_error_that_names_it(new_server: NewServer, which: int) -> None:
    address = new_server().addresses[which]
    second = subprocess.run(
        [sys.executable, str(SMALL_SERVER), "1000", "", address], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert second.returncode == 1
    last = second.stderr.splitlines()[-1]
    assert last.startswith("OSError: ") and address in last


def test_the_socket_that_a_killed_server_left_is_taken_over(new_server: NewServer) -> None:
    first = new_server()
    first.end(signal.SIGKILL)
    assert Path(first.path).exists()
    second = new_server()
    assert second.path == first.path
    assert second.ask("GET", "/plain", kind="unix").status == 200
