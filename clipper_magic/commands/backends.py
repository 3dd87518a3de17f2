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


def find(backend: str, cluster: str, ready_timeout_s: float) -> ClipperConnection:
    """Return a connection to the running cluster of a name.

    "auto" looks for local processes first, which is a look into a directory, then asks Docker.

    Raises
    ------
    NoClusterError
        If there is none.
    """
    from clipper_magic.connection import ClipperConnection

    for kind in ("local", "docker") if backend == "auto" else (backend,):
        if kind == "docker" and docker_problem() is not None:
            if backend == "docker":
                choose("docker")
            continue
        connection = ClipperConnection(manager(kind, cluster, ready_timeout_s=ready_timeout_s))
        try:
            connection.connect()
        except NoClusterError:
            continue
        return connection
    raise NoClusterError.of("no-cluster", cluster=cluster)
