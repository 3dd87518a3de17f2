"""The questions that the management API answers: Clipper's ``get_*``, each a function of the state and a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from serving_image.admin_requests import (
    AppName,
    AppState,
    LinkedApp,
    Nothing,
    ReplicaName,
    Verbose,
    VersionName,
)
from serving_image.admin_views import (
    AppInfo,
    ModelInfo,
    ReplicaInfo,
    app_info,
    app_infos,
    model_info,
    model_infos,
    replica_infos,
    replicas_of,
)
from serving_image.cluster_view import ClusterView

Query: TypeAlias = Callable[[ClusterView, Any], Any]
"""An answer (text if it is a ``str``, else JSON) from the state and a decoded request."""


def get_all_applications(view: ClusterView, request: Verbose) -> list[AppInfo] | list[str]:
    """Answer the names or the descriptions of all applications."""
    apps = app_infos(view)
    return apps if request.verbose else [app.name for app in apps]


def get_application(view: ClusterView, request: AppName) -> AppInfo | Nothing:
    """Answer the description of an application, ``{}`` if there is none."""
    app = view.applications.get(request.name)
    return Nothing() if app is None else app_info(app)


def get_linked_models(view: ClusterView, request: LinkedApp) -> tuple[str, ...]:
    """Answer the names of the models that an application is linked to."""
    return view.application(request.app_name, "No application with name '{}' exists.").linked_models


def get_all_models(view: ClusterView, request: Verbose) -> list[ModelInfo] | list[str]:
    """Answer ``name:version`` or the description of each model version."""
    models = model_infos(view)
    return models if request.verbose else [f"{model.model_name}:{model.model_version}" for model in models]


def get_model(view: ClusterView, request: VersionName) -> ModelInfo | Nothing:
    """Answer the description of a model version, ``{}`` if there is none."""
    version = view.versions.get((request.model_name, request.model_version))
    return Nothing() if version is None else model_info(view, version)


def get_all_containers(view: ClusterView, request: Verbose) -> list[ReplicaInfo] | list[str]:
    """Answer ``name:version:replica_id`` or the description of each replica."""
    replicas = replica_infos(view)
    return replicas if request.verbose else [f"{r.model_id}:{r.model_replica_id}" for r in replicas]


def get_container(view: ClusterView, request: ReplicaName) -> ReplicaInfo | Nothing:
    """Answer the description of a replica, ``{}`` if there is none."""
    version = view.versions.get((request.model_name, request.model_version))
    found = [] if version is None else replicas_of(view, version)
    return next((replica for replica in found if replica.model_replica_id == request.replica_id), Nothing())


def get_state(view: ClusterView, request: AppState) -> Any:
    """Answer the default output as it is: the state of the only selection policy that is left in Clipper."""
    return view.application(request.app_name).default_output


QUERIES: Mapping[str, tuple[type[msgspec.Struct], Query]] = MappingProxyType(
    {
        "get_all_applications": (Verbose, get_all_applications),
        "get_application": (AppName, get_application),
        "get_linked_models": (LinkedApp, get_linked_models),
        "get_all_models": (Verbose, get_all_models),
        "get_model": (VersionName, get_model),
        "get_all_containers": (Verbose, get_all_containers),
        "get_container": (ReplicaName, get_container),
        "get_state": (AppState, get_state),
    }
)
