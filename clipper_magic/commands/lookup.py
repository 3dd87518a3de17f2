"""Look names up before they are used, so that a wrong one is answered with the nearest right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipper_magic.commands.grammar import nearest
from clipper_magic.exceptions import NotRegisteredError

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection


def known_app(connection: ClipperConnection, app: str) -> dict[str, Any]:
    """Return an application's dict.

    Raises
    ------
    NotRegisteredError
        With the nearest name, or the command that lists them.
    """
    found: dict[str, dict[str, Any]] = {info["name"]: info for info in connection.get_all_apps(verbose=True)}
    if app not in found:
        if near := nearest(app, list(found)):
            raise NotRegisteredError.of("no-app-near", name=app, suggestion=near)
        raise NotRegisteredError.of("no-app", name=app, suggestion="%clipper apps")
    return found[app]


def known_model(connection: ClipperConnection, model: str) -> list[dict[str, Any]]:
    """Return the dicts of a model's versions, in the order of registration.

    Raises
    ------
    NotRegisteredError
        With the nearest name, or the command that lists them.
    """
    everything = connection.get_all_models(verbose=True)
    found = [info for info in everything if info["model_name"] == model]
    if not found:
        if near := nearest(model, [info["model_name"] for info in everything]):
            raise NotRegisteredError.of("no-model-near", name=model, suggestion=near)
        raise NotRegisteredError.of("no-model", name=model, suggestion="%clipper models")
    return found


def known_version(connection: ClipperConnection, model: str, version: str | None) -> dict[str, Any]:
    """Return the dict of one version of a model; the current one if ``version`` is None.

    Raises
    ------
    NotRegisteredError
        With the versions that are deployed.
    """
    versions = known_model(connection, model)
    for info in versions:
        if info["is_current_version"] if version is None else info["model_version"] == version:
            return info
    deployed = ", ".join(info["model_version"] for info in versions)
    raise NotRegisteredError.of("no-version", model=model, version=version, versions=deployed)
