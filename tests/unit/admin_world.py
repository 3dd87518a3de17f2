"""A connection to a cluster in which there is something to ask for, and what it logs.

The cluster has the application ``hello`` (doubles, linked to ``sum``), the application ``free``, the versions 1 and 2
of ``sum`` (2 is current; version 1 has two replicas, 2 has one), and ``outside:1.0``, which has no container.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from connection_world import management
from fakes import FakeManager

from clipper_magic import ClipperConnection

__all__ = ["PREFIX", "Call", "connection", "logged", "management"]

Call = Callable[[ClipperConnection], Any]
PREFIX = "[test-cluster] "
HEAD = re.compile(r"^\d\d-\d\d-\d\d:\d\d:\d\d:\d\d ([A-Z]+) +\[[a-z_]+\.py:\d+\] ", re.MULTILINE)


@pytest.fixture
def connection(
    tmp_path: Path, management: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> ClipperConnection:
    monkeypatch.chdir(tmp_path)
    made = ClipperConnection(FakeManager())
    made.start_clipper()
    made.register_application("hello", "doubles", "-1.0", 100_000)
    made.register_application("free", "doubles", "none", 20_000)
    made.deploy_model("sum", 1, "doubles", "image:1", labels=["first"], num_replicas=2)
    made.deploy_model("sum", 2, "doubles", "image:2")
    made.link_model_to_app("hello", "sum")
    made.register_model("outside", 1.0, "strings")
    capsys.readouterr()
    return made


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the log since the last call, without times, places and the cluster's name."""
    return HEAD.sub(r"\1 ", capsys.readouterr().err).replace(PREFIX, "").rstrip("\n")
