"""Which container manager a command works with, and where a running cluster is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipper_magic.exceptions import NoClusterError
from clipper_magic.managers.choice import choose, docker_problem, manager

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection
    from clipper_magic.container_manager import ContainerManager

DEFAULT_QUERY_PORT = 1337


def kind_of(container_manager: ContainerManager) -> str:
    """Return the word for a manager's backend: its class says it."""
    return type(container_manager).__name__.removesuffix("ContainerManager").lower()


def kinds(backend: str) -> list[str]:
    """Return the kinds of managers that may have a cluster: both for "auto", if a Docker engine answers.

    Raises
    ------
    DockerUnavailableError
        If "docker" was asked for and no engine answers.
    """
    if backend == "auto":
        return ["local"] if docker_problem() is not None else ["local", "docker"]
    return [choose(backend)[0]]


def find(backend: str, cluster: str, ready_timeout_s: float) -> ClipperConnection:
    """Return a connection to the running cluster of a name.

    "auto" looks for local processes first, which is a look into a directory, then asks Docker.

    Raises
    ------
    NoClusterError
        If there is none.
    """
    from clipper_magic.connection import ClipperConnection

    for kind in kinds(backend):
        connection = ClipperConnection(manager(kind, cluster, ready_timeout_s=ready_timeout_s))
        try:
            connection.connect()
        except NoClusterError:
            continue
        return connection
    raise NoClusterError.of("no-cluster", cluster=cluster)
