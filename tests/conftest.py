"""Fixtures of all tests: names and ports of their own, and the proof that nothing is left behind."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from leftovers import containers_with, directories_with, processes_with

pytest.register_assert_rewrite(
    "contract_answers",
    "contract_clusters",
    "contract_deployments",
    "contract_versions",
    "contract_world",
    "frameworks_contract",
    "inputs_contract",
    "lessons_contract",
    "state_contract",
)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The lines of the package's logger, which does not propagate."""
    logger = logging.getLogger("clipper_magic")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope="session")
def session_token() -> str:
    """A word that every cluster of this test run has in its name."""
    return f"t{secrets.token_hex(3)}"


@pytest.fixture(scope="session")
def new_cluster_name(session_token: str) -> Callable[[], str]:
    """Return a function that returns a fresh cluster name."""
    numbers = count()
    return lambda: f"{session_token}-{next(numbers):04}"


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that returns a port nobody listens on, away from the defaults."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let Ctrl-C interrupt: what a shell has put into the background ignores it, and so do all its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_left(session_token: str) -> Iterator[None]:
    """Fail the run if a process, directory or container of its clusters is left."""
    yield
    left = [*processes_with(session_token), *directories_with(session_token), *containers_with(session_token)]
    assert not left, f"left over: {left}"
