"""``doctor``: what this machine has, and what follows from it."""

from __future__ import annotations

import platform
import shutil
import socket
import sys
import tempfile
from importlib.util import find_spec
from types import SimpleNamespace

from clipper_magic._version import __version__
from clipper_magic.commands import backends
from clipper_magic.commands.grammar import Command
from clipper_magic.commands.session import Session
from clipper_magic.exceptions import ClipperException
from clipper_magic.managers.choice import docker_problem
from clipper_magic.render import Checks

PORTS = (1337, 1338)
LITTLE_DISK_BYTES = 1 << 30
OLDEST_PYTHON = (3, 11)


def doctor(session: Session, args: SimpleNamespace) -> Checks:
    """Look at Python, Docker, the ports, the disk, the widgets, the language and the cluster."""
    texts = session.texts
    checks = Checks()
    for name, (ok, message_id, fields) in {
        "python": _python(),
        "docker_cli": _docker_cli(),
        "docker_engine": _docker_engine(session.settings.language),
        **{f"port_{port}": _port(port) for port in PORTS},
        "disk": _disk(),
        "widgets": _widgets(),
        "language": _language(session),
        "cluster": _cluster(session),
    }.items():
        checks[name] = {"ok": ok, "message": texts(f"doctor.{message_id}", **fields)}
    return checks


_Finding = tuple[bool | None, str, dict[str, object]]


def _python() -> _Finding:
    ok = sys.version_info >= OLDEST_PYTHON and hasattr(socket, "AF_UNIX")
    fields: dict[str, object] = {"version": platform.python_version(), "ours": __version__}
    return ok, "python" if ok else "python_old", fields


def _docker_cli() -> _Finding:
    path = shutil.which("docker")
    return (True, "docker_cli", {"path": path}) if path else (None, "no_docker_cli", {})


def _docker_engine(language: str) -> _Finding:
    problem = docker_problem()
    return (
        (True, "engine", {})
        if problem is None
        else (None, "no_engine", {"problem": problem.localized(language, magic=True)})
    )


def _port(port: int) -> _Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None, "port_taken", {"port": port}
    return True, "port_free", {"port": port}


def _disk() -> _Finding:
    folder = tempfile.gettempdir()
    free_bytes = shutil.disk_usage(folder).free
    ok = free_bytes >= LITTLE_DISK_BYTES
    return ok, "disk" if ok else "disk_little", {"free": free_bytes / 2**30, "folder": folder}


def _widgets() -> _Finding:
    missing = [name for name in ("anywidget", "ipywidgets") if find_spec(name) is None]
    return (None, "no_widgets", {"missing": missing[0]}) if missing else (True, "widgets", {})


def _language(session: Session) -> _Finding:
    return True, "language", {"language": session.settings.language}


def _cluster(session: Session) -> _Finding:
    name = session.settings.cluster
    try:
        connection = session.connection or backends.find(
            session.settings.chosen("backend"), name, session.settings.timeout
        )
        connection.connect()
    except ClipperException:
        return None, "no_cluster", {"cluster": name}
    return True, "cluster", {"cluster": name, "addr": connection.get_query_addr()}


COMMANDS = (Command("doctor", doctor),)
