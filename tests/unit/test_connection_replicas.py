"""ClipperConnection: replicas, versions, logs and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from connection_world import Lines, connection, lines, management, manager
from fakes import FakeManager, as_response

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import Replica
from clipper_magic.exceptions import FrontendUnreachableError

__all__ = ["connection", "lines", "management", "manager"]


@pytest.fixture
def deployed(connection: ClipperConnection, manager: FakeManager, lines: Lines) -> ClipperConnection:
    connection.deploy_model("sum", 1, "doubles", "image:1", num_replicas=2)
    manager.calls.clear()
    lines()
    return connection


def test_scale_up_and_down(deployed: ClipperConnection, manager: FakeManager, lines: Lines) -> None:
    deployed.set_num_replicas("sum", 3)
    deployed.set_num_replicas("sum", 3)
    deployed.set_num_replicas("sum", 1, version=1)

    assert manager.calls == ["add 1 sum:1 doubles image:1", "remove [1, 2]"]
    assert deployed.get_num_replicas("sum") == 1
    assert deployed.get_all_model_replicas() == ["sum:1:0"]
    assert lines() == [
        "INFO [test-cluster] Found 2 replicas for sum:1. Adding 1",
        "INFO [test-cluster] Found 3 replicas for sum:1. Removing 2",
    ]


def test_replicas_that_the_state_kept_are_started_again(
    deployed: ClipperConnection, manager: FakeManager, lines: Lines
) -> None:
    """The state is in a Redis of the user's, and the cluster was stopped."""
    deployed.register_model("external", 1, "doubles")
    deployed.stop_all()
    manager.replicas.clear()
    manager.calls.clear()

    deployed.start_clipper()

    assert manager.calls == ["start 1 33554432", "add 2 sum:1 doubles image:1"]
    assert deployed.get_all_model_replicas() == ["sum:1:2", "sum:1:3"]


def test_scale_up_that_cannot_be_registered_removes_what_it_started(
    deployed: ClipperConnection, manager: FakeManager
) -> None:
    manager.on_add = lambda: deployed.stop_models(["sum"])
    with pytest.raises(Exception, match="does not exist"):
        deployed.set_num_replicas("sum", 3)
    assert manager.replicas == []


def test_replica_info(deployed: ClipperConnection, lines: Lines) -> None:
    assert deployed.get_model_replica_info("sum", 1, 1) == deployed.get_all_model_replicas(verbose=True)[1]
    assert deployed.get_model_replica_info("sum", 1, 9) is None
    assert lines() == ["WARNING [test-cluster] No model replica with ID 9 found for model sum:1"]


def test_versions(deployed: ClipperConnection, manager: FakeManager) -> None:
    deployed.deploy_model("sum", "two", "doubles", "image:2", num_replicas=0)
    assert deployed.get_current_model_version("sum") == "two"
    deployed.set_model_version("sum", 1, num_replicas=1)
    assert deployed.get_current_model_version("sum") == "1"
    assert deployed.get_num_replicas("sum") == 1
    deployed.stop_inactive_model_versions(["sum"])
    assert deployed.get_all_models() == ["sum:1"]


def test_stop_unregisters_before_it_stops(deployed: ClipperConnection, manager: FakeManager, lines: Lines) -> None:
    deployed.stop_versioned_models({"sum": [1, 2], "nobody": ["1"]})

    assert manager.calls == ["remove [0, 1]"]
    assert deployed.get_all_models() == []
    assert lines() == [
        "INFO [test-cluster] Model sum:1 was successfully deleted",
        "INFO [test-cluster] Stopped all containers for these models and versions:",
    ]


def test_stop_all_model_containers_takes_strays_too(deployed: ClipperConnection, manager: FakeManager) -> None:
    manager.replicas.append(Replica("stray", "1", 7, "unix:/7.sock"))
    deployed.stop_all_model_containers()
    assert (manager.replicas, deployed.get_all_models()) == ([], [])


# --- logs, metrics ---


def test_logs_make_their_directory(connection: ClipperConnection, tmp_path: Path, lines: Lines) -> None:
    directory = tmp_path / "a" / "b"
    assert connection.get_clipper_logs(str(directory)) == [str(directory / "one.log")]
    assert directory.is_dir()
    assert lines() == [f"INFO [test-cluster] Created logging directory: {directory}"]


def test_inspect_instance(connection: ClipperConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get(_: requests.Session, url: str, **__: Any) -> requests.Response:
        asked.append(url)
        return as_response(200, {}, b'{"counters": []}')

    monkeypatch.setattr(requests.Session, "get", get)
    assert connection.inspect_instance() == {"counters": []}
    assert asked == ["http://127.0.0.1:2/metrics"]


def test_inspect_instance_when_nobody_answers(connection: ClipperConnection) -> None:
    with pytest.raises(FrontendUnreachableError, match=r"query_frontend at 127\.0\.0\.1:2 does not answer"):
        connection.inspect_instance()
