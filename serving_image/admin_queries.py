"""The questions that the management API answers: Clipper's ``get_*``, each a function of the state and a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from serving_image import admin_requests, admin_views
from serving_image.cluster_view import ClusterView

Query: TypeAlias = Callable[[ClusterView, Any], Any]
"""A JSON value (or text as bytes) from the state and a decoded request."""


def get_all_applications(view: ClusterView, request: admin_requests.Verbose) -> Any:
    """Answer the names or the descriptions of all applications."""
    apps = admin_views.app_infos(view)
    return apps if request.verbose else [app.name for app in apps]


def get_application(view: ClusterView, request: admin_requests.AppName) -> Any:
    """Answer the description of an application, ``{}`` if there is none."""
    app = view.applications.get(request.name)
    return {} if app is None else admin_views.app_info(app)


def get_linked_models(view: ClusterView, request: admin_requests.LinkedApp) -> Any:
    """Answer the names of the models that an application is linked to."""
    return view.application(request.app_name, "No application with name '{}' exists.").linked_models


def get_all_models(view: ClusterView, request: admin_requests.Verbose) -> Any:
    """Answer ``name:version`` or the description of each model version."""
    models = admin_views.model_infos(view)
    return models if request.verbose else [f"{model.model_name}:{model.model_version}" for model in models]


def get_model(view: ClusterView, request: admin_requests.VersionName) -> Any:
    """Answer the description of a model version, ``{}`` if there is none."""
    version = view.versions.get((request.model_name, request.model_version))
    return {} if version is None else admin_views.model_info(view, version)


def get_all_containers(view: ClusterView, request: admin_requests.Verbose) -> Any:
    """Answer ``name:version:replica_id`` or the description of each replica."""
    replicas = admin_views.replica_infos(view)
    return replicas if request.verbose else [f"{r.model_id}:{r.model_replica_id}" for r in replicas]


def get_container(view: ClusterView, request: admin_requests.ReplicaName) -> Any:
    """Answer the description of a replica, ``{}`` if there is none."""
    version = view.versions.get((request.model_name, request.model_version))
    found = [] if version is None else admin_views.replicas_of(view, version)
    return next((replica for replica in found if replica.model_replica_id == request.replica_id), {})


def get_state(view: ClusterView, request: admin_requests.AppState) -> Any:
    """Answer the default output: the state of the only selection policy that is left in Clipper, as text."""
    return view.application(request.app_name).default_output.encode()


QUERIES: Mapping[str, tuple[type[msgspec.Struct], Query]] = MappingProxyType(
    {
        "get_all_applications": (admin_requests.Verbose, get_all_applications),
        "get_application": (admin_requests.AppName, get_application),
        "get_linked_models": (admin_requests.LinkedApp, get_linked_models),
        "get_all_models": (admin_requests.Verbose, get_all_models),
        "get_model": (admin_requests.VersionName, get_model),
        "get_all_containers": (admin_requests.Verbose, get_all_containers),
        "get_container": (admin_requests.ReplicaName, get_container),
        "get_state": (admin_requests.AppState, get_state),
    }
)
