"""The management frontend: Clipper's ``/admin`` API over the cluster state.

A mutation answers when it is committed *and* each query frontend serves it, so the next prediction sees it.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias

import bottle
import msgspec
from msgspec.structs import asdict

from serving_image import PROTOCOL_VERSION, admin_requests, admin_views
from serving_image.address import Address
from serving_image.admin_openapi import admin_document
from serving_image.admin_queries import QUERIES, Query
from serving_image.admin_requests import decode_request
from serving_image.cluster_view import ClusterView
from serving_image.errors import ServingError
from serving_image.frontend_sync import CONFIRM_TIMEOUT_S, FrontendSync
from serving_image.handlers import JSON, Deferred, json_errors, read_body, serve_metrics
from serving_image.logs import configure_logging
from serving_image.metrics import Registry
from serving_image.server import run
from serving_image.state import ClusterState
from serving_image.store import StoreUnavailable, open_store

BODY_LIMIT_BYTES = 16 << 20

Mutation: TypeAlias = Callable[..., str]
Answer: TypeAlias = bytes | str | Deferred[list[Address]] | bottle.HTTPResponse
Handler: TypeAlias = Callable[[], Answer]

# What changes the state: the request's fields are the arguments of the verb, which returns Clipper's text.
MUTATIONS: Mapping[str, tuple[type[msgspec.Struct], Mutation]] = MappingProxyType(
    {
        "add_app": (admin_requests.AddApp, ClusterState.add_application),
        "delete_app": (admin_requests.AppName, ClusterState.delete_application),
        "add_model_links": (admin_requests.ModelLinks, ClusterState.add_model_links),
        "delete_model_links": (admin_requests.ModelLinks, ClusterState.delete_model_links),
        "add_model": (admin_requests.AddModel, ClusterState.add_model),
        "delete_versioned_model": (admin_requests.VersionName, ClusterState.delete_versioned_model),
        "set_model_version": (admin_requests.VersionName, ClusterState.set_model_version),
        "set_replicas": (admin_requests.SetReplicas, ClusterState.set_replicas),
    }
)


class RevisionSync(Protocol):
    """Whoever tells the query frontends of a revision (`serving_image.frontend_sync.FrontendSync`)."""

    def push(self, revision: int) -> asyncio.Future[list[Address]]:
        """Return a future of the frontends that did not confirm ``revision``."""
        ...


class ManagementHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What ``GET /health`` answers."""

    status: str = "ok"
    role: str = "management_frontend"
    cluster: str
    cluster_id: str
    revision: int
    protocol: int = PROTOCOL_VERSION


class ManagementFrontend:
    """The parts of a management frontend.

    Parameters
    ----------
    state : ClusterState
    sync : RevisionSync
    registry : Registry
        Where it counts its requests, and those that it refused.
    cluster, cluster_id : str
        Name of the cluster, and what distinguishes it from another of that name.
    """

    def __init__(
        self, state: ClusterState, sync: RevisionSync, registry: Registry, cluster: str, cluster_id: str
    ) -> None:
        self.registry = registry
        self._state = state
        self._sync = sync
        self._cluster = cluster
        self._cluster_id = cluster_id
        self._requests = registry.counter("management:requests")
        self._refused = registry.counter("management:refused_requests")
        self.queries: dict[str, tuple[type[msgspec.Struct], Query]] = {
            **QUERIES,
            "get_status": (admin_requests.Nothing, self.get_status),
        }

    def get_status(self, view: ClusterView, _: admin_requests.Nothing) -> admin_views.Status:
        """Answer everything: applications, models with versions and replicas, the revision (not in Clipper)."""
        return admin_views.status(view, self._cluster, self._cluster_id)

    def health(self) -> bytes:
        """Answer ``GET /health``."""
        return msgspec.json.encode(
            ManagementHealth(cluster=self._cluster, cluster_id=self._cluster_id, revision=self._state.revision)
        )

    def openapi(self) -> bytes:
        """Answer ``GET /openapi.json``."""
        return msgspec.json.encode(admin_document(MUTATIONS, self.queries, ManagementHealth))

    def query(self, request_type: type[msgspec.Struct], query: Query) -> Handler:
        """Return a handler that answers a question about the newest state."""

        def answer(request: msgspec.Struct) -> Answer:
            self._state.refresh()
            found = query(self._state, request)
            return found if isinstance(found, str) else msgspec.json.encode(found)

        return self._handler(request_type, answer)

    def mutation(self, request_type: type[msgspec.Struct], mutate: Mutation) -> Handler:
        """Return a handler that changes the state, then waits until the query frontends serve the change."""

        def answer(request: msgspec.Struct) -> Answer:
            text = mutate(self._state, **asdict(request))
            revision = self._state.revision
            return Deferred(self._sync.push(revision), lambda unconfirmed: confirm(text, revision, unconfirmed))

        return self._handler(request_type, answer)

    def _handler(self, request_type: type[msgspec.Struct], answer: Callable[[msgspec.Struct], Answer]) -> Handler:
        def handler() -> Answer:
            self._requests.count += 1
            try:
                return answer(decode_request(read_body(BODY_LIMIT_BYTES), request_type))
            except StoreUnavailable as error:
                raise ServingError("unavailable", f"The state store is unavailable. {error}") from error
            except ServingError as error:
                self._refused.count += 1
                if error.status != 400:
                    raise
                # Clipper's errors are bare texts under the content type of JSON; clients show them as they are.
                return bottle.HTTPResponse(error.plain(), error.status, {"Content-Type": JSON, **error.headers})

        return handler


def build_app(frontend: ManagementFrontend) -> bottle.Bottle:
    """Return the Bottle application of a management frontend."""
    app = bottle.Bottle()
    json_errors(app)
    serve_metrics(app, frontend.registry)
    handlers = {
        **{verb: frontend.mutation(*entry) for verb, entry in MUTATIONS.items()},
        **{verb: frontend.query(*entry) for verb, entry in frontend.queries.items()},
    }
    for verb, handler in handlers.items():
        app.post([f"/admin/{verb}", f"/admin/{verb}/"], callback=handler)
    app.get(["/admin/ping", "/admin/ping/"], callback=lambda: "PONG")
    app.get("/health", callback=frontend.health)
    app.get("/openapi.json", callback=frontend.openapi)
    return app


def confirm(text: str, revision: int, unconfirmed: Sequence[Address]) -> str:
    """Return ``text`` if every query frontend confirmed ``revision``; raise unconfirmed if not."""
    if unconfirmed:
        raise ServingError(
            "unconfirmed",
            f"committed as revision {revision}, but query frontend {', '.join(map(str, unconfirmed))} did not "
            f"confirm within {CONFIRM_TIMEOUT_S:g} s",
        )
    return text


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m serving_image.management_frontend", description=__doc__)
    parser.add_argument("--listen", required=True, type=Address.parse, help="host:port or unix:/path.sock")
    parser.add_argument("--state", required=True, help="sqlite:/path.db or redis://host:port/db?namespace=NAME")
    parser.add_argument("--cluster", required=True, help="name of the cluster")
    parser.add_argument("--cluster-id", default="", help="distinguishes clusters of one name")
    parser.add_argument(
        "--frontend", nargs="*", default=[], type=Address.parse, help="control address of each query frontend"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the management API until SIGTERM."""
    options = parse_arguments(arguments)
    configure_logging(options.cluster)
    store = open_store(options.state)
    state = ClusterState(store)
    sync = FrontendSync(options.frontend)

    async def announce() -> None:
        # A predecessor may have ended between its commit and its push. Whoever misses this follows the store anyway.
        await sync.push(state.revision)

    frontend = ManagementFrontend(state, sync, Registry(time.monotonic), options.cluster, options.cluster_id)
    run(build_app(frontend), [options.listen], on_start=announce, body_limit_bytes=BODY_LIMIT_BYTES)
    store.close()


if __name__ == "__main__":
    main()
