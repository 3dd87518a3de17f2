"""The Docker backend, for the contract and for tests of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError
from requirements import require

from clipper_magic import ClipperConnection, DockerContainerManager
from clipper_magic.container_manager import CLIPPER_DOCKER_LABEL, Role
from clipper_magic.exceptions import DockerUnavailableError
from clipper_magic.managers.docker_containers import in_parallel
from clipper_magic.managers.docker_engine import connect_engine
from clipper_magic.managers.docker_images import REDIS, DockerImages
from clipper_magic.managers.docker_labels import METRIC_CONFIG, ROLE_LABELS, selector
from clipper_magic.managers.waiting import wait_for

HERE = Path(__file__).parent
PATIENCE_S = 60.0
OTHER_RUN = re.compile(r"t[0-9a-f]{6}-|clipper_network")


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
    before = unclaimed(client, session_token)
    yield client
    built = client.images.list(filters={"label": CLIPPER_DOCKER_LABEL})
    in_parallel(
        lambda image: remove_image(client, image.id),
        [image for image in built if image.labels[CLIPPER_DOCKER_LABEL].startswith(session_token)],
    )
    # The containers of other people's builds are nobody's, and go by themselves.
    wait_for(lambda: unclaimed(client, session_token) <= before, PATIENCE_S, every_s=0.5)
    left = unclaimed(client, session_token) - before
    client.close()
    assert not left, f"left on the engine: {left}"


def remove_image(client: docker.DockerClient, image_id: str) -> None:
    """Remove an image; its parent may be gone with another of these."""
    with suppress(APIError):
        client.images.remove(image_id, force=True)


def unclaimed(client: docker.DockerClient, session_token: str) -> set[str]:
    """Return the containers, networks and volumes that are this run's or nobody's: others may use the engine too."""
    containers = {
        f"container {each.name}": each.labels for each in client.containers.list(all=True, ignore_removed=True)
    }
    networks = {f"network {each.name}": each.attrs["Labels"] or {} for each in client.networks.list()}
    volumes = {f"volume {each.name}": each.attrs["Labels"] or {} for each in client.volumes.list()}
    found = set()
    for name, labels in {**containers, **networks, **volumes}.items():
        owner = labels.get(CLIPPER_DOCKER_LABEL, name.partition(" ")[2])
        if owner.startswith(session_token) or not (CLIPPER_DOCKER_LABEL in labels or OTHER_RUN.match(owner)):
            found.add(name)
    return found


@pytest.fixture(scope="session")
def redis_image(engine: docker.DockerClient, session_token: str) -> str:
    """A small local image: the one that clusters run as Redis."""
    return DockerImages(engine, session_token, "", {}, lambda line: None).ensure(REDIS)


class DockerBackend:
    """``contract_world.Backend`` on containers."""

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


@pytest.fixture(scope="module")
def cluster(backend: DockerBackend, new_cluster_name: Callable[[], str]) -> Iterator[ClipperConnection]:
    """One cluster for the tests of a module."""
    started = ClipperConnection(backend.manager(new_cluster_name()))
    started.start_clipper()
    yield started
    started.stop_all()


@pytest.fixture
def connect(backend: DockerBackend, new_cluster_name: Callable[[], str]) -> Iterator[Callable[..., ClipperConnection]]:
    """Return a function that returns connections with clusters of their own, stopped afterwards."""
    made: list[ClipperConnection] = []

    def new(**options: Any) -> ClipperConnection:
        made.append(ClipperConnection(backend.manager(options.pop("cluster_name", new_cluster_name()), **options)))
        return made[-1]

    yield new
    for connection in made:
        connection.stop_all(graceful=False)
