"""``logs``: what the processes wrote, and what the models raised."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from clipper_magic.commands import cells, lookup
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.kinds import FLAG, MODEL_VERSION, number, text
from clipper_magic.commands.session import Session
from clipper_magic.container_manager import ContainerManager
from clipper_magic.render import Logs

DEFAULT_DIRECTORY = "clipper_logs/"
WHOLE_LOG_LINES = 100_000


def logs(session: Session, args: SimpleNamespace) -> Logs:
    """``get_clipper_logs``, or with ``--errors`` what the models raised, equal tracebacks as one."""
    if args.errors:
        return _errors(session, args)
    connection = session.connected()
    if args.name:
        model, wanted = args.name
        version = str(lookup.known_version(connection, model, wanted)["model_version"])
        paths = _write_logs(connection.cm, model, version, Path(args.dir))
    else:
        paths = connection.get_clipper_logs(args.dir)
    found = Logs(paths)
    found.text = cells.with_cell_names(session.shell, "\n".join(_tail(Path(path), args.lines) for path in paths))
    return found


def _write_logs(container_manager: ContainerManager, model: str, version: str, directory: Path) -> list[str]:
    """Write the log of each replica of a version, the same names on every backend; return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for replica in (status.replica for status in container_manager.list_replicas()):
        if (replica.model_name, replica.model_version) == (model, version):
            path = directory / f"{model}_{version}-{replica.replica_id}.log"
            path.write_text(container_manager.tail_log(replica, WHOLE_LOG_LINES) + "\n", encoding="utf-8")
            paths.append(str(path))
    return paths


def _tail(path: Path, lines: int) -> str:
    last = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join([f"==> {path} <==", *last])


def _errors(session: Session, args: SimpleNamespace) -> Logs:
    connection = session.connected()
    model, wanted = args.name or (None, None)
    if model is not None:
        lookup.known_model(connection, model)
    groups = group_errors(model_errors(connection.cm, model, wanted))
    found = Logs(groups)
    if not groups:
        session.say("logs.no_errors")
    found.text = "\n\n".join(_group_text(session, group) for group in groups[: args.lines])
    return found


def model_errors(container_manager: ContainerManager, model: str | None, version: str | None) -> list[dict[str, Any]]:
    """Return what models raised, as each replica has grouped it.

    Parameters
    ----------
    container_manager : ContainerManager
    model, version : str or None
        Only this model, or this version of it.

    Returns
    -------
    list of dict
        With model ("name:version"), replica_id, type, message, traceback, count, first_time_s, last_time_s (seconds
        since the epoch) and example_input.
    """
    return [
        {"model": f"{replica.model_name}:{replica.model_version}", "replica_id": replica.replica_id, **error}
        for replica in (status.replica for status in container_manager.list_replicas())
        if model in (None, replica.model_name) and version in (None, replica.model_version)
        for error in container_manager.replica_errors(replica)
    ]


def group_errors(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return errors with equal tracebacks as one, whatever replica of a version raised them, the most frequent first.

    Parameters
    ----------
    errors : list of dict
        What `model_errors` returns.
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for error in errors:
        key = (error["model"], error["traceback"])
        group = groups.get(key)
        if group is None:
            groups[key] = dict(error)
            continue
        first_time_s = min(group["first_time_s"], error["first_time_s"])
        newest = max(group, error, key=lambda one: float(one["last_time_s"]))
        groups[key] = {**newest, "count": group["count"] + error["count"], "first_time_s": first_time_s}
    return sorted(groups.values(), key=lambda group: (-group["count"], group["model"], group["type"]))


def _group_text(session: Session, group: dict[str, Any]) -> str:
    title = session.texts("logs.group", n=group["count"], model=group["model"], example=group["example_input"])
    return f"{title}\n{cells.with_cell_names(session.shell, group['traceback']).rstrip()}"


COMMANDS = (
    Command(
        "logs",
        logs,
        (
            Parameter("NAME", MODEL_VERSION),
            Parameter("--errors", FLAG),
            Parameter("--dir", text("D", "path"), default=DEFAULT_DIRECTORY),
            Parameter("--lines", number(1), short="-n", default=50),
        ),
        usage="[NAME[:V]] [--errors] [--dir D] [-n N]",
    ),
)
