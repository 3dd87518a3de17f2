"""Fixtures of all tests: names and ports of their own, and the proof that nothing is left behind."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.register_assert_rewrite("contract")

REQUIRED = frozenset(filter(None, os.environ.get("CLIPPER_TEST_REQUIRE", "").split(",")))


def require(feature: str, available: bool, reason: str) -> None:
    """Skip the test if ``feature`` (docker, browser, redis) is missing; fail if CLIPPER_TEST_REQUIRE names it."""
    if available:
        return
    if feature in REQUIRED:
        pytest.fail(f"CLIPPER_TEST_REQUIRE asks for {feature}, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def session_token() -> str:
    """A word that every cluster of this test run has in its name."""
    return f"t{secrets.token_hex(3)}"


@pytest.fixture(scope="session")
def new_cluster_name(session_token: str) -> Callable[[], str]:
    """Return a function that returns a fresh cluster name."""
    return lambda: f"{session_token}-{secrets.token_hex(2)}"


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that returns a port nobody listens on, away from the defaults."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session", autouse=True)
def nothing_left(session_token: str) -> Iterator[None]:
    """Fail the run if a process, directory or container of its clusters is left."""
    yield
    left = [*processes_with(session_token), *directories_with(session_token), *containers_with(session_token)]
    assert not left, f"left over: {left}"


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
    docker = pytest.importorskip("docker") if "docker" in REQUIRED else _docker_if_installed()
    if docker is None:
        return []
    try:
        client = docker.from_env()
        found = [c for c in client.containers.list(all=True) if word in f"{c.name} {c.labels}"]
        client.close()
    except docker.errors.DockerException:
        return []
    return [container.name for container in found]


def _docker_if_installed() -> object | None:
    try:
        import docker
    except ImportError:
        return None
    return docker
