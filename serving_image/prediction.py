"""The predictions that clients wait for: one input each, alone or as a part of an ``input_batch``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from serving_image.handlers import PromptFuture
from serving_image.protocol import render_batch, render_prediction
from serving_image.query import Query

if TYPE_CHECKING:
    from serving_image.dispatcher import Dispatcher
    from serving_image.endpoint import Endpoint


class Receiver(Protocol):
    """Who gets a rendered prediction: the future of a request, or a place in a batch."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: bytes, /) -> None:
        """Take the rendered prediction."""


class Prediction:
    """One input of one client that waits for its answer (a `serving_image.query.Waiter`).

    Attributes
    ----------
    query : Query
        What it waits for, maybe together with others.
    receiver : Receiver
        Who gets the rendered answer.
    """

    __slots__ = ("arrived", "deadline", "dispatcher", "done", "endpoint", "query", "query_id", "receiver")

    receiver: Receiver

    def __init__(self, endpoint: Endpoint, query_id: int, arrived: float, query: Query, dispatcher: Dispatcher) -> None:
        self.endpoint = endpoint
        self.query_id = query_id
        self.arrived = arrived
        self.deadline = arrived + endpoint.slo_s
        self.query = query
        self.dispatcher = dispatcher
        self.done = False

    def answer(self, output: bytes, now: float) -> None:
        """Answer with the model's output, a JSON fragment."""
        if not self.done:
            self._finish(render_prediction(self.query_id, output), now)

    def give_up(self, reason: str, explanation: str, now: float) -> None:
        """Answer with the application's default output."""
        if not self.done:
            self._finish(self.endpoint.default(self.query_id, reason, explanation), now)

    def _finish(self, rendered: bytes, now: float) -> None:
        self.done = True
        self.endpoint.finished(now - self.arrived)
        if not self.receiver.done():
            self.receiver.set_result(rendered)


class PredictionBatch:
    """The answer to an ``input_batch``, as far as it is known.

    Attributes
    ----------
    future : PromptFuture
        Done with the rendered answer when every prediction is there.
    """

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.future: PromptFuture[bytes] = PromptFuture(loop)
        self._predictions: list[bytes] = [b""] * size
        self._missing = size
        if not size:
            self.future.set_result(render_batch([]))

    def set(self, index: int, prediction: bytes) -> None:
        """Put a rendered prediction in its place."""
        self._predictions[index] = prediction
        self._missing -= 1
        if not self._missing and not self.future.done():
            self.future.set_result(render_batch(self._predictions))


class Part:
    """One place in a batch, as a receiver."""

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: PredictionBatch, index: int) -> None:
        self._batch = batch
        self._index = index

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._batch.future.done()

    def set_result(self, result: bytes, /) -> None:
        """Put the prediction in its place."""
        self._batch.set(self._index, result)
