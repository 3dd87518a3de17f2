"""From queue to replicas and back, on virtual time: answers, failures, hangs, removal."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from simulation import Client, Model

from serving_image.errors import ServingError
from serving_image.protocol import NO_CONNECTED_MODELS, encode_answer
from serving_image.query import Query
from serving_image.replica_slot import checked


def model_of(replicas: int = 1, **options: object) -> Model:
    """Return a model whose batches take 10 ms."""
    return Model(lambda size: 0.010, replicas=replicas, **options)  # type: ignore[arg-type]


def asks(model: Model, number: int) -> tuple[list[Client], Callable[[], None]]:
    """Return a list and a function that asks so many questions and puts them there."""
    clients: list[Client] = []
    return clients, lambda: clients.extend(model.ask() for _ in range(number))


def test_each_query_gets_its_own_answer_in_as_few_batches_as_fit() -> None:
    model = model_of(batch_size=4)
    clients, ask = asks(model, 10)
    model.run(0.1, ask)
    assert [client.output for client in clients] == [b"%d" % len(client.query.wire) for client in clients]
    assert model.replicas[0].batches == [4, 4, 2]


def test_queries_of_one_turn_of_the_loop_go_together_even_if_the_replica_is_idle() -> None:
    model = model_of()
    model.run(0.1, *[asks(model, 1)[1] for _ in range(5)])
    assert model.replicas[0].batches == [5]


def test_a_replica_works_on_one_batch_at_a_time() -> None:
    model = model_of()
    first, ask_first = asks(model, 1)
    second, ask_second = asks(model, 1)
    model.loop.call_later(0.001, ask_second)
    model.run(0.1, ask_first)
    assert first[0].latency_s == pytest.approx(0.010)
    assert second[0].latency_s == pytest.approx(0.019)


def test_an_expired_query_is_never_sent() -> None:
    model = model_of(slo_s=0.005)
    model.run(0.001, asks(model, 1)[1])  # keeps the replica busy
    clients, ask = asks(model, 3)
    model.run(0.1, ask)
    assert {client.reason for client in clients} == {"deadline"}
    assert model.replicas[0].batches == [1]


def test_a_late_answer_still_fills_the_cache() -> None:
    model = model_of(slo_s=0.005, cache_bytes=10_000)
    clients, ask = asks(model, 1)
    model.run(0.1, ask)
    assert clients[0].reason == "deadline"
    assert model.cache.get(clients[0].query.key) == b"1"


# ---- failures


def test_the_batch_of_a_dead_replica_is_sent_once_more_to_another() -> None:
    model = model_of(replicas=2)
    clients, ask = asks(model, 3)
    model.loop.call_later(0.002, lambda: model.replicas[0].die())
    model.run(0.1, ask)
    assert [client.output for client in clients] == [b"1"] * 3
    assert [replica.batches for replica in model.replicas] == [[3], [3]]
    assert clients[0].latency_s == pytest.approx(0.012)


def test_the_batch_of_the_only_replica_waits_until_it_is_back() -> None:
    model = model_of()
    clients, ask = asks(model, 2)
    model.loop.call_later(0.002, lambda: model.replicas[0].die())
    model.loop.call_later(0.500, lambda: model.replicas[0].owner.replica_ready())
    model.run(1.0, ask)
    assert [client.output for client in clients] == [b"1", b"1"]
    assert clients[0].latency_s == pytest.approx(0.510)


def test_a_query_that_fails_twice_is_given_up_at_once_and_says_why() -> None:
    model = model_of(replicas=2)
    clients, ask = asks(model, 1)
    model.loop.call_later(0.002, lambda: model.replicas[0].die())
    model.loop.call_later(0.004, lambda: model.replicas[1].die("it was killed"))
    model.run(0.1, ask)
    assert clients[0].reason == "replica_failure"
    assert clients[0].explanation == "Replica m:1:1 failed: it was killed"
    assert clients[0].latency_s == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"nonsense", "not an answer to a batch"),
        (200, encode_answer([b"1", b"2"], {}), "it answered 1 queries with 2 outputs"),
        (500, b'{"error": "Internal error", "cause": "out of memory"}', "it answered with status 500: out of memory"),
        (502, b"<html>", "it answered with status 502: no cause given"),
    ],
)
def test_nonsense_fails_only_its_batch_and_keeps_the_replica(status: int, body: bytes, why: str) -> None:
    model = model_of()
    clients, ask = asks(model, 1)
    replica = model.replicas[0]
    right = replica.answer
    replica.answer = lambda: replica.owner.replica_answered(status, body)  # type: ignore[method-assign]
    model.run(0.1, ask)
    assert replica.batches == [1, 1]  # once, and once more
    assert clients[0].reason == "replica_failure"
    assert why in clients[0].explanation
    replica.answer = right  # type: ignore[method-assign]
    later, ask = asks(model, 1)
    model.run(0.1, ask)
    assert later[0].output == b"2" or later[0].output == b"1"


def test_a_model_error_concerns_its_input_only_and_is_not_retried() -> None:
    model = model_of()
    clients, ask = asks(model, 3)
    replica = model.replicas[0]
    answer = encode_answer([b"1", None, b"3"], {1: ("TypeError", "no such thing")})
    replica.answer = lambda: replica.owner.replica_answered(200, answer)  # type: ignore[method-assign]
    model.run(0.1, ask)
    assert [client.output for client in clients] == [b"1", None, b"3"]
    assert (clients[1].reason, clients[1].explanation) == ("model_error", "Model m:1 raised TypeError: no such thing")
    assert replica.batches == [3]


def test_an_answer_says_what_is_wrong_with_it() -> None:
    assert checked(200, encode_answer([b"1"], {}), 1).outputs == [b"1"]
    with pytest.raises(ServingError, match="it answered 2 queries with 1 outputs"):
        checked(200, encode_answer([b"1"], {}), 2)


# ---- a replica that hangs


def warmed_up(replicas: int) -> Model:
    """Return a model that has answered a few batches on each replica, so that it knows what they take."""
    model = model_of(replicas=replicas, batch_size=1)
    model.run(0.2, asks(model, 8)[1])
    return model


def test_the_batch_of_a_hung_replica_goes_to_another_in_time_and_the_hung_one_gets_no_more() -> None:
    model = warmed_up(2)
    hung, healthy = model.replicas
    hung.is_hung = True
    before = len(hung.batches)
    for _ in range(20):
        clients, ask = asks(model, 1)
        model.run(0.2, ask)
        assert clients[0].output is not None
    assert len(hung.batches) == before + 1
    assert not healthy.is_hung


def test_what_nobody_waits_for_any_more_is_forgotten_even_if_no_replica_ever_is_free() -> None:
    def queries() -> int:
        return sum(type(thing) is Query for thing in gc.get_objects())

    before = queries()
    model = model_of(slo_s=0.1, batch_size=4)
    model.replicas[0].is_hung = True
    for _ in range(50):
        model.run(0.01, lambda: [model.ask() for _ in range(20)])
    model.run(0.1)
    assert queries() - before <= 4  # those that the replica has


def test_a_hung_replica_that_answers_again_is_used_again() -> None:
    model = warmed_up(2)
    hung = model.replicas[0]
    hung.is_hung = True
    model.run(0.2, asks(model, 2)[1])
    hung.is_hung = False
    hung.answer()
    before = len(hung.batches)
    model.run(0.2, asks(model, 4)[1])
    assert len(hung.batches) > before


def test_a_batch_is_not_taken_away_from_the_only_replica() -> None:
    model = warmed_up(1)
    model.replicas[0].is_hung = True
    clients, ask = asks(model, 1)
    model.run(0.9, ask)
    assert not clients[0].done
    model.replicas[0].answer()
    assert clients[0].output is not None


# ---- several who wait for one query


def test_one_who_came_later_gets_an_answer_after_the_first_has_given_up() -> None:
    model = model_of(slo_s=0.030, cache_bytes=10_000)
    replica = model.replicas[0]
    replica.is_hung = True
    model.run(0.001, asks(model, 1)[1])  # the replica is busy with this one
    clients, ask = asks(model, 1)
    model.run(0.020, ask)
    query = clients[0].query
    model.slo_s = 0.100
    late = Client(model, query.key[1][:1], None)  # type: ignore[arg-type]
    late.query = query
    query.waiters.append(late)
    model.run(0.020)  # the first one gives up
    assert clients[0].reason == "deadline"
    replica.is_hung = False
    model.run(0.050, replica.answer)
    assert late.output == b"1"


def test_a_query_that_nobody_waits_for_any_more_is_forgotten() -> None:
    model = model_of(replicas=1, slo_s=0.005, cache_bytes=10_000)
    model.replicas[0].die()  # away
    clients, ask = asks(model, 1)
    model.run(0.001, ask, lambda: model.cache.ask(clients[0].query.key, clients[0].query))
    model.run(0.010)
    assert clients[0].reason == "deadline"
    assert model.cache.in_flight(clients[0].query.key) is None


# ---- replicas come and go


def test_removing_every_replica_answers_what_is_queued_and_finishes_what_is_in_flight() -> None:
    model = model_of(batch_size=1)
    clients, ask = asks(model, 3)
    model.run(0.001, ask)
    model.run(0.0, lambda: model.set_replicas(0))
    assert [client.reason for client in clients] == ["", "no_replicas", "no_replicas"]
    assert clients[1].explanation == NO_CONNECTED_MODELS
    model.loop.run_until_complete(model.dispatcher.settle())
    assert clients[0].output == b"1"
    assert not model.dispatcher.has_replicas
    assert model.dispatcher.is_settled


def test_a_removed_replica_finishes_its_batch_and_gets_no_other() -> None:
    model = model_of(replicas=2, batch_size=1)
    clients, ask = asks(model, 6)
    model.run(0.001, ask)
    model.run(0.2, lambda: model.set_replicas(1))
    assert all(client.output for client in clients)
    assert [len(replica.batches) for replica in model.replicas] == [5, 1]


def test_a_removed_replica_that_hangs_is_not_waited_for_without_end() -> None:
    model = model_of(replicas=2, slo_s=60.0)
    model.replicas[1].is_hung = True
    model.replicas[0].is_hung = True
    clients, ask = asks(model, 1)
    model.run(0.001, ask)
    busy, idle = (0, 1) if model.replicas[0].batches else (1, 0)
    model.replicas[idle].is_hung = False
    keep = list(model.dispatcher._slots)[idle]
    model.run(0.0, lambda: model.dispatcher.set_replicas([keep]))
    model.loop.run_until_complete(model.dispatcher.settle())
    model.run(0.1)
    assert len(model.replicas[busy].batches) == 1
    assert clients[0].output is not None  # the other one got it


def test_closing_finishes_and_disconnects() -> None:
    model = model_of()
    clients, ask = asks(model, 1)
    model.run(0.001, ask)
    model.loop.run_until_complete(model.dispatcher.close())
    assert clients[0].output == b"1"


def test_a_query_is_one_object_per_input() -> None:
    query = Query(("deployed", b"x"), 0.0, 1.0)
    assert (query.wire, query.sends, query.flights, query.answered) == (b"x", 0, 0, False)
