"""The query frontend: ``POST /<app>/predict`` for each registered application.

It keeps no state of its own: it follows the cluster state, by itself and when the management frontend says so.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence

import bottle
import msgspec

from serving_image import PROTOCOL_VERSION
from serving_image.address import Address
from serving_image.cache import PredictionCache
from serving_image.cluster_view import ClusterView
from serving_image.endpoint import Endpoint
from serving_image.errors import ServingError
from serving_image.handlers import Deferred, json_errors, read_body, serve_metrics
from serving_image.logs import configure_logging
from serving_image.metrics import TICK_S, Registry
from serving_image.protocol import decode_update
from serving_image.query import Query
from serving_image.query_openapi import query_document
from serving_image.replica_client import ReplicaClient
from serving_image.replica_slot import Connect
from serving_image.routes import Routes
from serving_image.server import DEFAULT_BODY_LIMIT_BYTES, run
from serving_image.state_follower import StateFollower
from serving_image.store import Store, open_store

DEFAULT_CACHE_BYTES = 32 * 1024 * 1024  # Clipper's
DEFAULT_MAX_OUTSTANDING = 20_000
OBJECTS_OF_A_PREDICTION = 20  # that the garbage collector knows, while it waits, with those of its connection


class FrontendHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What ``GET /health`` answers."""

    status: str = "ok"
    role: str = "query_frontend"
    cluster: str
    cluster_id: str
    revision: int
    protocol: int = PROTOCOL_VERSION


class SyncRequest(msgspec.Struct):
    """What the management frontend asks for: a revision to be served."""

    revision: int


class QueryFrontend:
    """The parts of a query frontend; they exist once the event loop runs.

    Parameters
    ----------
    store : Store
    cluster, cluster_id : str
    cache_bytes : int
        Size of the prediction cache; 0 or 1 turns it off.
    max_outstanding : int
        Predictions that may wait at one time.
    connect : callable
        Makes the connection to a replica; another one in tests.
    """

    def __init__(
        self,
        store: Store,
        cluster: str,
        cluster_id: str,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        max_outstanding: int = DEFAULT_MAX_OUTSTANDING,
        connect: Connect = ReplicaClient,
    ) -> None:
        self.cluster = cluster
        self.cluster_id = cluster_id
        self.registry = Registry(time.monotonic)
        self.routes: Routes
        self.follower: StateFollower
        self._store = store
        self._cache: PredictionCache[Query] = PredictionCache(cache_bytes)
        self._max_outstanding = max_outstanding
        self._connect = connect
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the state, connect to the replicas, follow the store."""
        view = await asyncio.to_thread(ClusterView, self._store)
        loop = asyncio.get_running_loop()
        self.routes = Routes(
            loop, view, self._cache, self.registry, self._max_outstanding, time.monotonic, self._connect
        )
        self.follower = StateFollower(view, self.routes)
        self._tasks = [loop.create_task(self.follower.follow()), loop.create_task(self._tick())]

    async def stop(self) -> None:
        """Disconnect from the replicas and from the store."""
        if self._tasks:  # else it was stopped before it had started
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.routes.disconnect()
        self._store.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.registry.tick()

    # ---- what the routes answer

    def endpoint(self, app_name: str) -> Endpoint:
        """Return the endpoint of an application, or raise not-found."""
        try:
            return self.routes.endpoints[app_name]
        except KeyError:
            raise ServingError("not-found", f"No application '{app_name}' is registered") from None

    def predict(self, app_name: str) -> bytes | Deferred[bytes] | bottle.HTTPResponse:
        """Answer ``POST /<app>/predict``."""
        return self.endpoint(app_name).predict(read_body(DEFAULT_BODY_LIMIT_BYTES))

    def update(self, app_name: str) -> bottle.HTTPResponse:
        """Answer ``POST /<app>/update``: feedback is received, and has no effect, as in Clipper."""
        self.endpoint(app_name)
        try:
            feedback = decode_update(read_body(DEFAULT_BODY_LIMIT_BYTES))
        except ServingError as error:
            return bottle.HTTPResponse(error.plain(), error.status, {"Content-Type": "text/plain", **error.headers})
        self.routes.traffic.query_id()
        text = f"Feedback received? {int(feedback.uid == 0)}"
        return bottle.HTTPResponse(text, 200, {"Content-Type": "text/plain"})

    def health(self) -> bytes:
        """Answer ``GET /health``."""
        revision = self.follower.revision
        return msgspec.json.encode(FrontendHealth(cluster=self.cluster, cluster_id=self.cluster_id, revision=revision))

    def sync(self) -> Deferred[int]:
        """Answer ``POST /-/sync`` once the revision asked for is served."""
        try:
            request = msgspec.json.decode(read_body(DEFAULT_BODY_LIMIT_BYTES), type=SyncRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ServingError("bad-json", str(error)) from None
        synced = self.routes.traffic.loop.create_task(self.follower.sync(request.revision))
        return Deferred(synced, lambda revision: msgspec.json.encode({"revision": revision}))


def build_app(frontend: QueryFrontend) -> bottle.Bottle:
    """Return the Bottle application of a query frontend."""
    app = bottle.Bottle()
    json_errors(app)
    serve_metrics(app, frontend.registry)
    app.get("/health", callback=frontend.health)
    app.get("/openapi.json", callback=lambda: msgspec.json.encode(query_document(FrontendHealth)))
    app.post("/-/sync", callback=frontend.sync)
    app.post(["/<app_name>/predict", "/<app_name>/predict/"], callback=frontend.predict)
    app.post(["/<app_name>/update", "/<app_name>/update/"], callback=frontend.update)
    return app


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m serving_image.query_frontend", description=__doc__)
    parser.add_argument("--listen", required=True, type=Address.parse, help="host:port or unix:/path.sock")
    parser.add_argument("--control", type=Address.parse, help="where the management frontend finds this one")
    parser.add_argument("--state", required=True, help="sqlite:/path.db or redis://host:port/db?namespace=NAME")
    parser.add_argument("--cluster", required=True, help="name of the cluster")
    parser.add_argument("--cluster-id", default="", help="distinguishes clusters of one name")
    parser.add_argument("--cache-size", type=int, default=DEFAULT_CACHE_BYTES, metavar="BYTES", help="0 or 1: no cache")
    parser.add_argument(
        "--max-outstanding",
        type=int,
        default=DEFAULT_MAX_OUTSTANDING,
        metavar="N",
        help="then 503; default: %(default)s",
    )
    parser.add_argument("--reuse-port", action="store_true", help="share the port with other query frontends")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve predictions until SIGTERM."""
    options = parse_arguments(arguments)
    configure_logging(options.cluster)
    frontend = QueryFrontend(
        open_store(options.state), options.cluster, options.cluster_id, options.cache_size, options.max_outstanding
    )
    # What is loaded now stays; a full collection that walks it, and the cache, would hold up every query. Nor is there
    # anything to collect as long as no more is alive than the predictions that may wait: to walk them takes 50 ms.
    gc.freeze()
    gc.set_threshold(OBJECTS_OF_A_PREDICTION * max(options.max_outstanding, DEFAULT_MAX_OUTSTANDING), 50, 100)
    listen = [address for address in (options.listen, options.control) if address]
    run(
        build_app(frontend),
        listen,
        on_start=frontend.start,
        on_stop=frontend.stop,
        reuse_port=options.reuse_port,
    )


if __name__ == "__main__":
    main()
