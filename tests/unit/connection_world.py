"""A ClipperConnection over the real rules of the management frontend and a manager that starts nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from fakes import FakeManager, management_app, post_through

from clipper_magic import ClipperConnection

LINE = re.compile(r"\d\d-\d\d-\d\d:\d\d:\d\d:\d\d ([A-Z]+) +\[[a-z_]+\.py:\d+\] (.*)")
Lines = Callable[[], list[str]]


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return a function that returns the log lines since the last call, without time and place."""

    def read() -> list[str]:
        matches = [LINE.fullmatch(line) for line in capsys.readouterr().err.splitlines()]
        return [f"{match[1]} {match[2]}" for match in matches if match]

    return read


@pytest.fixture
def management(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let ``requests`` reach a management frontend without a socket."""
    loop = asyncio.new_event_loop()
    app, store = management_app(tmp_path, loop)
    monkeypatch.setattr(requests.Session, "post", post_through(app))
    yield
    store.close()
    loop.close()


@pytest.fixture
def connection(manager: FakeManager, management: None, lines: Lines) -> ClipperConnection:
    connected = ClipperConnection(manager)
    connected.start_clipper()
    manager.calls.clear()
    lines()
    return connected
