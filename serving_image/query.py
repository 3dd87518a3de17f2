"""One question to a model, and those who wait for its answer."""

from __future__ import annotations

from typing import Protocol

from serving_image.cache import Key
from serving_image.input_types import WireInput


class Waiter(Protocol):
    """A client's prediction that waits for a query; several may wait for the same one."""

    deadline: float
    done: bool

    def answer(self, output: bytes, now: float) -> None:
        """Answer the client with the model's output, a JSON fragment; nothing if it is answered already."""

    def give_up(self, reason: str, explanation: str, now: float) -> None:
        """Answer the client with the default output; nothing if it is answered already."""


class Query:
    """One input on its way through a model version's queue and a replica.

    Attributes
    ----------
    key : tuple
        Deployment and input: what the prediction cache knows it by.
    deadline : float, seconds
        When its answer is of no use any more to those who wait now.
    sends : int
        How many times it was sent to a replica.
    flights : int
        In how many batches in flight it is now: two if one replica hangs and another got it too.
    answered : bool
        Whether a replica has answered it.
    """

    __slots__ = ("answered", "asked", "deadline", "flights", "key", "sends", "waiters")

    def __init__(self, key: Key, asked: float, deadline: float) -> None:
        self.key = key
        self.asked = asked
        self.deadline = deadline
        self.waiters: list[Waiter] = []
        self.sends = 0
        self.flights = 0
        self.answered = False

    @property
    def wire(self) -> WireInput:
        """The input."""
        return self.key[1]

    def answer(self, output: bytes, now: float) -> None:
        """Answer everybody who waits."""
        self.answered = True
        for waiter in self.waiters:
            waiter.answer(output, now)
        self.waiters.clear()

    def give_up(self, reason: str, explanation: str, now: float) -> None:
        """Answer everybody who waits with their default output."""
        self.answered = True
        for waiter in self.waiters:
            waiter.give_up(reason, explanation, now)
        self.waiters.clear()
