"""The rules of the cluster state: what each verb changes, and what other processes see of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_world import RecordingStore, add_app, add_model, served, state, store

from serving_image.entities import Application, Replica, make_key, parse_key
from serving_image.errors import ServingError
from serving_image.sqlite_store import SQLiteStore
from serving_image.state import ClusterState
from serving_image.store import StoreUnavailable

__all__ = ["served", "state", "store"]


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
