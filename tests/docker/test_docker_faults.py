"""What a cluster survives while 32 clients ask: `docker kill` and crashes of each container; and no engine at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import docker
import pytest
from conftest import DockerBackend
from contract_world import Traffic, feature_sum, output, serve, snapshot
from docker.models.containers import Container
from requirements import require

from clipper_magic import ClipperConnection, DockerContainerManager
from clipper_magic.container_manager import Role
from clipper_magic.exceptions import DockerUnavailableError, NoClusterError
from clipper_magic.log import get_cluster_logger
from clipper_magic.managers.docker_keeper import Keeper
from clipper_magic.managers.docker_labels import REDIS_PORT, cluster_label
from clipper_magic.managers.waiting import wait_for

CLIENTS = 32
CLIENT_TIMEOUT_S = 10.0
PATIENCE_S = 60.0
VICTIMS = {
    "replica": "ai.clipper.model_container.label",
    "query frontend": "ai.clipper.query_frontend.label",
    "management frontend": "ai.clipper.management_frontend.label",
    "redis": REDIS_PORT,
}


@pytest.fixture(scope="module")
def new_cluster(
    backend: DockerBackend, new_cluster_name: Callable[[], str]
) -> Iterator[Callable[[str], ClipperConnection]]:
    """Return a function that returns a cluster with an application, its model and two replicas, one for each name.

    A query frontend that dies has a cluster of its own: with an engine that has no userland proxy, the machine
    remembers for ten seconds which of its ports were refused, and leads a new connection from one of them astray.
    """
    made: dict[str, ClipperConnection] = {}

    def get(name: str) -> ClipperConnection:
        if name not in made:
            made[name] = ClipperConnection(backend.manager(new_cluster_name(), with_metrics=False))
            made[name].start_clipper()
            serve(made[name], "asked", feature_sum)
            made[name].set_num_replicas("asked", 2)
        return made[name]

    yield get
    for connection in made.values():
        connection.stop_all()


@pytest.mark.parametrize("victim", list(VICTIMS))
@pytest.mark.parametrize("how", ["docker kill", "crash"])
def test_fault_while_clients_ask(
    new_cluster: Callable[[str], ClipperConnection], backend: DockerBackend, victim: str, how: str
) -> None:
    """Nothing is refused but by a query frontend that restarts, no answer is wrong, no registration is lost."""
    require("docker", how != "crash" or os.geteuid() == 0, "only root may kill a container's process")
    cluster = new_cluster(f"{victim}, {how}" if victim == "query frontend" else "the others")
    before = snapshot(cluster)
    members = backend.members(cluster.cm.cluster_name)
    target = next(each for each in members if VICTIMS[victim] in each.labels)

    with ExitStack() as stack:
        clients = [stack.enter_context(Traffic(cluster, "asked", CLIENT_TIMEOUT_S)) for _ in range(CLIENTS)]
        if how == "docker kill":
            target.kill()
        else:
            os.kill(process_of_ours(target), signal.SIGKILL)
        assert wait_for(lambda: has_started_again(target), PATIENCE_S), f"{victim} did not come back"
        for client in clients:
            client.wait_for_good()

    assert [client.strange for client in clients if client.strange] == []
    if victim != "query frontend":
        assert sum(client.refused for client in clients) == 0
    assert wait_for(lambda: cluster.get_num_replicas("asked") == 2, PATIENCE_S)
    assert snapshot(cluster) == before
    cluster.register_application(f"after-{victim[:3]}-{how[:1]}", "doubles", "-1", 100_000)
    assert output(cluster, "asked", [1.0, 2.5]) == 3.5


def has_started_again(container: Container) -> bool:
    """Return whether a container runs and was started after it was last looked at."""
    former = container.attrs["State"]["StartedAt"]
    look = container.client.containers.get(container.id)
    return look.status == "running" and look.attrs["State"]["StartedAt"] != former


def process_of_ours(container: Container) -> int:
    """Return the process below a container's init: the one that a crash would end."""
    init = container.attrs["State"]["Pid"]
    return int(Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])


def test_crash_is_mended_without_any_kernel(backend: DockerBackend, new_cluster_name: Callable[[], str]) -> None:
    """The interpreter that started the cluster is gone; the engine brings back what crashes."""
    require("docker", os.geteuid() == 0, "only root may kill a container's process")
    name = new_cluster_name()
    code = f"""
from clipper_magic import ClipperConnection
{backend.manager_source(name)}
connection = ClipperConnection(manager)
connection.start_clipper()
connection.register_application("orphan", "doubles", "-1.0", 100_000)
import os; os._exit(0)
"""
    observer = ClipperConnection(backend.manager(name))
    try:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        (frontend,) = backend.members(name, Role.QUERY_FRONTEND)
        os.kill(process_of_ours(frontend), signal.SIGKILL)

        assert wait_for(lambda: has_started_again(frontend), PATIENCE_S)
        observer.connect()
        assert output(observer, "orphan", [1.0]) == -1.0
    finally:
        observer.stop_all()


def test_container_that_hangs_is_started_again(
    backend: DockerBackend, new_cluster_name: Callable[[], str], engine: docker.DockerClient, redis_image: str
) -> None:
    """The engine's restart policy knows of health checks that fail, and does nothing about them."""
    name = new_cluster_name()
    check = {"test": ["CMD", "redis-server", "no-such-file"], "interval": 10**9, "timeout": 10**9, "retries": 1}
    keeper = Keeper(engine, name, get_cluster_logger(name))
    keeper.start()
    hanging = engine.containers.run(
        redis_image, "redis-server", detach=True, labels=cluster_label(name), healthcheck=check
    )
    try:
        hanging.reload()
        assert wait_for(lambda: has_started_again(hanging), PATIENCE_S)
    finally:
        keeper.close()
        hanging.remove(force=True, v=True)


# --- no engine ---


def test_engine_that_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    connection = ClipperConnection(DockerContainerManager("nowhere"))

    with pytest.raises(DockerUnavailableError) as caught:
        connection.start_clipper()

    assert caught.value.msg == "Unable to Connect to Docker. Please Check if Docker is running."
    assert str(caught.value).startswith("Docker is installed, but its engine does not run: no such file or directory.")
    assert "sudo systemctl start docker" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DockerUnavailableError, match="Docker is not installed here") as caught:
        DockerContainerManager("nowhere").connect()

    assert "Install Docker Engine" in caught.value.fix
    assert "\n" not in str(caught.value)


def test_engine_that_may_not_be_used() -> None:
    """The engine's own socket, seen by a user who is not in its group."""
    require("docker", os.geteuid() == 0, "only root may become another user")
    manager = DockerContainerManager("nowhere")
    os.seteuid(65534)
    try:
        with pytest.raises(DockerUnavailableError, match="may not use the Docker engine: permission denied") as caught:
            manager.connect()
    finally:
        os.seteuid(0)

    assert "usermod -aG docker" in caught.value.fix
    assert "\n" not in str(caught.value)


def test_connect_without_a_cluster_says_how_to_start_one(
    backend: DockerBackend, new_cluster_name: Callable[[], str]
) -> None:
    with pytest.raises(NoClusterError, match="start_clipper"):
        backend.manager(new_cluster_name()).connect()
