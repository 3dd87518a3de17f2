"""Futures that call back at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import bottle
import pytest
from wsgi_client import call

from serving_image.handlers import Deferred, PromptFuture, json_errors


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def test_a_prompt_future_calls_back_within_set_result(loop: asyncio.AbstractEventLoop) -> None:
    future: PromptFuture[bytes] = PromptFuture(loop)
    seen: list[bytes] = []
    future.add_done_callback(lambda done: seen.append(done.result()))
    assert not future.done()
    future.set_result(b"6.6")
    assert future.done()
    assert seen == [b"6.6"]


def test_a_prompt_future_whose_result_is_there_calls_back_when_it_is_asked_to(loop: asyncio.AbstractEventLoop) -> None:
    future: PromptFuture[bytes] = PromptFuture(loop)
    future.set_result(b"6.6")
    seen: list[bytes] = []
    future.add_done_callback(lambda done: seen.append(done.result()))
    assert seen == [b"6.6"]


def test_under_wsgi_it_is_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    app = bottle.Bottle()
    json_errors(app)
    future: PromptFuture[bytes] = PromptFuture(loop)
    app.get("/wait", callback=lambda: Deferred(future, bytes.upper))
    loop.call_soon(future.set_result, b'"later"')
    assert call(app, "GET", "/wait").body == b'"LATER"'
