"""Which container manager to take: Docker where its engine answers, local processes elsewhere."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clipper_magic.exceptions import DockerUnavailableError, InvalidArgumentError

if TYPE_CHECKING:
    from clipper_magic.container_manager import ContainerManager

BACKENDS = ("auto", "docker", "local")
DEFAULT_CLUSTER = "default-cluster"
ENGINE_TIMEOUT_S = 2.0

_MANAGERS = {
    "local": ("clipper_magic.managers.local", "LocalContainerManager"),
    "docker": ("clipper_magic.managers.docker", "DockerContainerManager"),
}


def choose_container_manager(
    backend: str | None = None, cluster_name: str | None = None, **options: Any
) -> ContainerManager:
    """Return the container manager of a backend; nothing is started.

    Parameters
    ----------
    backend : {"auto", "docker", "local"}, optional
        "auto" takes Docker where its engine answers, else local processes. Without it, the environment variable
        ``CLIPPER_BACKEND`` decides, and "auto" if that is not set.
    cluster_name : str, optional
        Identity of the cluster. Without it, the environment variable ``CLIPPER_CLUSTER`` decides, and
        "default-cluster" if that is not set.
    **options
        Go to the container manager's constructor.

    Raises
    ------
    DockerUnavailableError
        If Docker was asked for and no engine answers.
    InvalidArgumentError
        If there is no such backend.
    """
    kind, _ = choose(backend or os.environ.get("CLIPPER_BACKEND") or "auto")
    name = cluster_name or os.environ.get("CLIPPER_CLUSTER") or DEFAULT_CLUSTER
    return manager(kind, name, **options)


def choose(backend: str) -> tuple[str, DockerUnavailableError | None]:
    """Return "docker" or "local", and for "auto" why it is not Docker.

    Raises
    ------
    DockerUnavailableError
        If "docker" was asked for and no engine answers.
    InvalidArgumentError
        If there is no such backend.
    """
    if backend not in BACKENDS:
        raise InvalidArgumentError.of("bad-backend", backend=backend, backends=", ".join(BACKENDS))
    if backend == "local":
        return "local", None
    problem = docker_problem()
    if problem is not None and backend == "docker":
        raise problem
    return ("docker", None) if problem is None else ("local", problem)


def docker_problem() -> DockerUnavailableError | None:
    """Return why no Docker engine can be used, or None if one answers.

    Asked with a limit of ``ENGINE_TIMEOUT_S``; that the command is installed says nothing about the engine.
    """
    try:
        engine = import_module("clipper_magic.managers.docker_engine")
    except ModuleNotFoundError as exc:
        reason = f"the Python package '{exc.name}' is not installed"
        return DockerUnavailableError.of("docker-unavailable", reason=reason)
    try:
        engine.connect_engine(ENGINE_TIMEOUT_S).close()
    except DockerUnavailableError as exc:
        return exc
    return None


def manager(kind: str, cluster_name: str, **options: Any) -> ContainerManager:
    """Return the container manager of a kind, "local" or "docker", for a cluster's name."""
    module, name = _MANAGERS[kind]
    found: ContainerManager = getattr(import_module(module), name)(cluster_name=cluster_name, **options)
    return found
