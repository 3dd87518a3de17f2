"""One application's endpoint: a request's inputs become queries, and each is answered by its deadline."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

import bottle

from serving_image.cache import PredictionCache
from serving_image.dispatcher import Dispatcher
from serving_image.entities import Application, VersionId
from serving_image.errors import ServingError
from serving_image.handlers import Deferred, PromptFuture, http_response
from serving_image.input_types import WireInput
from serving_image.prediction import Part, Prediction, PredictionBatch
from serving_image.protocol import (
    NO_CONNECTED_MODELS,
    SLO_MISSED,
    PredictDecoder,
    output_fragment,
    render_default,
    render_prediction,
)
from serving_image.query import Query
from serving_image.serving_metrics import DEADLINE, NO_REPLICAS, ApplicationMetrics, FrontendMetrics

EARLY_S = 0.0005  # the event loop's timers count milliseconds, so one may come half of one too early
RETRY_AFTER_S = 1


class Traffic:
    """What all endpoints of a query frontend share.

    Parameters
    ----------
    loop : event loop
    clock : callable
        Seconds, monotonic.
    cache : PredictionCache
    metrics : FrontendMetrics
    dispatchers : mapping of (model name, version) to Dispatcher
    max_outstanding : int
        Predictions that may wait for their answers at one time; beyond it a request is refused, so that memory is
        bounded whatever the clients do.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        cache: PredictionCache[Query],
        metrics: FrontendMetrics,
        dispatchers: Mapping[VersionId, Dispatcher],
        max_outstanding: int,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.cache = cache
        self.metrics = metrics
        self.dispatchers = dispatchers
        self.max_outstanding = max_outstanding
        self.outstanding = 0
        self._next_query_id = 0
        cause = f"No more than {max_outstanding} predictions may wait for their answers at one time"
        self._overloaded = http_response(ServingError("overloaded", cause, {"Retry-After": str(RETRY_AFTER_S)}))

    def query_id(self) -> int:
        """Return the next number; all applications share them."""
        number = self._next_query_id
        self._next_query_id = number + 1
        return number

    def refuse(self) -> bottle.HTTPResponse:
        """Return the answer to a request beyond the limit (made once: overload is no time for work)."""
        self.metrics.refused.count += 1
        return self._overloaded


class Endpoint:
    """What answers the queries of one application.

    All its queries have the same latency SLO, so they come due in the order in which they arrived: one timer for the
    oldest of them serves all. It counts milliseconds, so queries that arrive meanwhile remind of what has come due.

    Parameters
    ----------
    application : Application
    traffic : Traffic
    metrics : ApplicationMetrics
    """

    def __init__(self, application: Application, traffic: Traffic, metrics: ApplicationMetrics) -> None:
        self.slo_s = application.latency_slo_micros / 1e6
        self.metrics = metrics
        self._input_type = application.input_type
        self._model_name: str | None = None
        self._dispatcher: Dispatcher | None = None
        self._traffic = traffic
        self._decode = PredictDecoder(application.input_type)
        self._default_output = output_fragment(application.default_output)
        self._waiting: deque[Prediction] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._will_expire = False

    def bind(self, model_name: str | None, dispatcher: Dispatcher | None) -> None:
        """Send this application's queries to the linked model, if any, and to its current version."""
        self._model_name = model_name
        self._dispatcher = dispatcher

    def predict(self, body: bytes) -> bytes | Deferred[bytes] | bottle.HTTPResponse:
        """Answer ``POST /<app>/predict``.

        Raises
        ------
        ServingError
            bad-json, version-not-found, type-mismatch.
        """
        request = self._decode(body)
        dispatcher = self._dispatcher if request.version is None else self._version(request.version)
        traffic, inputs = self._traffic, request.inputs
        if traffic.outstanding + len(inputs) > traffic.max_outstanding:
            return traffic.refuse()
        if request.is_batch:
            batch = PredictionBatch(len(inputs), traffic.loop)
            for i, wire in enumerate(inputs):
                answer = self._ask(dispatcher, wire)
                if isinstance(answer, Prediction):
                    answer.receiver = Part(batch, i)
                else:
                    batch.set(i, answer)
            return Deferred(batch.future, _as_it_is)
        answer = self._ask(dispatcher, inputs[0])
        if not isinstance(answer, Prediction):
            return answer
        future: PromptFuture[bytes] = PromptFuture(traffic.loop)
        answer.receiver = future
        return Deferred(future, _as_it_is)

    def _version(self, version: str) -> Dispatcher | None:
        if self._model_name is None:
            return None
        dispatcher = self._traffic.dispatchers.get((self._model_name, version))
        if dispatcher is None:
            cause = f"Requested version: {version} does not exist for model: {self._model_name}"
            raise ServingError("version-not-found", cause)
        if dispatcher.version.input_type != self._input_type:
            raise ServingError(
                "type-mismatch",
                f"Requested version: {version} of model: {self._model_name} takes "
                f"{dispatcher.version.input_type}, not {self._input_type}",
            )
        return dispatcher

    def _ask(self, dispatcher: Dispatcher | None, wire: WireInput) -> bytes | Prediction:
        """Return the rendered answer for one input if it is known at once, else the prediction that waits for it."""
        traffic = self._traffic
        now = traffic.clock()
        query_id = traffic.query_id()
        self.metrics.predictions.count += 1
        if dispatcher is None or not dispatcher.has_replicas:
            return self.default(query_id, NO_REPLICAS, NO_CONNECTED_MODELS)
        cache, key = traffic.cache, (dispatcher.version.deployment, wire)
        dispatcher.metrics.cache_lookups.count += 1
        output = cache.get(key)
        if output is not None:
            dispatcher.metrics.cache_hits.count += 1
            self.metrics.latency.record((traffic.clock() - now) * 1e6)
            return render_prediction(query_id, output)
        query = cache.in_flight(key)
        is_new = query is None
        if query is None:
            query = Query(key, now, now + self.slo_s)
        prediction = Prediction(self, query_id, now, query, dispatcher)
        query.waiters.append(prediction)
        if is_new:
            cache.ask(key, query)
            dispatcher.put(query)
        self._wait(prediction)
        return prediction

    def finished(self, latency_s: float) -> None:
        """Count a prediction that no longer waits."""
        self._traffic.outstanding -= 1
        self.metrics.latency.record(latency_s * 1e6)

    def default(self, query_id: int, reason: str, explanation: str) -> bytes:
        """Count and render a default answer."""
        self.metrics.defaults.count += 1
        self.metrics.reasons[reason].count += 1
        return render_default(query_id, self._default_output, explanation)

    # ---- deadlines

    def _wait(self, prediction: Prediction) -> None:
        self._traffic.outstanding += 1
        waiting = self._waiting
        while waiting and waiting[0].done:
            waiting.popleft()
        waiting.append(prediction)
        if self._timer is None:
            self._timer = self._traffic.loop.call_later(self.slo_s, self._due)
        elif waiting[0].deadline <= prediction.arrived and not self._will_expire:
            self._will_expire = True  # under load arrivals come more often than the timer
            self._traffic.loop.call_soon(self._expire)

    def _due(self) -> None:
        """Answer what has come due, then wait for the next deadline."""
        self._expire()
        # Only now: who got an answer may have asked again within the call, and the timer is for the oldest of all.
        waiting, traffic = self._waiting, self._traffic
        self._timer = traffic.loop.call_later(waiting[0].deadline - traffic.clock(), self._due) if waiting else None

    def _expire(self) -> None:
        """Answer the predictions whose deadline has come."""
        self._will_expire = False
        waiting = self._waiting
        now = self._traffic.clock()
        while waiting:
            first = waiting[0]
            if not first.done and first.deadline > now + EARLY_S:
                break
            waiting.popleft()
            if not first.done:
                first.give_up(DEADLINE, SLO_MISSED, now)
                first.dispatcher.timed_out(first.query)


def _as_it_is(rendered: bytes) -> bytes:
    return rendered
