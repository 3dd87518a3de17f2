"""HTTP/1.1 of one client: bytes in, bytes out, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import bottle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import VirtualLoop

from serving_image.bottle_service import (
    IDLE_TIMEOUT_S,
    LOOKED_AT,
    PAUSE_S,
    READ_TIMEOUT_S,
    ROUND_S,
    BottleService,
)
from serving_image.errors import ServingError
from serving_image.handlers import Deferred
from serving_image.http_connection import DRAIN_FACTOR, HEAD_LIMIT_BYTES, PIPELINE_LIMIT, Connection, Request

LIMIT_BYTES = 1000


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Service:
    """Notes requests; answers them at once, or when `finish` is called."""

    body_limit_bytes = LIMIT_BYTES
    date_line = b"date: today\r\n"

    def __init__(self, *, at_once: bool = True) -> None:
        self.connections: set[Connection] = set()
        self.requests: list[Request] = []
        self.errors: list[ServingError] = []
        self.at_once = at_once

    def answer(self, connection: Connection, request: Request) -> None:
        self.requests.append(request)
        if self.at_once:
            self.finish(connection)

    def finish(self, connection: Connection) -> None:
        request = self.requests[-1]
        connection.respond(200, b"x: y\r\n", request.target + b" " + request.body)

    def refuse(self, connection: Connection, error: ServingError) -> None:
        self.errors.append(error)
        connection.respond(error.status, b"", error.code.encode())


def connected(service: Service | BottleService) -> tuple[Connection, Transport]:
    connection, transport = Connection(service), Transport()
    connection.connection_made(cast(asyncio.BaseTransport, transport))
    return connection, transport


def answer(body: bytes, more: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ndate: today\r\nx: y\r\n%bcontent-length: %d\r\n\r\n%b" % (status, more, len(body), body)


def refusal(code: bytes, status: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\ndate: today\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(code)) + code


GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


# ---- requests


@given(st.lists(st.integers(1, 40), max_size=20))
def test_requests_may_come_in_any_pieces(cuts: list[int]) -> None:
    service = Service()
    connection, transport = connected(service)
    data = b"POST /a?b=%20c HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello" + GET % 2
    for cut in cuts:
        connection.data_received(data[:cut])
        data = data[cut:]
    connection.data_received(data)
    assert transport.written == answer(b"/a?b=%20c hello") + answer(b"/2 ")
    assert service.requests[0].headers == [(b"Host", b"x"), (b"X-One", b"1"), (b"Content-Length", b"5")]
    assert [request.method for request in service.requests] == ["POST", "GET"]
    assert not transport.is_closed


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a/b", "/a/b", ""),
        (b"/a%20b%C3%A9?x=%20", "/a bé", "x=%20"),
        (b"/?", "/", ""),
        (b"/a%FF", "/a\ufffd", ""),
        (b"http://host:1/a/b?c", "/a/b", "c"),
        (b"http://host", "/", ""),
        (b"*", "*", ""),
    ],
)
def test_a_target_is_a_path_and_a_query(target: bytes, path: str, query: str) -> None:
    assert Request("GET", target, [], b"").split_target() == (path, query)


def test_answers_keep_the_order_of_pipelined_requests() -> None:
    service = Service(at_once=False)
    connection, transport = connected(service)
    connection.data_received(GET % 1 + GET % 2 + GET % 3)
    assert len(service.requests) == 1
    for _ in range(3):
        service.finish(connection)
    assert transport.written == b"".join(answer(b"/%d " % i) for i in (1, 2, 3))


def test_a_client_that_sends_without_reading_answers_is_not_read_without_end() -> None:
    service = Service(at_once=False)
    connection, transport = connected(service)
    connection.data_received(b"".join(GET % i for i in range(PIPELINE_LIMIT + 1)))
    assert transport.is_paused
    service.finish(connection)
    assert not transport.is_paused
    connection.pause_writing()
    assert transport.is_paused
    connection.resume_writing()
    assert not transport.is_paused


def test_a_head_request_is_answered_without_the_body() -> None:
    connection, transport = connected(Service())
    connection.data_received(b"HEAD /1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert transport.written == answer(b"/1 ").removesuffix(b"/1 ")


@pytest.mark.parametrize(
    ("head", "said", "is_closed"),
    [
        (b"HTTP/1.1\r\nConnection: close\r\n", b"connection: close\r\n", True),
        (b"HTTP/1.0\r\n", b"connection: close\r\n", True),
        (b"HTTP/1.0\r\nConnection: keep-alive\r\n", b"connection: keep-alive\r\n", False),
    ],
)
def test_the_connection_is_kept_as_the_client_wishes(head: bytes, said: bytes, is_closed: bool) -> None:
    connection, transport = connected(Service())
    connection.data_received(b"GET /1 %bHost: x\r\n\r\n" % head)
    assert transport.written == answer(b"/1 ", said)
    assert transport.is_closed is is_closed


def test_an_upgrade_is_not_taken_but_the_request_is_answered() -> None:
    connection, transport = connected(Service())
    connection.data_received(
        b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    )
    assert transport.written.endswith(b"/1 ")
    assert transport.written.startswith(b"HTTP/1.1 200 ")


# ---- what is refused


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"BREW /1 HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
)
def test_what_is_not_http_is_refused(noise: bytes) -> None:
    connection, transport = connected(Service())
    connection.data_received(noise)
    assert transport.written == refusal(b"bad-request", b"400 Bad Request")
    assert transport.is_closed
    connection.data_received(GET % 1)  # nothing more is read
    assert transport.written.count(b"HTTP/1.1 ") == 1


def test_nonsense_behind_a_request_does_not_take_its_answer() -> None:
    service = Service(at_once=False)
    connection, transport = connected(service)
    connection.data_received(GET % 1 + b"nonsense\r\n\r\n")
    service.finish(connection)
    assert transport.written == answer(b"/1 ", b"connection: close\r\n")
    assert transport.is_closed


def test_headers_without_end_are_refused() -> None:
    connection, transport = connected(Service())
    connection.data_received(b"GET /1 HTTP/1.1\r\n")
    for i in range(HEAD_LIMIT_BYTES // 100 + 1):
        if not transport.is_closed:
            connection.data_received(b"X-%06d: %b\r\n" % (i, b"x" * 90))
    assert transport.written == refusal(b"bad-request", b"400 Bad Request")


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_large_is_drained_and_refused_and_the_connection_kept(is_chunked: bool) -> None:
    service = Service()
    connection, transport = connected(service)
    if is_chunked:
        body = b"1f4\r\n%b\r\n" % (b"x" * 500) * 4 + b"0\r\n\r\n"
        connection.data_received(b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    else:
        body = b"x" * 2000
        connection.data_received(b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n")
    for i in range(0, len(body), 300):
        connection.data_received(body[i : i + 300])
    assert transport.written.startswith(b"HTTP/1.1 413 ")
    assert not transport.is_closed
    connection.data_received(GET % 2)
    assert transport.written.endswith(answer(b"/2 "))
    assert len(service.requests) == 1


def test_a_body_without_end_is_refused_before_its_end() -> None:
    connection, transport = connected(Service())
    connection.data_received(b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(DRAIN_FACTOR * 2 + 2):
        if not transport.is_closed:
            connection.data_received(b"1f4\r\n%b\r\n" % (b"x" * 500))
    assert transport.written == refusal(b"body-too-large", b"413 Content Too Large") or transport.written == refusal(
        b"body-too-large", b"413 Request Entity Too Large"
    )
    assert transport.is_closed


def test_a_client_that_asks_before_it_sends_is_told() -> None:
    head = b"POST /1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    connection, transport = connected(Service())
    connection.data_received(head % 5)
    assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"hello")
    assert transport.written.endswith(answer(b"/1 hello"))
    connection, transport = connected(Service())
    connection.data_received(head % (LIMIT_BYTES + 1))
    assert transport.written.startswith(b"HTTP/1.1 413 ")
    assert transport.is_closed


# ---- ends


def test_a_client_that_has_gone_gets_nothing() -> None:
    service = Service(at_once=False)
    connection, transport = connected(service)
    connection.data_received(GET % 1 + GET % 2)
    connection.connection_lost(None)
    service.finish(connection)
    assert transport.written == b""
    assert service.connections == set()
    assert len(service.requests) == 1


def test_an_ending_server_answers_what_is_in_progress_and_nothing_else() -> None:
    service = Service(at_once=False)
    idle, idle_transport = connected(service)
    idle.end()
    assert idle_transport.is_closed
    connection, transport = connected(service)
    connection.data_received(GET % 1 + GET % 2)
    connection.end()
    assert not transport.is_closed
    service.finish(connection)
    assert transport.written == answer(b"/1 ", b"connection: close\r\n")
    assert transport.is_closed


def test_an_ending_server_lets_a_request_arrive_that_has_begun() -> None:
    connection, transport = connected(Service())
    connection.data_received(b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel")
    connection.end()
    connection.data_received(b"lo")
    assert transport.written == answer(b"/1 hello", b"connection: close\r\n")
    assert transport.is_closed


# ---- silent clients


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


@pytest.fixture
def service(loop: VirtualLoop) -> Iterator[BottleService]:
    """Return the service of an application that never answers."""
    app = bottle.Bottle()
    app.get("/wait", callback=lambda: Deferred(loop.create_future(), str))

    async def make() -> BottleService:
        return BottleService(app, LIMIT_BYTES)

    made = loop.run_until_complete(make())
    made.open()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("sent", "patience_s"),
    [
        (b"", IDLE_TIMEOUT_S),
        (b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel", READ_TIMEOUT_S),
        (b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", None),
    ],
)
def test_silent_clients_are_left_when_it_is_their_turn(
    loop: VirtualLoop, service: BottleService, sent: bytes, patience_s: float | None
) -> None:
    connection, transport = connected(service)
    connection.data_received(sent)
    loop.run_until_complete(asyncio.sleep(patience_s or 2 * IDLE_TIMEOUT_S))
    assert not transport.is_closed
    loop.run_until_complete(asyncio.sleep(2 * ROUND_S))
    assert transport.is_closed is (patience_s is not None)


def test_others_get_their_turn_while_many_silent_clients_are_looked_at(
    loop: VirtualLoop, service: BottleService
) -> None:
    transports = [connected(service)[1] for _ in range(10 * LOOKED_AT)]
    closed = [0]

    async def count() -> None:
        while closed[-1] < len(transports):
            await asyncio.sleep(PAUSE_S)
            closed.append(sum(transport.is_closed for transport in transports))

    loop.run_until_complete(asyncio.sleep(IDLE_TIMEOUT_S))
    loop.run_until_complete(asyncio.wait_for(count(), 2 * ROUND_S))
    assert max(after - before for before, after in pairwise(closed)) <= 2 * LOOKED_AT
