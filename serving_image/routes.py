"""What a query frontend serves: an endpoint per application and a dispatcher per model version, as the state says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from serving_image.cache import PredictionCache
from serving_image.cluster_view import ClusterView
from serving_image.dispatcher import Dispatcher
from serving_image.endpoint import Endpoint, Traffic
from serving_image.entities import Application, VersionId, make_key, parse_key
from serving_image.metrics import Registry
from serving_image.query import Query
from serving_image.replica_client import ReplicaClient
from serving_image.replica_slot import Connect
from serving_image.serving_metrics import ApplicationMetrics, FrontendMetrics, ModelMetrics

log = logging.getLogger(__name__)

DEFAULT_SLO_S = 0.1  # for the batch sizes of a model that is linked to no application


class Routes:
    """Endpoints by application name and dispatchers by model version.

    Parameters
    ----------
    loop : event loop
    view : ClusterView
        The state; everything that it holds is served at once.
    cache : PredictionCache
    registry : Registry
    max_outstanding : int
        See `serving_image.endpoint.Traffic`.
    clock : callable
        Seconds, monotonic.
    connect : callable
        Makes the connection to a replica; another one in tests.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        view: ClusterView,
        cache: PredictionCache[Query],
        registry: Registry,
        max_outstanding: int,
        clock: Callable[[], float],
        connect: Connect = ReplicaClient,
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.dispatchers: dict[VersionId, Dispatcher] = {}
        self._served: dict[str, Application] = {}  # the applications that the endpoints were made from
        self._loop = loop
        self._view = view
        self._cache = cache
        self._registry = registry
        self._clock = clock
        self._connect = connect
        self._closing: set[asyncio.Task[None]] = set()
        self.traffic = Traffic(loop, clock, cache, FrontendMetrics(registry), self.dispatchers, max_outstanding)
        keys = {make_key("version", *version) for version in view.versions}
        self.update(keys | {make_key("app", name) for name in view.applications})

    def update(self, changed: Iterable[str]) -> None:
        """Serve what the view holds now, given the keys that changed; as much work as there are changes."""
        models: set[str] = set()
        for kind, names in map(parse_key, changed):
            if kind == "app":
                models.update(self._update_application(names[0]))
            else:
                models.add(names[0])
            if kind in ("version", "replicas"):
                self._update_version((names[0], names[1]))
        for model_name in models:
            self._rebind(model_name)

    def _update_application(self, name: str) -> Iterable[str]:
        """Make, replace or end the endpoint of an application; return the models that it is or was linked to."""
        application = self._view.applications.get(name)
        served = self._served.pop(name, None)
        before = served.linked_models if served else ()
        if application is None:
            if self.endpoints.pop(name, None):
                ApplicationMetrics(self._registry, name).remove()
            return before
        self._served[name] = application
        if served is None or not _same_endpoint(served, application):
            metrics = ApplicationMetrics(self._registry, name)
            self.endpoints[name] = Endpoint(application, self.traffic, metrics)
        if not application.linked_models:
            self.endpoints[name].bind(None, None)
        return (*before, *application.linked_models)

    def _update_version(self, version_id: VersionId) -> None:
        """Make, replace or end the dispatcher of a model version, and give it its replicas."""
        version = self._view.versions.get(version_id)
        dispatcher = self.dispatchers.get(version_id)
        if dispatcher is not None and dispatcher.version != version:
            del self.dispatchers[version_id]
            task = self._loop.create_task(dispatcher.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            dispatcher = None
            if version is None:
                ModelMetrics(self._registry, *version_id).remove()
        if version is None:
            return
        if dispatcher is None:
            metrics = ModelMetrics(self._registry, *version_id)
            dispatcher = Dispatcher(version, self._loop, self._cache, metrics, self._clock, self._connect)
            self.dispatchers[version_id] = dispatcher
        replica_set = self._view.replicas.get(version_id)
        dispatcher.set_replicas(replica_set.replicas if replica_set else ())

    def _rebind(self, model_name: str) -> None:
        """Point the applications of a model at its current version, and its versions at their SLO."""
        model = self._view.models.get(model_name)
        current = self.dispatchers.get((model_name, model.current_version)) if model else None
        applications = self._view.linked_applications(model_name)
        for application in applications:
            if application.name in self.endpoints:
                self.endpoints[application.name].bind(model_name, current)
        slo_s = min((app.latency_slo_micros / 1e6 for app in applications), default=DEFAULT_SLO_S)
        for version in model.version_history if model else ():
            if (model_name, version) in self.dispatchers:
                self.dispatchers[model_name, version].slo_s = slo_s

    async def settle(self) -> None:
        """Wait until new replicas are connected and removed ones have finished; bounded."""
        pending = [dispatcher.settle() for dispatcher in self.dispatchers.values() if not dispatcher.is_settled]
        await asyncio.gather(*pending, *self._closing)

    def disconnect(self) -> None:
        """Leave all replicas at once: the process ends."""
        for dispatcher in self.dispatchers.values():
            dispatcher.disconnect()
        for task in self._closing:
            task.cancel()


def _same_endpoint(one: Application, other: Application) -> bool:
    """Whether two states of an application differ in nothing but their links."""
    return (one.input_type, one.default_output, one.latency_slo_micros) == (
        other.input_type,
        other.default_output,
        other.latency_slo_micros,
    )
