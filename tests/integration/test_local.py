"""What only local clusters have: a supervisor, ports of this machine, directories, the kernel's own modules."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import requests
from contract_world import (
    LONG_SLO_MICROS,
    PATIENCE_S,
    connection,
    feature_product,
    feature_sum,
    output,
    own,
    serve,
    snapshot,
)
from leftovers import directories_with, processes_with

from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.container_manager import ClusterOptions, ModelSpec, ReplicaState, Role
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import (
    BackendError,
    ClusterStartError,
    ImageBuildError,
    NoClusterError,
    ProtocolMismatchError,
    ReplicaStartError,
)
from clipper_magic.managers.cluster_directory import ClusterDirectory, write_atomically
from clipper_magic.managers.processes import ProcessGroup
from clipper_magic.managers.waiting import wait_for

__all__ = ["connection", "own"]


def processes_of(connection: ClipperConnection, module: str) -> list[psutil.Process]:
    group = ProcessGroup(ClusterDirectory.locate(connection.cm.cluster_name))
    return [process for process in group.find() if module in process.info["cmdline"]]


def pids_of(connection: ClipperConnection, module: str) -> set[int]:
    return {process.pid for process in processes_of(connection, module)}


SUPERVISOR = "clipper_magic.managers.supervisor"


def kill_supervisor(connection: ClipperConnection) -> None:
    """Kill it, and wait until it is gone: kill() returns before."""
    processes_of(connection, SUPERVISOR)[0].kill()
    assert wait_for(lambda: not processes_of(connection, SUPERVISOR), PATIENCE_S)


# --- ports ---


def test_taken_ports_are_replaced_by_the_next_free_ones(
    new_cluster_name: Callable[[], str], free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as query:
        wish = query.getsockname()[1]
        manager = LocalContainerManager(new_cluster_name(), wish, wish)
        manager.start_clipper(ClusterOptions())
        try:
            ports = [
                int(address.rpartition(":")[2]) for address in (manager.get_query_addr(), manager.get_admin_addr())
            ]
        finally:
            manager.stop_all()

    assert wish not in ports
    assert len(set(ports)) == 2
    lines = capsys.readouterr().err
    assert f"Port {wish} is taken, using port {ports[0]} instead" in lines
    assert f"Port {wish} is taken, using port {ports[1]} instead" in lines


def test_several_query_frontends_share_the_port(
    new_cluster_name: Callable[[], str], free_port: Callable[[], int]
) -> None:
    connection = ClipperConnection(LocalContainerManager(new_cluster_name(), free_port(), free_port()))
    connection.start_clipper(num_frontend_replicas=2)
    try:
        assert len(processes_of(connection, "serving_image.query_frontend")) == 2
        for name, function in (("first", feature_sum), ("second", feature_product)):
            serve(connection, name, function)
            # Each connection lands on either of them, and each of them must know.
            assert {output(connection, name, [2.0, 2.0 + i]) for i in range(20)} == {
                float(function([[2.0, 2.0 + i]])[0]) for i in range(20)
            }
        processes_of(connection, "serving_image.query_frontend")[0].kill()
        connection.unlink_model_from_app("first", "first")
        assert output(connection, "second", [3.0, 5.0]) == 15.0
    finally:
        connection.stop_all()


# --- life and death ---


def test_processes_are_in_sessions_of_their_own(own: ClipperConnection) -> None:
    serve(own, "sum")
    group = ProcessGroup(ClusterDirectory.locate(own.cm.cluster_name))

    assert len(group.find()) == 4
    assert os.getsid(0) not in {os.getsid(process.pid) for process in group.find()}


def test_cluster_outlives_its_kernel_and_ctrl_c(
    new_cluster_name: Callable[[], str], free_port: Callable[[], int]
) -> None:
    name = new_cluster_name()
    kernel = f"""
import sys
from clipper_magic import ClipperConnection, LocalContainerManager
from clipper_magic.deployers import python as python_deployer
connection = ClipperConnection(LocalContainerManager({name!r}, {free_port()}, {free_port()}))
connection.start_clipper()
python_deployer.create_endpoint(connection, "sum", "doubles", lambda xs: [str(sum(x)) for x in xs],
                                slo_micros={LONG_SLO_MICROS})
try:
    print("ready", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""
    connection = ClipperConnection(LocalContainerManager(name))
    with subprocess.Popen(
        [sys.executable, "-c", kernel],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            before = {p.pid for p in ProcessGroup(ClusterDirectory.locate(name)).find()}
            os.killpg(process.pid, signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            process.kill()
            process.wait()
            connection.connect()

            assert output(connection, "sum", [1.0, 2.0]) == 3.0
            assert {p.pid for p in ProcessGroup(ClusterDirectory.locate(name)).find()} == before
        finally:
            process.kill()
            connection.stop_all()


def test_connect_replaces_a_supervisor_that_was_killed(
    own: ClipperConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(own, "sum")
    before = snapshot(own)
    kill_supervisor(own)
    assert output(own, "sum", [1.0, 2.0]) == 3.0, "the others serve on"

    own.connect()

    assert "The process supervisor has died" in capsys.readouterr().err
    assert len(processes_of(own, SUPERVISOR)) == 1
    assert wait_for(lambda: own.get_num_replicas("sum") == 1, PATIENCE_S)
    assert snapshot(own) == before
    assert output(own, "sum", [1.0, 2.5]) == 3.5
    assert [len(processes_of(own, f"serving_image.{role}")) for role in Role] == [1, 1, 1]


def test_scaling_replaces_a_supervisor_that_was_killed(own: ClipperConnection) -> None:
    serve(own, "sum")
    kill_supervisor(own)

    own.set_num_replicas("sum", 2)

    assert wait_for(lambda: own.get_num_replicas("sum") == 2, PATIENCE_S)
    assert output(own, "sum", [1.0, 2.5]) == 3.5


def test_stop_all_after_the_supervisor_was_killed(own: ClipperConnection) -> None:
    serve(own, "sum")
    kill_supervisor(own)

    own.stop_all()

    assert [*processes_with(own.cm.cluster_name), *directories_with(own.cm.cluster_name)] == []


def test_leftovers_of_a_crash_are_no_cluster_and_are_cleaned(own: ClipperConnection) -> None:
    """Everything was killed at once, as by a reboot, and the directory stayed."""
    serve(own, "sum")
    ProcessGroup(ClusterDirectory.locate(own.cm.cluster_name)).kill()
    assert directories_with(own.cm.cluster_name)

    with pytest.raises(NoClusterError):
        own.connect()
    own.start_clipper()

    assert own.get_all_apps() == []
    serve(own, "sum")
    assert output(own, "sum", [1.0, 2.0]) == 3.0


def test_a_crashing_replica_is_dead_and_comes_back_with_a_growing_delay(own: ClipperConnection, tmp_path: Path) -> None:
    flag = tmp_path / "crash"

    def crashes(xs: Any) -> list[str]:
        if flag.exists():
            os._exit(9)
        return ["1" for _ in xs]

    serve(own, "fragile", crashes)
    flag.touch()
    processes_of(own, "serving_image.model_replica")[0].kill()
    directory = ClusterDirectory.locate(own.cm.cluster_name)

    assert wait_for(lambda: (ended := directory.last_exit("fragile_1-0")) and ended.count >= 3, PATIENCE_S)
    assert wait_for(lambda: own.cm.list_replicas()[0].state is ReplicaState.DEAD, PATIENCE_S)
    flag.unlink()
    assert wait_for(lambda: own.get_num_replicas("fragile") == 1, PATIENCE_S)
    assert output(own, "fragile", [1.0]) == 1


def test_replicas_of_a_killed_deployment_are_removed_by_the_next(own: ClipperConnection) -> None:
    python_deployer.deploy_python_closure(own, "sum", 1, "doubles", feature_sum)
    spec_image = own.get_model_info("sum", 1)
    assert spec_image is not None
    own.stop_models(["sum"])
    own.cm.add_replicas(ModelSpec("sum", "1", "doubles", spec_image["container_name"]), 2)  # and then killed

    serve(own, "sum")  # the name and version that nobody has registered

    assert len(own.cm.list_replicas()) == len(own.get_all_model_replicas()) == 1
    assert output(own, "sum", [1.0, 2.0]) == 3.0


def test_a_frontend_that_ends_makes_the_start_fail_with_its_log(
    new_cluster_name: Callable[[], str], free_port: Callable[[], int]
) -> None:
    name = new_cluster_name()
    manager = LocalContainerManager(name, free_port(), free_port())

    with pytest.raises(ClusterStartError) as caught:
        manager.start_clipper(ClusterOptions(cache_size_bytes="a lot"))  # type: ignore[arg-type]

    assert "invalid" in str(caught.value)
    assert "exit code 2" in str(caught.value)
    assert [*processes_with(name), *directories_with(name)] == []


def test_cluster_of_another_version_is_not_connected_to(own: ClipperConnection) -> None:
    directory = ClusterDirectory.locate(own.cm.cluster_name)
    record = directory.read_record()
    assert record is not None
    write_atomically(directory.record_path, msgspec.structs.replace(record, protocol=99))

    with pytest.raises(ProtocolMismatchError, match=r"speaks protocol 99, this kernel speaks \d+"):
        LocalContainerManager(own.cm.cluster_name).connect()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "a" * 61, "a b"])
def test_cluster_name_that_is_no_directory_is_refused(name: str) -> None:
    with pytest.raises(BackendError, match="cannot be the name of a cluster"):
        LocalContainerManager(name)


# --- replicas ---


def test_image_of_a_running_replica_is_kept(own: ClipperConnection) -> None:
    serve(own, "sum")
    info = own.get_model_info("sum", 1)
    assert info is not None

    own.cm.remove_image(info["container_name"])

    with pytest.raises(ImageBuildError, match="There is no image"):
        own.set_num_replicas("sum", 2)
    processes_of(own, "serving_image.model_replica")[0].kill()
    assert wait_for(lambda: own.get_num_replicas("sum") == 1, PATIENCE_S)
    assert output(own, "sum", [1.0, 2.0]) == 3.0


def test_replica_that_takes_too_long_is_removed(own: ClipperConnection, free_port: Callable[[], int]) -> None:
    impatient = ClipperConnection(LocalContainerManager(own.cm.cluster_name, ready_timeout_s=1.0))
    impatient.connect()

    def loads_for_ever(xs: Any) -> list[str]:
        import threading

        threading.Event().wait()
        return []

    with pytest.raises(ReplicaStartError, match=r"was not ready within 1 s"):
        python_deployer.deploy_python_closure(impatient, "slow", 1, "doubles", loads_for_ever)

    assert own.cm.list_replicas() == []
    assert processes_of(own, "serving_image.model_replica") == []


def test_another_program_on_the_port_is_not_our_cluster(
    own: ClipperConnection, new_cluster_name: Callable[[], str]
) -> None:
    """A directory of a crash may name a port that another cluster has now."""
    dead = new_cluster_name()
    source, target = ClusterDirectory.locate(own.cm.cluster_name), ClusterDirectory.locate(dead)
    target.path.mkdir()
    target.record_path.write_bytes(source.record_path.read_bytes())
    try:
        with pytest.raises(NoClusterError):
            LocalContainerManager(dead).connect()
        assert requests.get(f"http://{own.get_query_addr()}/metrics", timeout=5).status_code == 200
    finally:
        LocalContainerManager(dead).stop_all()
    assert own.get_all_apps() == []
