"""A view in memory of the cluster state: look-ups, and following the store.

What changes the state is in `serving_image.state`; a query frontend only needs what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from serving_image.entities import (
    Application,
    Entity,
    Model,
    ModelVersion,
    ReplicaSet,
    VersionId,
    decode_entity,
    encode_entity,
    parse_key,
)
from serving_image.errors import ServingError
from serving_image.store import Conflict, Store, StoreUnavailable

Changes: TypeAlias = dict[str, bytes | None]


class ClusterView:
    """What a cluster serves.

    Reading is a look-up in the public dictionaries, which callers must not change. Not thread-safe: a process
    reads and writes its view on one thread (the store itself may be asked from any).

    Parameters
    ----------
    store : Store
        Where the state lives. The view is read from it at once.

    Attributes
    ----------
    revision : int
        The newest revision that the view contains.
    applications : dict of str to Application
    models : dict of str to Model
    versions : dict of (model name, model version) to ModelVersion
    replicas : dict of (model name, model version) to ReplicaSet
        Has an entry for each version, possibly without replicas.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.revision = 0
        self.applications: dict[str, Application] = {}
        self.models: dict[str, Model] = {}
        self.versions: dict[VersionId, ModelVersion] = {}
        self.replicas: dict[VersionId, ReplicaSet] = {}
        self._tables: dict[str, dict[Any, Any]] = {
            "app": self.applications,
            "model": self.models,
            "version": self.versions,
            "replicas": self.replicas,
        }
        self._linked_apps: dict[str, set[str]] = {}
        self.refresh()

    # ---- following the store

    def refresh(self) -> set[str]:
        """Read what changed in the store; return the changed keys."""
        return self.apply(*self.store.changes_since(self.revision))

    def apply(self, revision: int, changes: Mapping[str, bytes | None]) -> set[str]:
        """Bring the view to ``revision``, given what changed since; return the changed keys.

        A frontend that must not block its event loop calls ``store.changes_since(state.revision)`` in a thread and
        passes the result here. An older ``revision`` than the view's is ignored.
        """
        if revision <= self.revision:
            return set()
        for key, value in changes.items():
            kind, names = parse_key(key)
            identity = names[0] if len(names) == 1 else names
            table = self._tables[kind]
            old = table.get(identity)
            new = None if value is None else decode_entity(kind, value)
            if new is None:
                table.pop(identity, None)
            else:
                table[identity] = new
            if kind == "app":
                self._index_links(old, new)
        self.revision = revision
        return set(changes)

    def _index_links(self, old: Entity | None, new: Entity | None) -> None:
        """Keep the way from a model to its applications, which the store only has the other way round."""
        if isinstance(old, Application):
            for model_name in old.linked_models:
                self._linked_apps.get(model_name, set()).discard(old.name)
        if isinstance(new, Application):
            for model_name in new.linked_models:
                self._linked_apps.setdefault(model_name, set()).add(new.name)

    def _transact(self, plan: Callable[[], Changes]) -> None:
        """Commit what ``plan`` returns for the newest state; ``plan`` raises if a rule forbids it."""
        while True:
            self.refresh()
            changes = plan()
            try:
                revision = self.store.commit(self.revision, changes)
            except Conflict:
                if self.store.revision() < self.revision:
                    raise StoreUnavailable(f"It has lost its revisions up to {self.revision}") from None
                continue  # a conflict is another process's progress, so this ends
            self.apply(revision, changes)
            return

    # ---- look-ups

    def application(self, name: str, text: str = "No app with name '{}' exists.") -> Application:
        """Return an application; ``text`` is what to answer (``{}``: its name) if there is none."""
        if name not in self.applications:
            raise ServingError("app-not-found", text.format(name))
        return self.applications[name]

    def linked_applications(self, model_name: str) -> list[Application]:
        """Return the applications that are linked to a model, by name."""
        return [self.applications[name] for name in sorted(self._linked_apps.get(model_name, ()))]

    def version(self, model_name: str, model_version: str) -> ModelVersion:
        """Return a model version, or raise version-not-found."""
        if (model_name, model_version) not in self.versions:
            raise ServingError(
                "version-not-found",
                f"model with name '{model_name}' and version '{model_version}' does not exist",
            )
        return self.versions[model_name, model_version]


def put(*entities: Entity) -> Changes:
    """Return the changes that write ``entities``."""
    return dict(encode_entity(entity) for entity in entities)
