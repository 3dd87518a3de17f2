"""The Docker backend, for the contract and for tests of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError
from requirements import require

from clipper_magic import DockerContainerManager
from clipper_magic.container_manager import CLIPPER_DOCKER_LABEL, Role
from clipper_magic.exceptions import DockerUnavailableError
from clipper_magic.managers.docker_engine import connect_engine
from clipper_magic.managers.docker_labels import METRIC_CONFIG, ROLE_LABELS, selector

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session", autouse=True)
def engine(session_token: str) -> Iterator[docker.DockerClient]:
    """A client of the engine; afterwards nothing of this run is left on it."""
    try:
        client = connect_engine()
    except DockerUnavailableError as err:
        require("docker", False, str(err))
        raise
    with_before = everything(client)
    yield client
    for image in client.images.list(filters={"label": CLIPPER_DOCKER_LABEL}):
        if image.labels[CLIPPER_DOCKER_LABEL].startswith(session_token):
            with suppress(APIError):
                client.images.remove(image.id, force=True)
    left = everything(client) - with_before
    client.close()
    assert not left, f"left on the engine: {left}"


def everything(client: docker.DockerClient) -> set[str]:
    """Return what is on the engine: containers, networks and volumes."""
    containers = {f"container {each.name}" for each in client.containers.list(all=True)}
    networks = {f"network {each.name}" for each in client.networks.list()}
    return containers | networks | {f"volume {each.name}" for each in client.volumes.list()}


class DockerBackend:
    """``contract.Backend`` on containers."""

    def __init__(self, client: docker.DockerClient, network: str, free_port: Callable[[], int]) -> None:
        self.client = client
        self.network = network
        self._free_port = free_port

    def manager(self, cluster_name: str, **options: Any) -> DockerContainerManager:
        ports = {
            "clipper_query_port": self._free_port(),
            "clipper_management_port": self._free_port(),
            "prometheus_port": self._free_port(),
        }
        return DockerContainerManager(cluster_name, **{"docker_network": self.network, **ports, **options})

    def manager_source(self, cluster_name: str) -> str:
        return (
            "from clipper_magic import DockerContainerManager; "
            f"manager = DockerContainerManager({cluster_name!r}, docker_network={self.network!r})"
        )

    def members(self, cluster_name: str, role: Role | None = None) -> list[Any]:
        """Return the containers of a cluster, or those of a role."""
        wanted = [ROLE_LABELS[role]] if role else []
        return list(self.client.containers.list(all=True, filters=selector(cluster_name, *wanted)))

    def kill(self, cluster_name: str, role: Role) -> None:
        for member in self.members(cluster_name, role):
            member.kill()

    def leftovers(self, cluster_name: str) -> list[str]:
        labelled = selector(cluster_name)
        found = [each.name for each in self.client.containers.list(all=True, filters=labelled)]
        found += [each.name for each in self.client.networks.list(filters=labelled)]
        return found + [each.name for each in self.client.volumes.list(filters=labelled)]

    def metric_config(self, cluster_name: str) -> Path:
        """Return where the copy of Prometheus' configuration is."""
        labels = [member.labels for member in self.members(cluster_name)]
        return Path(next(each[METRIC_CONFIG] for each in labels if METRIC_CONFIG in each))


@pytest.fixture(scope="session")
def backend(engine: docker.DockerClient, session_token: str, free_port: Callable[[], int]) -> DockerBackend:
    return DockerBackend(engine, f"{session_token}-net", free_port)
