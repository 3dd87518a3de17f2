"""The contract of container managers: how clusters start, are found, survive kill -9, and stop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from contract_world import (
    PATIENCE_S,
    Backend,
    Traffic,
    feature_product,
    feature_sum,
    output,
    predict,
    refuses_negative,
    serve,
    snapshot,
)

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import ReplicaState, Role
from clipper_magic.exceptions import (
    ClusterExistsError,
    NoClusterError,
    UnconnectedException,
)
from clipper_magic.managers.waiting import wait_for


class ClusterContract:
    """How clusters start, are found, survive kill -9, and stop."""

    # --- start, connect, stop ---

    def test_start_is_ready_when_it_returns(self, connection: ClipperConnection) -> None:
        ping = requests.get(f"http://{connection.cm.get_admin_addr()}/admin/ping", timeout=5)

        assert ping.text == "PONG"
        assert sorted(connection.inspect_instance()) == ["counters", "histograms", "meters", "ratio_counters"]
        assert connection.get_all_apps() == [] or connection.get_all_apps()

    def test_start_when_it_runs(self, connection: ClipperConnection, backend: Backend) -> None:
        name = connection.cm.cluster_name
        second = ClipperConnection(backend.manager(name))

        with pytest.raises(ClusterExistsError) as caught:
            second.start_clipper()

        assert caught.value.msg == (
            f"Cluster {name} cannot be started because it already exists. "
            "Please use ClipperConnection.connect() to connect to it."
        )
        assert isinstance(connection.get_all_models(), list)

    def test_connect_when_nothing_runs(self, backend: Backend, new_cluster_name: Callable[[], str]) -> None:
        name = new_cluster_name()
        lonely = ClipperConnection(backend.manager(name))

        with pytest.raises(NoClusterError, match=f"No Clipper cluster named '{name}' is running"):
            lonely.connect()
        with pytest.raises(UnconnectedException):
            lonely.get_all_apps()

    def test_stop_all_leaves_nothing(self, own: ClipperConnection, backend: Backend) -> None:
        name = own.cm.cluster_name
        serve(own, "sum")

        own.stop_all()

        assert backend.leftovers(name) == []
        with pytest.raises(UnconnectedException):
            own.get_all_apps()

    def test_stop_all_at_once(self, own: ClipperConnection, backend: Backend) -> None:
        serve(own, "sum")

        own.stop_all(graceful=False)

        assert backend.leftovers(own.cm.cluster_name) == []

    def test_start_again_after_a_stop(self, own: ClipperConnection) -> None:
        serve(own, "sum")
        own.stop_all()

        own.start_clipper()

        assert (own.get_all_apps(), own.get_all_models(), own.cm.list_replicas()) == ([], [], [])

    def test_two_clusters_side_by_side(
        self, connection: ClipperConnection, backend: Backend, new_cluster_name: Callable[[], str]
    ) -> None:
        other = ClipperConnection(backend.manager(new_cluster_name()))
        other.start_clipper()
        try:
            serve(connection, "two-clusters", feature_sum)
            serve(other, "two-clusters", feature_product)

            assert output(connection, "two-clusters", [3.0, 4.0]) == 7.0
            assert output(other, "two-clusters", [3.0, 4.0]) == 12.0
        finally:
            other.stop_all()
        assert output(connection, "two-clusters", [5.0, 4.0]) == 9.0

    def test_two_connections_on_one_cluster(self, connection: ClipperConnection, backend: Backend) -> None:
        second = ClipperConnection(backend.manager(connection.cm.cluster_name))
        second.connect()

        serve(second, "two-connections")
        connection.set_num_replicas("two-connections", 2)

        assert second.get_query_addr() == connection.get_query_addr()
        assert second.get_num_replicas("two-connections") == 2
        assert output(connection, "two-connections", [1.0, 2.0]) == 3.0

    def test_connect_from_a_second_interpreter(self, connection: ClipperConnection, backend: Backend) -> None:
        serve(connection, "second-interpreter")
        code = f"""
{backend.manager_source(connection.cm.cluster_name)}
from clipper_magic import ClipperConnection
import json
connection = ClipperConnection(manager)
connection.connect()
connection.set_num_replicas("second-interpreter", 2)
print(json.dumps([connection.get_query_addr(), connection.get_all_apps()]))
"""
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr
        address, apps = json.loads(done.stdout)
        assert address == connection.get_query_addr()
        assert "second-interpreter" in apps
        assert f"Successfully connected to Clipper cluster at {address}" in done.stderr
        assert connection.get_num_replicas("second-interpreter") == 2
        assert output(connection, "second-interpreter", [1.5]) == 1.5

    # --- kill -9 ---

    @pytest.mark.parametrize("role", list(Role))
    def test_kill_under_requests(self, own: ClipperConnection, backend: Backend, role: Role) -> None:
        """Whatever dies is back by itself; nothing registered is lost, no answer is wrong."""
        serve(own, "killed")
        own.set_num_replicas("killed", 2)
        before = snapshot(own)
        with Traffic(own, "killed") as traffic:
            backend.kill(own.cm.cluster_name, role)
            traffic.wait_for_good()
            assert wait_for(lambda: own.get_num_replicas("killed") == 2, PATIENCE_S)
            traffic.wait_for_good()

        assert traffic.strange == []
        assert snapshot(own) == before
        own.set_num_replicas("killed", 1)
        assert output(own, "killed", [1.0, 2.5]) == 3.5
        assert [status.state for status in own.cm.list_replicas()] == [ReplicaState.READY]

    # --- logs ---

    def test_logs(self, connection: ClipperConnection, tmp_path: Path) -> None:
        serve(connection, "logged", refuses_negative)
        predict(connection, "logged", [-1.0])

        paths = connection.get_clipper_logs(str(tmp_path / "logs"))

        assert paths
        assert all(Path(path).parent == tmp_path / "logs" for path in paths)
        assert any("negative: -1.0" in Path(path).read_text() for path in paths)
        assert "negative" not in connection.cm.tail_log(Role.MANAGEMENT_FRONTEND)
