"""What the management API answers about the cluster state: Clipper's shapes and field order, and our status."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serving_image.cluster_view import ClusterView
from serving_image.entities import Application, ModelVersion, Replica


class AppInfo(msgspec.Struct):
    """An application, as Clipper describes it."""

    input_type: str
    default_output: str
    latency_slo_micros: int
    name: str
    linked_models: Sequence[str]


class ModelInfo(msgspec.Struct):
    """A model version, as Clipper describes it."""

    model_name: str
    model_version: str
    input_type: str
    labels: Sequence[str]
    container_name: str
    model_data_path: str
    is_current_version: bool


class ReplicaInfo(msgspec.Struct):
    """A replica, as Clipper describes it."""

    model_id: str
    model_name: str
    model_version: str
    model_replica_id: int
    input_type: str


class VersionStatus(msgspec.Struct):
    """A model version with all that is known of it."""

    model_version: str
    input_type: str
    labels: Sequence[str]
    container_name: str
    model_data_path: str
    batch_size: int
    max_batch_delay_ms: float
    is_current_version: bool
    replicas: Sequence[Replica]


class ModelStatus(msgspec.Struct):
    """A model with its versions, in the order of their registration."""

    model_name: str
    input_type: str
    current_version: str
    versions: list[VersionStatus]


class Status(msgspec.Struct):
    """The whole cluster state at one revision."""

    cluster: str
    cluster_id: str
    revision: int
    applications: list[AppInfo]
    models: list[ModelStatus]


def app_info(app: Application) -> AppInfo:
    """Describe an application."""
    return AppInfo(app.input_type, app.default_output, app.latency_slo_micros, app.name, app.linked_models)


def app_infos(view: ClusterView) -> list[AppInfo]:
    """Describe all applications, by name."""
    return [app_info(app) for _, app in sorted(view.applications.items())]


def model_info(view: ClusterView, version: ModelVersion) -> ModelInfo:
    """Describe a model version."""
    return ModelInfo(
        version.model_name,
        version.model_version,
        version.input_type,
        version.labels or ("",),  # Clipper splits the empty text at its commas
        version.container_name,
        version.model_data_path,
        version.model_version == view.models[version.model_name].current_version,
    )


def versions_of(view: ClusterView) -> list[ModelVersion]:
    """Return all model versions, by model name, then in the order of their registration."""
    return [view.versions[name, v] for name, model in sorted(view.models.items()) for v in model.version_history]


def model_infos(view: ClusterView) -> list[ModelInfo]:
    """Describe all model versions."""
    return [model_info(view, version) for version in versions_of(view)]


def replicas_of(view: ClusterView, version: ModelVersion) -> list[ReplicaInfo]:
    """Describe the replicas of a model version."""
    name, number = version.model_name, version.model_version
    return [
        ReplicaInfo(f"{name}:{number}", name, number, replica.replica_id, version.input_type)
        for replica in view.replicas[name, number].replicas
    ]


def replica_infos(view: ClusterView) -> list[ReplicaInfo]:
    """Describe all replicas."""
    return [replica for version in versions_of(view) for replica in replicas_of(view, version)]


def status(view: ClusterView, cluster: str, cluster_id: str) -> Status:
    """Describe everything."""
    return Status(cluster, cluster_id, view.revision, app_infos(view), models_status(view))


def models_status(view: ClusterView) -> list[ModelStatus]:
    """Describe all models with their versions and replicas."""
    return [
        ModelStatus(
            name,
            model.input_type,
            model.current_version,
            [version_status(view, view.versions[name, v]) for v in model.version_history],
        )
        for name, model in sorted(view.models.items())
    ]


def version_status(view: ClusterView, version: ModelVersion) -> VersionStatus:
    """Describe a model version with its replicas."""
    return VersionStatus(
        version.model_version,
        version.input_type,
        version.labels,
        version.container_name,
        version.model_data_path,
        version.batch_size,
        version.max_batch_delay_ms,
        version.model_version == view.models[version.model_name].current_version,
        view.replicas[version.model_name, version.model_version].replicas,
    )
