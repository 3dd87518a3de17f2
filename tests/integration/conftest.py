"""The local backend, for the contract and for tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from leftovers import directories_with, processes_with

from clipper_magic import LocalContainerManager
from clipper_magic.container_manager import Role
from clipper_magic.managers.cluster_directory import ClusterDirectory
from clipper_magic.managers.processes import ProcessGroup


class LocalBackend:
    """``contract_world.Backend`` on local processes."""

    def __init__(self, free_port: Callable[[], int]) -> None:
        self._free_port = free_port

    def manager(self, cluster_name: str, **options: Any) -> LocalContainerManager:
        return LocalContainerManager(cluster_name, self._free_port(), self._free_port(), **options)

    def manager_source(self, cluster_name: str) -> str:
        return f"from clipper_magic import LocalContainerManager; manager = LocalContainerManager({cluster_name!r})"

    def kill(self, cluster_name: str, role: Role) -> None:
        for process in ProcessGroup(ClusterDirectory.locate(cluster_name)).find():
            if f"serving_image.{role}" in process.info["cmdline"]:
                process.kill()

    def leftovers(self, cluster_name: str) -> list[str]:
        return [*processes_with(cluster_name), *directories_with(cluster_name)]


@pytest.fixture(scope="session")
def backend(free_port: Callable[[], int]) -> LocalBackend:
    return LocalBackend(free_port)
