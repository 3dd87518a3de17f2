"""The seam between the connection and whatever runs the processes.

A container manager starts commands and finds their addresses. It knows no application, no link and no current
version: those live in the cluster's state, behind the management frontend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DEFAULT_PREDICTION_CACHE_SIZE_BYTES = 33_554_432

# Clipper's label names: scripts and dashboards look for them.
CLIPPER_DOCKER_LABEL = "ai.clipper.container.label"
CLIPPER_NAME_LABEL = "ai.clipper.name"
CLIPPER_MODEL_CONTAINER_LABEL = "ai.clipper.model_container.label"
CLIPPER_QUERY_FRONTEND_CONTAINER_LABEL = "ai.clipper.query_frontend.label"
CLIPPER_QUERY_FRONTEND_ID_LABEL = "ai.clipper.query_frontend.id"
CLIPPER_MGMT_FRONTEND_CONTAINER_LABEL = "ai.clipper.management_frontend.label"

NO_CONTAINER = "NO_CONTAINER"
"""Image name of a model that Clipper does not run (Clipper's word)."""


class Role(StrEnum):
    """What a process of the cluster does."""

    QUERY_FRONTEND = "query_frontend"
    MANAGEMENT_FRONTEND = "management_frontend"
    MODEL_REPLICA = "model_replica"


class ReplicaState(StrEnum):
    """What a replica is seen to do."""

    READY = "ready"
    STARTING = "starting"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How to start a cluster.

    Parameters
    ----------
    cache_size_bytes : int
        Prediction cache of each query frontend; 0 or 1 switches it off.
    num_frontend_replicas : int, >= 1
        Query frontends behind the query port.
    query_frontend_image, mgmt_frontend_image, frontend_exporter_image : str
        Image names, for backends that have images; empty means the backend's own.
    http_thread_pool_size : int
        Accepted as Clipper does; the frontends run on one event loop.
    http_timeout_request_s, http_timeout_content_s : int
        Accepted as Clipper does.
    """

    cache_size_bytes: int = DEFAULT_PREDICTION_CACHE_SIZE_BYTES
    num_frontend_replicas: int = 1
    query_frontend_image: str = ""
    mgmt_frontend_image: str = ""
    frontend_exporter_image: str = ""
    http_thread_pool_size: int = 1
    http_timeout_request_s: int = 5
    http_timeout_content_s: int = 300


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a replica must be told: model, version, canonical input type and image."""

    name: str
    version: str
    input_type: str
    image: str


@dataclass(frozen=True, slots=True)
class Replica:
    """One running copy of a model version.

    ``address`` is what the query frontends call: ``unix:/path.sock`` or ``host:port``.
    """

    model_name: str
    model_version: str
    replica_id: int
    address: str


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica and what it was seen to do."""

    replica: Replica
    state: ReplicaState


@dataclass(frozen=True, slots=True)
class StopReport:
    """What ``stop_all`` ended: names of processes or containers, and those that it had to kill."""

    stopped: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()


class ContainerManager(ABC):
    """Starts, finds and stops the processes of one cluster.

    Attributes
    ----------
    cluster_name : str
        Identity of the cluster: two managers with the same name mean the same cluster.
    """

    cluster_name: str

    @abstractmethod
    def start_clipper(self, options: ClusterOptions) -> None:
        """Start the frontends; return when each answers ``/health`` with this cluster's id.

        Raises
        ------
        ClusterExistsError
            If a cluster of this name runs.
        BackendError
            If a frontend does not become ready.
        """

    @abstractmethod
    def connect(self) -> None:
        """Find the running cluster by its name.

        Raises
        ------
        NoClusterError
            If none runs.
        """

    @abstractmethod
    def build_image(
        self,
        name: str,
        version: str,
        model_data_path: str,
        base_image: str,
        container_registry: str | None = None,
        pkgs_to_install: Sequence[str] | None = None,
    ) -> str:
        """Make an image of a model directory and return the image's name.

        Replicas that run an older image of that name keep it.

        Raises
        ------
        ImageBuildError
            With the failing step.
        """

    @abstractmethod
    def add_replicas(self, model: ModelSpec, count: int) -> list[Replica]:
        """Start ``count`` replicas; return when every one answers ``/health``.

        Raises
        ------
        ReplicaStartError
            If one ends or is not ready in time; those that this call started are removed first.
        """

    @abstractmethod
    def remove_replicas(self, replicas: Sequence[Replica]) -> None:
        """Stop these replicas; one that is gone already is no error."""

    @abstractmethod
    def list_replicas(self) -> list[ReplicaStatus]:
        """Return what runs now: observed, not what was asked for."""

    def get_num_replicas(self, name: str, version: str) -> int:
        """Return how many replicas of a model version run and answer."""
        return sum(
            status.state is ReplicaState.READY
            and (status.replica.model_name, status.replica.model_version) == (name, version)
            for status in self.list_replicas()
        )

    @abstractmethod
    def get_logs(self, logging_dir: str) -> list[str]:
        """Write the log of each process into ``logging_dir``, overwriting; return the paths."""

    @abstractmethod
    def tail_log(self, source: Replica | Role, lines: int = 100) -> str:
        """Return the last ``lines`` log lines of a replica or of a role's processes."""

    def replica_errors(self, replica: Replica) -> list[dict[str, Any]]:
        """Return what the model of a replica raised: its ``GET /errors``, empty if it does not answer.

        A manager whose replicas have addresses that this process cannot reach overrides it.
        """
        from clipper_magic.managers.health import read_json  # here, as the supervisor has no use for an HTTP client

        return list((read_json(replica.address, "/errors") or {}).get("errors", ()))

    @abstractmethod
    def remove_image(self, image: str) -> None:
        """Delete an image that nothing runs; an unknown one is no error."""

    def list_images(self) -> list[str]:
        """Return the images of the cluster's models that ``stop_all`` leaves; works unconnected."""
        return []

    @abstractmethod
    def stop_all(self, graceful: bool = True) -> StopReport:
        """Stop every process of the cluster and remove what it left; works unconnected.

        Parameters
        ----------
        graceful : bool
            Let requests in flight finish (bounded); else end at once.
        """

    def keeps_state(self) -> bool:
        """Return whether applications, models and links outlive ``stop_all``; works unconnected.

        Of a cluster that runs, whether they will be kept; of one that was stopped, whether they are.
        """
        return False

    def allows_network(self) -> bool:
        """Return whether models of the running cluster may open connections to the outside."""
        return True

    @abstractmethod
    def get_admin_addr(self) -> str:
        """Return ``host:port`` of the management frontend."""

    @abstractmethod
    def get_query_addr(self) -> str:
        """Return ``host:port`` of the query frontends."""

    @abstractmethod
    def get_metric_addr(self) -> str:
        """Return ``host:port`` where metrics are collected."""
