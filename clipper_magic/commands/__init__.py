"""The commands of ``%clipper``, one module a family. They call `ClipperConnection` and tell what happened."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from clipper_magic.commands import (
    applications,
    checks,
    cluster,
    deploy,
    doctor,
    images,
    logs,
    models,
    panel,
    queries,
    speech,
    stop,
)
from clipper_magic.commands.grammar import Command

_MODULES = (cluster, stop, doctor, applications, deploy, checks, models, images, queries, logs, panel, speech)

REGISTRY: Mapping[str, Command] = MappingProxyType(
    {command.name: command for command in (*(c for module in _MODULES for c in module.COMMANDS), deploy.DEPLOY_CELL)}
)
"""Every command by its name, ``%%clipper_deploy`` among them."""
