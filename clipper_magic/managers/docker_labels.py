"""What the labels of containers say. They are all that a cluster keeps about itself on the engine.

The names are Clipper's where it has one; the rest is in the same namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clipper_magic.container_manager import (
    CLIPPER_DOCKER_LABEL,
    CLIPPER_MGMT_FRONTEND_CONTAINER_LABEL,
    CLIPPER_MODEL_CONTAINER_LABEL,
    CLIPPER_QUERY_FRONTEND_CONTAINER_LABEL,
    Replica,
    Role,
)

CLUSTER_ID = "ai.clipper.cluster.id"
PROTOCOL = "ai.clipper.protocol"
REDIS_PORT = "ai.clipper.redis.port"
MANAGEMENT_PORT = "ai.clipper.management.port"
QUERY_PORT = "ai.clipper.query_frontend.query.port"
REPLICA_PORT = "ai.clipper.query_frontend.rpc.port"
METRIC_PORT = "ai.clipper.metric.port"
METRIC_CONFIG = "ai.clipper.metric.config"
MODEL_NAME = "ai.clipper.model.name"
MODEL_VERSION = "ai.clipper.model.version"
REPLICA_ID = "ai.clipper.model.replica_id"
SERVING_IMAGE = "ai.clipper.serving.image"
KEEP_STATE = "ai.clipper.keep_state"
MEMORY_LIMIT = "ai.clipper.replica.memory_limit"
CPU_LIMIT = "ai.clipper.replica.cpu_limit"

ROLE_LABELS: Mapping[Role, str] = {
    Role.QUERY_FRONTEND: CLIPPER_QUERY_FRONTEND_CONTAINER_LABEL,
    Role.MANAGEMENT_FRONTEND: CLIPPER_MGMT_FRONTEND_CONTAINER_LABEL,
    Role.MODEL_REPLICA: CLIPPER_MODEL_CONTAINER_LABEL,
}


@dataclass(frozen=True, slots=True)
class DockerCluster:
    """A cluster as its containers' labels describe it.

    Attributes
    ----------
    cluster_id : str
        New at each start.
    protocol : int
        What its containers speak.
    query_port, management_port : int
        Published on the machine of the engine.
    metric_port : int
        Prometheus, published; 0 without metrics.
    replica_port : int
        Where replicas listen inside their containers.
    metric_config : str
        Path of the copy of Prometheus' configuration; empty without metrics.
    serving_image : str
        What its frontends run.
    memory_limit : str or None
        Of each replica.
    cpu_limit : float or None
        Of each replica.
    """

    cluster_id: str
    protocol: int
    query_port: int
    management_port: int
    metric_port: int
    replica_port: int
    metric_config: str
    serving_image: str
    memory_limit: str | None
    cpu_limit: float | None


def cluster_label(cluster_name: str) -> dict[str, str]:
    """Return the label that everything of a cluster has: its identity."""
    return {CLIPPER_DOCKER_LABEL: cluster_name}


def selector(cluster_name: str, *labels: str) -> dict[str, list[str]]:
    """Return the engine's filter for what has the cluster's label and all of ``labels``."""
    return {"label": [f"{CLIPPER_DOCKER_LABEL}={cluster_name}", *labels]}


def read_cluster(labels_of_all: Iterable[Mapping[str, str]]) -> DockerCluster | None:
    """Return the cluster that a set of containers forms, or None if a frontend is missing."""
    labels = {key: value for each in labels_of_all for key, value in each.items()}
    if QUERY_PORT not in labels or MANAGEMENT_PORT not in labels:
        return None
    return DockerCluster(
        cluster_id=labels[CLUSTER_ID],
        protocol=int(labels[PROTOCOL]),
        query_port=int(labels[QUERY_PORT]),
        management_port=int(labels[MANAGEMENT_PORT]),
        metric_port=int(labels.get(METRIC_PORT, "0")),
        replica_port=int(labels[REPLICA_PORT]),
        metric_config=labels.get(METRIC_CONFIG, ""),
        serving_image=labels[SERVING_IMAGE],
        memory_limit=labels.get(MEMORY_LIMIT),
        cpu_limit=float(labels[CPU_LIMIT]) if CPU_LIMIT in labels else None,
    )


def limit_labels(memory_limit: str | None, cpu_limit: float | None) -> dict[str, str]:
    """Return the labels by which whoever connects knows the limits of the cluster's replicas."""
    limits = {MEMORY_LIMIT: memory_limit, CPU_LIMIT: cpu_limit}
    return {label: str(limit) for label, limit in limits.items() if limit}


def replica_labels(replica: Replica) -> dict[str, str]:
    """Return the labels of a replica's container."""
    return {
        CLIPPER_MODEL_CONTAINER_LABEL: f"{replica.model_name}_{replica.model_version}",
        MODEL_NAME: replica.model_name,
        MODEL_VERSION: replica.model_version,
        REPLICA_ID: str(replica.replica_id),
    }


def read_replica(container_name: str, labels: Mapping[str, str], port: int) -> Replica:
    """Return the replica that a container is."""
    return Replica(
        model_name=labels[MODEL_NAME],
        model_version=labels[MODEL_VERSION],
        replica_id=int(labels[REPLICA_ID]),
        address=f"{container_name}:{port}",
    )
