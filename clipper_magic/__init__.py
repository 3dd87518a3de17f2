"""Serve a model from a notebook, the Clipper way.

>>> from clipper_magic import ClipperConnection, LocalContainerManager
>>> clipper_conn = ClipperConnection(LocalContainerManager())

In a notebook: ``%load_ext clipper_magic``, then ``%clipper start``.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clipper_magic._version import __version__

if TYPE_CHECKING:
    from clipper_magic import deployers, metrics
    from clipper_magic.connection import CLIPPER_TEMP_DIR, DEFAULT_LABEL, ClipperConnection
    from clipper_magic.container_manager import DEFAULT_PREDICTION_CACHE_SIZE_BYTES, ContainerManager
    from clipper_magic.exceptions import ClipperException, NoClusterError, UnconnectedException
    from clipper_magic.managers.choice import choose_container_manager
    from clipper_magic.managers.docker import DockerContainerManager
    from clipper_magic.managers.local import LocalContainerManager

__registry__ = os.environ.get("CLIPPER_REGISTRY", "clipper")

__all__ = [
    "CLIPPER_TEMP_DIR",
    "DEFAULT_LABEL",
    "DEFAULT_PREDICTION_CACHE_SIZE_BYTES",
    "ClipperConnection",
    "ClipperException",
    "ContainerManager",
    "DockerContainerManager",
    "LocalContainerManager",
    "NoClusterError",
    "UnconnectedException",
    "__registry__",
    "__version__",
    "choose_container_manager",
    "deployers",
    "metrics",
]

# Lazy: `%load_ext` must be quick, and Docker's client must not be needed where there is no Docker.
_HOMES = {
    "CLIPPER_TEMP_DIR": "clipper_magic.connection",
    "DEFAULT_LABEL": "clipper_magic.connection",
    "ClipperConnection": "clipper_magic.connection",
    "DEFAULT_PREDICTION_CACHE_SIZE_BYTES": "clipper_magic.container_manager",
    "ContainerManager": "clipper_magic.container_manager",
    "ClipperException": "clipper_magic.exceptions",
    "NoClusterError": "clipper_magic.exceptions",
    "UnconnectedException": "clipper_magic.exceptions",
    "DockerContainerManager": "clipper_magic.managers.docker",
    "LocalContainerManager": "clipper_magic.managers.local",
    "choose_container_manager": "clipper_magic.managers.choice",
}


def __getattr__(name: str) -> Any:
    if name in ("deployers", "metrics"):
        return import_module(f"clipper_magic.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'clipper_magic' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: Any) -> None:
    """Register ``%clipper`` and ``%%clipper_deploy``; called by ``%load_ext clipper_magic``."""
    import_module("clipper_magic.magics").load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics away again; the cluster keeps running."""
    import_module("clipper_magic.magics").unload_ipython_extension(ipython)
