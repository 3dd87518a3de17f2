"""The cluster state over a store in a file, with an application and a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from serving_image.sqlite_store import SQLiteStore
from serving_image.state import ClusterState
from serving_image.store import Store


class RecordingStore:
    """A store that remembers how many keys each commit wrote."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sizes: list[int] = []
        self.revision = store.revision
        self.changes_since = store.changes_since
        self.close = store.close

    def commit(self, base_revision: int, changes: Mapping[str, bytes | None]) -> int:
        self.sizes.append(len(changes))
        return self._store.commit(base_revision, changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordingStore]:
    recording = RecordingStore(SQLiteStore(tmp_path / "state.db"))
    yield recording
    recording.close()


@pytest.fixture
def state(store: RecordingStore) -> ClusterState:
    return ClusterState(store)


def add_model(state: ClusterState, name: str = "sum", version: str = "1", **options: Any) -> str:
    defaults: dict[str, Any] = {
        "input_type": "doubles",
        "labels": [],
        "container_name": "sum:1",
        "model_data_path": "DEPRECATED",
    }
    return state.add_model(name, version, **defaults | options)


def add_app(state: ClusterState, name: str = "hello", input_type: str = "doubles") -> str:
    return state.add_application(name, input_type, "-1.0", 100_000)


@pytest.fixture
def served(state: ClusterState) -> ClusterState:
    """Application hello is linked to model sum, version 2 of 1 and 2; application other is not linked."""
    add_app(state)
    add_app(state, "other")
    add_model(state)
    add_model(state, version="2")
    state.add_model_links("hello", ["sum"])
    return state
