"""The health probe: one question over a plain socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from serving_image import probe


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """Answer one connection with fixed bytes; yields the port."""

    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_once)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_healthy_role_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    with server(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}') as port:
        assert probe.main([str(port)]) == 0

    assert capsys.readouterr().out == '{"status":"ok"}\n'


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Unavailable\r\n\r\n", b"nonsense", b""])
def test_other_answers_are_a_failure(answer: bytes) -> None:
    with server(answer) as port:
        assert probe.main([str(port)]) == 1


def test_nobody_listens(free_port: Callable[[], int]) -> None:
    assert probe.main([str(free_port()), "--wait", "0.1"]) == 1
