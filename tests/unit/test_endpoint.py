"""When an endpoint answers by itself: the deadlines of its queries, on a clock that its timers do not follow."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from simulation import Model

from serving_image.endpoint import Endpoint, Traffic
from serving_image.entities import Application
from serving_image.handlers import Deferred
from serving_image.protocol import SLO_MISSED
from serving_image.serving_metrics import ApplicationMetrics, FrontendMetrics

SLO_S = 1.0


class World:
    """An endpoint on a model that never answers; its clock can run ahead of the timers, as it does between two."""

    def __init__(self) -> None:
        self.model = Model(lambda size: 3600.0)
        self.ahead_s = 0.0
        registry = self.model.registry
        traffic = Traffic(
            self.model.loop,
            lambda: self.model.loop.time() + self.ahead_s,
            self.model.cache,
            FrontendMetrics(registry),
            {("m", "1"): self.model.dispatcher},
            max_outstanding=100,
        )
        application = Application("a", "doubles", "-1.0", int(SLO_S * 1e6))
        self.endpoint = Endpoint(application, traffic, ApplicationMetrics(registry, "a"))
        self.endpoint.bind("m", self.model.dispatcher)
        self.answers: list[dict[str, object]] = []

    def ask(self, number: int) -> None:
        deferred = self.endpoint.predict(b'{"input": [%d]}' % number)
        assert isinstance(deferred, Deferred)
        deferred.future.add_done_callback(lambda future: self.answers.append(json.loads(future.result())))

    def run(self, seconds: float) -> None:
        self.model.run(seconds)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.model.dispatcher.disconnect()
    made.model.loop.close()


def test_each_query_gets_its_default_output_at_its_deadline(world: World) -> None:
    world.ask(1)
    world.run(0.5)
    world.ask(2)
    world.run(0.499)
    assert world.answers == []
    world.run(0.001)
    assert [(answer["query_id"], answer["default_explanation"]) for answer in world.answers] == [(0, SLO_MISSED)]
    world.run(0.5)
    assert [answer["query_id"] for answer in world.answers] == [0, 1]


def test_a_query_that_arrives_reminds_of_those_that_are_due(world: World) -> None:
    for number in range(3):
        world.ask(number)
    world.ahead_s = SLO_S
    world.ask(3)
    world.run(0.0)  # one turn of the loop: no timer has come
    assert [answer["query_id"] for answer in world.answers] == [0, 1, 2]


def test_who_asks_again_on_the_default_answer_is_waited_for_too(world: World) -> None:
    deferred = world.endpoint.predict(b'{"input": [1]}')
    assert isinstance(deferred, Deferred)
    deferred.future.add_done_callback(lambda _: world.ask(2))
    world.run(SLO_S)
    assert world.answers == []
    world.run(SLO_S)
    assert [answer["query_id"] for answer in world.answers] == [1]
