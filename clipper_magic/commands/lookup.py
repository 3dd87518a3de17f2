"""Look names up before they are used, so that a wrong one is answered with the nearest right one."""

from __future__ import annotations

from collections.abc import Sequence
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
        raise _unknown("no-app", app, list(found), "%clipper apps")
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
        every_name = list(dict.fromkeys(info["model_name"] for info in everything))
        raise _unknown("no-model", model, every_name, "%clipper models")
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


def _unknown(code: str, name: str, known: Sequence[str], listing: str) -> NotRegisteredError:
    near = nearest(name, known)
    return NotRegisteredError.of(f"{code}-near" if near else code, name=name, suggestion=near or listing)
