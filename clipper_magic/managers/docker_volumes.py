"""Volumes: the state of a cluster, which may outlive it, and the figures of its Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

import docker
from docker.models.volumes import Volume

from clipper_magic.log import ClusterLogger
from clipper_magic.managers.docker_containers import in_parallel
from clipper_magic.managers.docker_labels import selector


class Volumes:
    """The volumes of one cluster.

    Parameters
    ----------
    client : docker.DockerClient
        The engine.
    cluster_name : str
        In their names.
    labels : mapping of str to str
        The cluster's.
    """

    def __init__(self, client: docker.DockerClient, cluster_name: str, labels: Mapping[str, str]) -> None:
        self._client = client
        self._cluster_name = cluster_name
        self._labels = dict(labels)
        self.state = f"clipper-{cluster_name}-state"
        self.metrics = f"clipper-{cluster_name}-metrics"

    def make(self, name: str) -> str:
        """Make a volume unless it exists; return its name."""
        return str(self._client.volumes.create(name, labels=self._labels).name)

    def has_state(self) -> bool:
        """Return whether there is the state of a cluster: one that runs, or one that kept it."""
        return any(volume.name == self.state for volume in self._all())

    def prepare(self, keep: bool, logger: ClusterLogger) -> bool:
        """Say what becomes of the state at the start of a cluster; return whether there is one to take up."""
        found = self.has_state()
        if found and keep:
            logger.info("Taking up the state of the cluster that was stopped (volume %s)", self.state)
        elif found:
            logger.info("Forgetting the state of an earlier cluster; keep_state=True would take it up")
        elif keep:
            logger.info("stop_all will keep the state (volume %s)", self.state)
        return found and keep

    def remove(self, keep_state: bool) -> None:
        """Remove the volumes, or all but the state."""
        kept = self.state if keep_state else ""
        in_parallel(lambda volume: volume.remove(force=True), [v for v in self._all() if v.name != kept])

    def _all(self) -> list[Volume]:
        return list(self._client.volumes.list(filters=selector(self._cluster_name)))
