"""A pytest plugin for the lessons under nbval: their cluster is not the user's, and they leave nothing behind.

``pytest -p tests.notebooks.private_clusters --nbval … notebooks``
"""

from __future__ import annotations

import os
import secrets

import pytest

from clipper_magic import choose_container_manager
from notebooks.build import private_environment
from tests.leftovers import containers_with, directories_with, processes_with

CLUSTER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give this run a cluster name of its own, before a kernel starts. sanitize.cfg knows how it looks."""
    config.stash[CLUSTER] = cluster = f"lessons-{secrets.token_hex(3)}"
    environment = private_environment(cluster)
    os.environ.clear()
    os.environ.update(environment)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a lesson left anything, and remove it."""
    cluster = session.config.stash[CLUSTER]
    left = [*processes_with(cluster), *directories_with(cluster), *containers_with(cluster)]
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        choose_container_manager().stop_all(graceful=False)
        raise pytest.UsageError(f"left over by the lessons: {left}")
