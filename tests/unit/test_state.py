"""The rules of the cluster state: what each verb changes, and what it refuses with which code and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_image.entities import Application, Replica, make_key, parse_key
from serving_image.errors import ServingError
from serving_image.sqlite_store import SQLiteStore
from serving_image.state import ClusterState
from serving_image.store import Store, StoreUnavailable

ALREADY_LINKED = (
    "Model with name 'sum' is already linked to app 'hello' using input type 'doubles'. The input type you provided "
    "for a new version of the model, 'strings', is not compatible."
)


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


def test_an_input_type_is_stored_under_its_canonical_name(state: ClusterState) -> None:
    add_app(state, input_type="d")
    add_model(state, input_type="double")
    assert "doubles" == state.applications["hello"].input_type == state.versions["sum", "1"].input_type


def test_the_newest_version_is_current_and_a_registered_one_can_be_made_current(served: ClusterState) -> None:
    assert (served.models["sum"].current_version, served.models["sum"].version_history) == ("2", ("1", "2"))
    served.set_model_version("sum", "1")
    assert (served.models["sum"].current_version, served.models["sum"].version_history) == ("1", ("1", "2"))


def test_a_model_is_added_with_its_replicas_in_one_commit(state: ClusterState, store: RecordingStore) -> None:
    replicas = [Replica(0, "unix:/run/a.sock"), Replica(1, "10.0.0.2:8080")]
    add_model(state, replicas=replicas)
    assert (tuple(replicas), [3]) == (state.replicas["sum", "1"].replicas, store.sizes)


def test_a_dry_run_checks_and_changes_nothing(served: ClusterState) -> None:
    before = served.revision
    assert add_model(served, "new", dry_run=True) == "Checked model with name 'new' and input type 'doubles'"
    assert (before, False) == (served.revision, "new" in served.models)
    with pytest.raises(ServingError) as refused:
        add_model(served, version="1", dry_run=True)
    assert refused.value.code == "model-exists"


def test_a_registration_again_is_another_deployment(served: ClusterState) -> None:
    before = served.versions["sum", "1"].deployment
    served.delete_versioned_model("sum", "1")
    add_model(served)
    assert before != served.versions["sum", "1"].deployment


def test_deleting_the_current_version_makes_the_latest_remaining_one_current(served: ClusterState) -> None:
    add_model(served, version="3")
    served.set_model_version("sum", "1")
    served.delete_versioned_model("sum", "1")
    assert (served.models["sum"].current_version, served.models["sum"].version_history) == ("3", ("2", "3"))
    assert served.applications["hello"].linked_models == ("sum",)


def test_deleting_another_version_keeps_the_current_one(served: ClusterState) -> None:
    served.delete_versioned_model("sum", "1")
    assert (served.models["sum"].current_version, served.models["sum"].version_history) == ("2", ("2",))


def test_deleting_the_last_version_deletes_the_model_its_replicas_and_its_links(served: ClusterState) -> None:
    served.delete_versioned_model("sum", "2")
    served.delete_versioned_model("sum", "1")
    assert (served.models, served.versions, served.replicas) == ({}, {}, {})
    assert served.applications["hello"].linked_models == ()
    assert served.linked_applications("sum") == []


def test_links_are_removed_when_only_versions_of_another_type_remain(state: ClusterState) -> None:
    add_model(state, version="texts", input_type="strings")
    add_model(state, version="numbers")
    add_app(state)
    state.add_model_links("hello", ["sum"])
    state.delete_versioned_model("sum", "numbers")
    assert (state.models["sum"].current_version, state.applications["hello"].linked_models) == ("texts", ())


def test_an_application_registered_again_has_no_link(served: ClusterState) -> None:
    served.delete_application("hello")
    assert served.linked_applications("sum") == []
    add_app(served)
    assert served.applications["hello"].linked_models == ()


def test_unlinking_lets_another_model_be_linked(served: ClusterState) -> None:
    add_model(served, "max")
    served.delete_model_links("hello", ["sum"])
    served.add_model_links("hello", ["max"])
    assert (served.applications["hello"].linked_models, served.linked_applications("sum")) == (("max",), [])


Act = Callable[[ClusterState], object]
REFUSALS: list[tuple[str, Act, str, str]] = [
    ("app exists", add_app, "app-exists", "application 'hello' already exists"),
    (
        "slash in an app's name",
        lambda s: add_app(s, "a/b"),
        "bad-name",
        "Invalid application name supplied: a/b. Contains one of: ',', ':', '/'",
    ),
    (
        "no name",
        lambda s: add_app(s, ""),
        "bad-name",
        "Invalid application name supplied: it is empty",
    ),
    (
        "objective of 0",
        lambda s: s.add_application("a", "d", "", 0),
        "bad-request",
        "latency_slo_micros must be positive, but is 0",
    ),
    (
        "unknown type",
        lambda s: add_app(s, "a", "complex"),
        "bad-input-type",
        "Invalid input type 'complex'. Known: integers, floats, doubles, bytes, strings, json",
    ),
    (
        "delete unknown app",
        lambda s: s.delete_application("nope"),
        "app-not-found",
        "Application 'nope' does not exist",
    ),
    (
        "version exists",
        add_model,
        "model-exists",
        "model with name 'sum' and version '1' already exists",
    ),
    (
        "batch of 0",
        lambda s: add_model(s, "m", batch_size=0),
        "bad-batch-size",
        "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
    ),
    (
        "batch of -2",
        lambda s: add_model(s, "m", batch_size=-2),
        "bad-batch-size",
        "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
    ),
    (
        "colon in a model's name",
        lambda s: add_model(s, "a:b"),
        "bad-name",
        "Invalid model name supplied: a:b. Contains one of: ',', ':'",
    ),
    (
        "comma in a version",
        lambda s: add_model(s, "m", "1,2"),
        "bad-name",
        "Invalid model version supplied: 1,2. Contains one of: ',', ':'",
    ),
    (
        "comma in a label",
        lambda s: add_model(s, "m", labels=["ok", "a,b"]),
        "bad-name",
        "Invalid label supplied: a,b. Contains one of: ',', ':'",
    ),
    (
        "new version of another type",
        lambda s: add_model(s, version="3", input_type="strings"),
        "type-mismatch",
        ALREADY_LINKED,
    ),
    (
        "replica id twice",
        lambda s: add_model(s, "m", replicas=[Replica(0, "h:1"), Replica(0, "h:2")]),
        "bad-request",
        "Replica id 0 is given more than once",
    ),
    (
        "replica without an address",
        lambda s: s.set_replicas("sum", "1", [Replica(0, "nowhere")]),
        "bad-request",
        "address 'nowhere': expected host:port or unix:/path.sock",
    ),
    (
        "replicas of an unknown version",
        lambda s: s.set_replicas("sum", "9", []),
        "version-not-found",
        "model with name 'sum' and version '9' does not exist",
    ),
    (
        "delete unknown version",
        lambda s: s.delete_versioned_model("sum", "9"),
        "version-not-found",
        "model with name 'sum' and version '9' does not exist",
    ),
    (
        "roll back an unknown model",
        lambda s: s.set_model_version("nope", "1"),
        "model-not-found",
        "Cannot set version for nonexistent model 'nope'",
    ),
    (
        "roll back to an unknown version",
        lambda s: s.set_model_version("sum", "9"),
        "version-not-found",
        "Cannot set non-existent version '9' for model with name 'sum'",
    ),
    (
        "link an unknown app",
        lambda s: s.add_model_links("nope", ["gone"]),
        "app-not-found",
        "No app with name 'nope' exists.",
    ),
    (
        "link an unknown model",
        lambda s: s.add_model_links("other", ["gone", "gone"]),
        "model-not-found",
        "No model with name 'gone' exists.",
    ),
    (
        "link a model of another type",
        lambda s: (add_model(s, "texts", input_type="s"), s.add_model_links("other", ["texts", "sum"])),
        "type-mismatch",
        "Model with name 'texts' has incompatible input_type 'strings'. "
        "Requested app to link to has input_type 'doubles'.",
    ),
    (
        "link two models",
        lambda s: s.add_model_links("other", ["sum", "sum"]),
        "too-many-links",
        "Applications must be linked with at most one model. Attempted to add links to 2 models.",
    ),
    (
        "link no model",
        lambda s: s.add_model_links("hello", []),
        "bad-request",
        "Please provide the name of the model that you want to link to the application 'hello'",
    ),
    (
        "link again",
        lambda s: s.add_model_links("hello", ["sum"]),
        "link-exists",
        "The model with name 'sum' is already linked to 'hello'",
    ),
    (
        "link a second model",
        lambda s: (add_model(s, "max"), s.add_model_links("hello", ["max"])),
        "link-exists",
        "A model with name sum is already linked to 'hello'.",
    ),
    (
        "unlink an unknown app",
        lambda s: s.delete_model_links("nope", ["sum"]),
        "app-not-found",
        "No app with name nope exists.",
    ),
    (
        "unlink what is not linked",
        lambda s: s.delete_model_links("other", ["sum"]),
        "link-not-found",
        "Cannot remove nonexistent link between app other and model sum",
    ),
]


@pytest.mark.parametrize(("act", "code", "text"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_verb_refuses(served: ClusterState, act: Act, code: str, text: str) -> None:
    applications, versions = dict(served.applications), dict(served.versions)
    with pytest.raises(ServingError) as refused:
        act(served)
    assert (code, text) == (refused.value.code, refused.value.cause)
    assert applications == served.applications
    assert versions.items() <= served.versions.items()


def test_rolling_back_to_a_version_of_another_type_is_refused_while_linked(state: ClusterState) -> None:
    add_model(state, version="1", input_type="strings")
    add_model(state, version="2")
    add_app(state)
    state.add_model_links("hello", ["sum"])
    with pytest.raises(ServingError) as refused:
        state.set_model_version("sum", "1")
    assert (refused.value.code, refused.value.cause) == ("type-mismatch", ALREADY_LINKED)


def test_two_processes_see_each_others_changes(store: RecordingStore) -> None:
    first, second = ClusterState(store), ClusterState(store)
    add_app(first)
    add_model(second)
    second.add_model_links("hello", ["sum"])
    assert {"app/hello", "model/sum", "version/sum/1", "replicas/sum/1"} == first.refresh()
    assert first.applications == second.applications
    assert first.linked_applications("sum") == second.linked_applications("sum")
    assert first.models == second.models
    assert set() == first.refresh()


def test_a_verb_starts_again_when_another_process_commits_first(store: RecordingStore) -> None:
    state, rival = ClusterState(store), ClusterState(store)
    calm = store.commit

    def commit(base_revision: int, changes: Mapping[str, bytes | None]) -> int:
        store.commit = calm  # type: ignore[method-assign]
        add_app(rival)
        return calm(base_revision, changes)

    store.commit = commit  # type: ignore[method-assign]
    with pytest.raises(ServingError) as refused:
        add_app(state)
    assert refused.value.code == "app-exists"


def test_a_store_that_lost_its_revisions_is_unavailable(tmp_path: Path, state: ClusterState) -> None:
    add_app(state)
    add_app(state, "other")
    empty = SQLiteStore(tmp_path / "empty.db")
    state.store = empty
    with pytest.raises(StoreUnavailable, match="lost its revisions up to 2"):
        add_app(state, "third")
    empty.close()


def test_changes_that_arrive_late_are_ignored(store: RecordingStore) -> None:
    writer, reader = ClusterState(store), ClusterState(store)
    add_app(writer)
    late = store.changes_since(0)
    writer.delete_application("hello")
    reader.refresh()
    assert set() == reader.apply(*late)
    assert (reader.applications, reader.revision) == ({}, 2)


def test_a_restarted_process_reads_the_same_state(served: ClusterState) -> None:
    again = ClusterState(served.store)
    for attribute in ("revision", "applications", "models", "versions", "replicas"):
        assert getattr(served, attribute) == getattr(again, attribute)
    assert served.linked_applications("sum") == again.linked_applications("sum")


def test_a_registration_writes_one_key_however_many_there_are(state: ClusterState, store: RecordingStore) -> None:
    for number in range(50):
        add_app(state, f"app-{number}")
    assert store.sizes == [1] * 50
    assert Application("app-7", "doubles", "-1.0", 100_000) == state.applications["app-7"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_any_name_survives_in_a_key(names: list[str]) -> None:
    assert ("version", tuple(names)) == parse_key(make_key("version", *names))
