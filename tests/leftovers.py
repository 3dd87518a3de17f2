"""What a cluster may leave behind: processes, directories, containers."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path

import psutil

from clipper_magic.exceptions import DockerUnavailableError


def processes_with(word: str) -> list[str]:
    """Return the live processes whose command lines have ``word`` in them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or [])
        if word in command and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(f"{process.pid}: {command[:200]}")
    return found


def directories_with(word: str) -> list[str]:
    """Return the cluster directories with ``word`` in their names."""
    roots = {Path(root) for root in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp") if root}
    return [str(path) for root in roots for path in root.glob(f"clipper_magic-{os.getuid()}/*{word}*")]


def containers_with(word: str) -> list[str]:
    """Return the containers whose names or labels have ``word`` in them; none where no engine answers."""
    try:
        from clipper_magic.managers.docker_engine import connect_engine
    except ImportError:  # the docker package is an extra
        return []
    try:
        engine = connect_engine()
    except DockerUnavailableError:
        return []
    with closing(engine):
        found = engine.containers.list(all=True, ignore_removed=True)  # others may use the engine, too
        return [container.name for container in found if word in f"{container.name} {container.labels}"]
